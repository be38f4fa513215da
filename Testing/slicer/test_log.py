"""The log in the panel, and the time left: what the worker writes is shown, and names of patients are not."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

from harness import application, driving
from harness.widgets import qt

pytestmark = pytest.mark.slicer
LOGGER = logging.getLogger("SPRRegistration")


def text_of(module):
    """The log that is shown."""
    return module.ui.logText.toPlainText()


def test_standard_error_of_the_worker_is_shown(done):
    done.panel.controller.transport.on_log(b"Traceback: out of memory in conv3d\n")
    assert "out of memory in conv3d" in text_of(done)
    assert "DEBUG" in text_of(done)


def test_names_of_images_and_of_the_user_are_left_out(done):
    done.images[0].SetName("DOE^JANE_1957")
    LOGGER.warning("DOE^JANE_1957 could not be read from %s/scans/ct.nrrd", Path.home())
    assert "DOE" not in text_of(done)
    assert str(Path.home()) not in text_of(done)
    assert "[name] could not be read from ~/scans/ct.nrrd" in text_of(done)


def test_the_log_is_copied(done):
    LOGGER.error("a message")
    done.ui.copyLogButton.click()
    assert "a message" in qt.QApplication.clipboard().text()


def test_the_log_does_not_grow_without_end(module):
    for number in range(2100):
        LOGGER.info("line %d", number)
    assert module.ui.logText.blockCount <= 2000
    assert "line 2099" in text_of(module)


def test_a_closed_panel_follows_nothing(module):
    handlers, level = list(LOGGER.handlers), LOGGER.level
    module.widget.cleanup()
    assert len(LOGGER.handlers) == len(handlers) - 1
    assert LOGGER.level != level
    LOGGER.error("after the end")
    assert "after the end" not in text_of(module)


def test_help_leads_to_pages_of_the_project(module):
    from SPRRegistrationLib import links

    for page in (links.tutorial(), links.issues()):
        assert f'href="{page}"' in module.ui.helpLabel.text
    assert module.ui.helpLabel.openExternalLinks
    path = links.tutorial().split("/blob/main/")[1]
    text = (application.core.ROOT / path).read_text(encoding="utf-8")
    assert "## " + links.troubleshooting().split("#")[1].replace("-", " ").capitalize() in text


def test_time_left_is_the_mean_speed_and_unknown_at_first():
    from SPRRegistrationLib.time_left import TimeLeft

    time_left = TimeLeft()
    assert time_left.update(0.0, 100.0) is None
    assert time_left.update(0.5, 101.0) is None, "too short a time"
    assert time_left.update(0.5, 110.0) == pytest.approx(10.0)
    assert time_left.update(0.01, 111.0) is None, "another computation"
    assert time_left.update(0.03, 121.0) is None, "too small a part"
    assert time_left.update(0.21, 131.0) == pytest.approx(0.79 * 20 / 0.2)
    assert time_left.update(None, 132.0) is None
    assert time_left.update(0.9, 200.0) is None, "begun anew"


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "%p %"), (4, "a few seconds"), (31, "30 s"), (58, "1 min"), (400, "7 min")]
)
def test_time_left_in_words(module, seconds, words):
    from SPRRegistrationLib import messages

    assert words in messages.progress(seconds)


def test_the_bar_says_the_time_left(chosen, monkeypatch):
    chosen.panel.worker.command[-1] = "60"
    chosen.ui.applyButton.click()
    driving.wait_for(chosen.panel, "COMMITTING")
    session, seconds = chosen.panel.session, [0.0]
    monkeypatch.setattr("SPRRegistrationLib.qt.progress.time.monotonic", lambda: seconds[0])
    for part, now in ((0.1, 0.0), (0.4, 30.0)):
        session.progress, seconds[0] = part, now
        chosen.panel.refresh()
    assert chosen.ui.progressBar.value == 40
    assert chosen.ui.progressBar.format == "%p %, about 1 min left"
    chosen.ui.cancelButton.click()

"""Section “Help and log”: what the worker and the panel have logged, to be read and sent with a question."""

from __future__ import annotations

import logging

import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import links
from SPRRegistrationLib.log_text import without_names
from SPRRegistrationLib.qt.scene_observer import INPUTS
from SPRRegistrationLib.qt.section import Section

LOGGER = logging.getLogger("SPRRegistration")
LONGEST = 2000
"""Lines that are kept."""


class LogSection(Section):
    """Shows the log."""

    def build(self) -> None:
        """Follow the log and show the links."""
        pages = ((links.tutorial(), _("Tutorial")), (links.troubleshooting(), _("Problems")))
        pages += ((links.issues(), _("Report a problem")),)
        self.ui.helpLabel.text = " · ".join(f'<a href="{page}">{text}</a>' for page, text in pages)
        self.ui.helpLabel.openExternalLinks = True
        self.ui.logText.maximumBlockCount = LONGEST
        self.ui.copyLogButton.connect("clicked()", self.copy)
        self._handler = LogHandler(self)
        self._level = LOGGER.level
        LOGGER.setLevel(logging.DEBUG)  # what the worker writes to its standard error
        LOGGER.addHandler(self._handler)

    def close(self) -> None:
        """Stop following the log."""
        LOGGER.removeHandler(self._handler)
        LOGGER.setLevel(self._level)

    def copy(self) -> None:
        """Put the log on the clipboard."""
        slicer.app.clipboard().setText(self.ui.logText.toPlainText())
        slicer.util.showStatusMessage(_("Copied the log."), 3000)

    def add(self, text: str) -> None:
        """Add a text, without the names of the images."""
        nodes = [] if self.parameters is None else [getattr(self.parameters, field) for field in INPUTS]
        self.ui.logText.appendPlainText(without_names(text, [node.GetName() for node in nodes if node is not None]))


class LogHandler(logging.Handler):
    """Adds records to the section; all of them come from the thread of the user interface."""

    def __init__(self, section: LogSection) -> None:
        super().__init__(logging.DEBUG)
        self._section = section
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record."""
        self._section.add(self.format(record))

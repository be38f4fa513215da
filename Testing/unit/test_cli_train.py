"""Progress display of `spr train`."""

from __future__ import annotations

import pytest

from SPRCore.cli.train import TrainingProgress
from SPRCore.training.loop import TrainingStatus

MEASURED = {"dice": 0.71236, "tre_mm": 2.345, "folding_percent": 0.0, "lncc": 0.5, "pairs": 8.0}


def status(step, **more):
    return TrainingStatus(step=step, steps=100, epoch=2, activity="training", **more)


@pytest.fixture
def shown():
    """Lines, and a callback that collects them."""
    lines = []
    return lines, lambda stage, fraction=None: lines.append((stage, fraction))


def test_without_a_terminal_one_line_for_every_validation(shown):
    lines, callback = shown
    progress = TrainingProgress(callback, every_step=False)
    progress(status(1, loss=-0.25))
    progress(status(2, loss=-0.5))
    progress(status(2, validation=MEASURED, seconds_left=3.0))
    progress(status(3, loss=-0.75, validation=MEASURED))
    progress(status(4, loss=-0.75, validation=MEASURED | {"dice": 0.8}, seconds_left=7322.0))
    assert lines == [
        ("step 2 of 100, loss -0.5000, Dice 0.7124, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 0 min 03 s left", 0.02),
        ("step 4 of 100, loss -0.7500, Dice 0.8000, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 2 h 02 min left", 0.04),
    ]


def test_on_a_terminal_every_step(shown):
    lines, callback = shown
    progress = TrainingProgress(callback, every_step=True)
    progress(status(40, loss=-0.5))
    progress(status(50, validation=MEASURED, seconds_left=59.6))
    assert lines[0] == ("training: epoch 2, step 40 of 100, loss -0.5000", 0.4)
    assert lines[1][0].startswith("training: epoch 2, step 50 of 100, loss -0.5000, Dice 0.7124")
    assert lines[1][0].endswith("1 min 00 s left")


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (0.4, "; 0 min 00 s left"), (3599.9, "; 1 h 00 min left")])
def test_time_left(shown, seconds, words):
    lines, callback = shown
    TrainingProgress(callback, every_step=True)(status(1, seconds_left=seconds))
    assert lines == [(f"training: epoch 2, step 1 of 100{words}", 0.01)]

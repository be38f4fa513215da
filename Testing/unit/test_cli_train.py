"""How `spr train` shows where it is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from SPRCore.cli import train as verb
from SPRCore.training.loop import TrainingStatus

MEASURED = {"dice": 0.71236, "tre_mm": 2.345, "folding_percent": 0.0, "lncc": 0.5, "pairs": 8.0}


def status(step, **more):
    return TrainingStatus(step=step, steps=100, epoch=2, activity="training", **more)


def test_one_line_for_every_validation(capsys):
    with verb._shown(True) as tell:
        tell(status(1, loss=-0.25))
        tell(status(2, loss=-0.5))
        tell(status(2, validation=MEASURED, seconds_left=3.0))
        tell(status(3, loss=-0.75, validation=MEASURED))
        tell(status(4, loss=-0.75, validation=MEASURED | {"dice": 0.8}, seconds_left=7322.0))
    assert capsys.readouterr().out.splitlines() == [
        "step 2 of 100, loss -0.5000, Dice 0.7124, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 0 min 03 s left",
        "step 4 of 100, loss -0.7500, Dice 0.8000, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 2 h 02 min left",
    ]


def test_a_bar_on_a_terminal(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(verb, "console", lambda: Console(file=screen, force_terminal=True, width=160))
    with verb._shown(True) as tell:
        tell(status(40, loss=-0.5, seconds_left=61.0))
        tell(status(50, validation=MEASURED, seconds_left=59.6))
    shown = screen.getvalue()
    assert "training: epoch 2, step 50 of 100, loss -0.5000, Dice 0.7124" in shown
    assert "1 min 00 s left" in shown


def test_other_processes_are_silent(capsys):
    with verb._shown(False) as tell:
        assert tell is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (0.4, "0 min 00 s left"), (3599.9, "1 h 00 min left")])
def test_time_left(seconds, words):
    assert verb._left(status(1, seconds_left=seconds)) == words

"""How `spr train` shows where it is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from SPRCore.cli import train as verb
from SPRCore.training.loop import Status

MEASURED = {"dice": 0.71236, "tre_mm": 2.345, "folding_percent": 0.0, "lncc": 0.5, "pairs": 8.0}


def status(step, **more):
    return Status(step=step, steps=100, epoch=2, doing="training", **more)


@pytest.fixture
def show(monkeypatch, tmp_path, tiny_recipe):
    """Run the verb with a training that only reports these states."""

    def run(*states):
        def train(recipe, *, resume, progress):
            for state in states if progress else ():
                progress(state)
            return tmp_path / "best"

        monkeypatch.setattr(verb, "read_recipe", lambda path, changes: tiny_recipe())
        monkeypatch.setattr(verb, "train", train)
        verb.Train(recipe=tmp_path / "recipe.yaml").run("spr train recipe.yaml")

    return run


def test_one_line_for_every_validation(show, capsys):
    show(
        status(1, loss=-0.25),
        status(2, loss=-0.5),
        status(2, validation=MEASURED, seconds_left=3.0),
        status(3, loss=-0.75, validation=MEASURED),
        status(4, loss=-0.75, validation=MEASURED | {"dice": 0.8}, seconds_left=7322.0),
    )
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "step 2 of 100, loss -0.5000, Dice 0.7124, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 0 min 03 s left",
        "step 4 of 100, loss -0.7500, Dice 0.8000, TRE 2.35 mm, LNCC 0.5000, folding 0 %; 2 h 02 min left",
    ]


def test_a_bar_on_a_terminal(show, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(verb, "console", lambda: Console(file=screen, force_terminal=True, width=160))
    show(status(40, loss=-0.5, seconds_left=61.0), status(50, validation=MEASURED, seconds_left=59.6))
    shown = screen.getvalue()
    assert "training: epoch 2, step 50 of 100, loss -0.5000, Dice 0.7124" in shown
    assert "1 min 00 s left" in shown


def test_other_processes_are_silent(show, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    show(status(2, validation=MEASURED, seconds_left=3.0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("seconds", "words"), [(None, ""), (0.4, "0 min 00 s left"), (3599.9, "1 h 00 min left")])
def test_time_left(show, capsys, seconds, words):
    show(status(1, validation=MEASURED, seconds_left=seconds))
    assert capsys.readouterr().out.splitlines()[0].rpartition("; ")[2] == words

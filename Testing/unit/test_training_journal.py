"""The written record of a run."""

from __future__ import annotations

import builtins
import json
import logging
import math

import pytest
from matplotlib.figure import Figure

from SPRCore.training.journal import Journal, read_rows


@pytest.fixture
def no_board(monkeypatch):
    """TensorBoard that is not installed."""
    plain = builtins.__import__

    def refusing(name, *rest, **options):
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ImportError(name)
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)


def test_lines_come_back_and_bad_numbers_are_null(tmp_path, no_board):
    journal = Journal(tmp_path, 0)
    journal.write("train", 20, {"loss": 0.5, "similarity": math.nan})
    journal.write("validation", 20, {"dice": 0.7, "best": True})
    journal.close()
    assert read_rows(tmp_path) == [
        {"step": 20, "kind": "train", "loss": 0.5, "similarity": None},
        {"step": 20, "kind": "validation", "dice": 0.7, "best": True},
    ]


def test_without_tensorboard_one_line_says_so(tmp_path, no_board, caplog):
    with caplog.at_level(logging.INFO, logger="SPRCore"):
        Journal(tmp_path, 0).close()
    (record,) = caplog.records
    assert "pip install 'SPRCore[train]'" in record.getMessage()
    assert not (tmp_path / "tensorboard").exists()


def test_steps_that_will_be_made_again_are_dropped(tmp_path, no_board):
    journal = Journal(tmp_path, 0)
    for step in (20, 40, 60):
        journal.write("train", step, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 80, "kind": "tr')  # killed in the middle of a line
    assert [row["step"] for row in read_rows(tmp_path)] == [20, 40, 60]
    Journal(tmp_path, 40).write("train", 60, {"loss": 2.0})
    assert [(row["step"], row["loss"]) for row in read_rows(tmp_path)] == [(20, 1.0), (40, 1.0), (60, 2.0)]


def test_lines_of_something_else_are_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f"[]\n\n{json.dumps({'loss': 1})}\n{json.dumps({'step': 3})}\n")
    assert read_rows(tmp_path) == [{"step": 3}]
    assert read_rows(tmp_path / "elsewhere") == []


def test_pictures_are_written(tmp_path, no_board):
    Journal(tmp_path, 0).picture("pairs-000000001", 1, Figure(figsize=(1, 1)))
    assert (tmp_path / "pictures" / "pairs-000000001.png").read_bytes().startswith(b"\x89PNG")


def test_curves_and_pictures_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install '.[train]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    journal = Journal(tmp_path, 0)
    for step in (20, 40):
        journal.write("train", step, {"loss": 1.0 / step, "similarity": math.nan, "best": True})
    journal.close()
    journal = Journal(tmp_path, 20)  # step 40 is made again
    journal.write("train", 40, {"loss": 9.0})
    journal.picture("curves", 40, Figure(figsize=(1, 1)))
    journal.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert events.Tags()["images"] == ["curves"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (20, pytest.approx(0.05)),
        (40, 9.0),
    ]

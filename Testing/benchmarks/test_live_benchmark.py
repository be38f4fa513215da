"""The recorded drag is what its recipe gives, and the benchmark measures what it says."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / "live" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drag():
    return loaded("drag")


def test_the_recorded_drag(drag):
    moves = drag.load()
    assert moves == [pytest.approx(move) for move in drag.record()]
    assert len(moves) >= 200
    assert all(one[0] < other[0] and one[1:] != other[1:] for one, other in itertools.pairwise(moves))
    assert all(0 <= position <= 1 for move in moves for position in move[1:])


def test_positions_become_hyperparameters_of_any_prior(drag):
    beta = {"lambda_max": (0.5, 4.5), "alpha": (0.0, 0.5)}
    assert drag.setting_at((0.0, 0.5, 0.25), beta) == {"alpha": 0.25, "lambda_max": 1.5}
    assert drag.setting_at((0.0, 0.5, 0.25), {"lambda": (1.0, 3.0)}) == {"lambda": 2.0}


@pytest.mark.slow
def test_it_runs_and_fills_its_page(tmp_path):
    command = [
        sys.executable,
        BENCHMARKS / "live" / "measure_live.py",
        "--sizes",
        "tiny",
        "--methods",
        "instance",
        "--out",
        tmp_path,
    ]
    command += ["--moves", "5", "--seconds", "1", "--exact", "1"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))["rows"].values()
    assert row["preview_ms"]["n"] == 5
    assert 0 < row["preview_computed_ms"]["p50"] < row["preview_ms"]["p50"]
    assert 0 < row["drag"]["shown"] <= row["drag"]["asked"] == 60
    assert row["drag"]["memory"]["worker"]["most_mib"] > row["drag"]["memory"]["shared"]["most_mib"] > 0
    assert row["from_cold_run_vox"] <= 0.05
    page = (tmp_path / "table.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1

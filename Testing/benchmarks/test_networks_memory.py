"""The accounting of training memory counts what PyTorch says it saves, and sees what a checkpoint spares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

SCRIPT = BENCHMARKS / "networks_memory.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    command = [sys.executable, SCRIPT, "--quick", "--page", folder / "page.md", "--report", folder / "report.json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "report.json").read_text(encoding="utf-8")), (folder / "page.md").read_text("utf-8")


def test_what_is_kept_is_what_is_saved(report):
    whole = report[0]["models"][1]
    assert whole["kept"] == pytest.approx(report[0]["saved"], rel=0.05)
    assert whole["peak"] > whole["kept"] + 0.8 * whole["states"]


def test_checkpoints_spare_most_of_the_time_steps(report):
    spared, whole = report[0]["models"]
    assert spared["kept"] < 0.6 * whole["kept"]
    assert spared["peak"] - spared["states"] < 0.7 * (whole["peak"] - whole["states"])


def test_generated_weights_are_most(report):
    film, lora, full = report[0]["kinds"]
    assert full["parameters"] > 50 * max(film["parameters"], lora["parameters"])


def test_the_page_has_a_line_for_every_row(report):
    lines = [line for line in report[1].splitlines() if line.startswith("|")]
    assert len(lines) == (2 + 2) + (2 + 3)

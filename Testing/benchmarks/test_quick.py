"""The benchmarks run, and measure what they say they measure."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

RUN = BENCHMARKS / "run.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    command = [sys.executable, RUN, "--quick", "--threads", "1", "--results", folder, "--table", folder / "page.md"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text(encoding="utf-8")), (folder / "page.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.baselines
def test_syn_is_measured_alike(tmp_path):
    pytest.importorskip("ants", reason="antspyx is not installed: pip install '.[baselines]'")
    command = [sys.executable, RUN, "--quick", "--only", "heart", "--threads", "1"]
    command += ["--methods", "ours", "SyN, CC"]
    command += ["--results", tmp_path, "--table", tmp_path / "page.md"]
    assert subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0
    (row,) = json.loads(next(tmp_path.glob("*.json")).read_text(encoding="utf-8"))["pairs"].values()
    syn = row["SyN, CC"]
    assert syn["lncc"] > syn["lncc_before"] == row["ours"]["lncc_before"]
    assert syn["dice"] > syn["dice_before"] == row["ours"]["dice_before"]


def test_rows_are_complete(report):
    rows = report[0]["operations"]
    assert set(rows) == {"warp", "lncc"}
    for row in rows.values():
        for who in ("ours", "reference"):
            assert row[who]["forward_seconds"] > 0
            assert row[who]["both_seconds"] > 0
            assert row["error"][who]["value"] < 1e-3


def test_memory_kept_for_the_backward_pass_is_counted(report):
    rows, volume = report[0]["operations"], 24 * 20 * 16 * 4 / 2**20
    assert rows["warp"]["ours"]["kept_mib"] == 0.0
    assert rows["warp"]["reference"]["kept_mib"] >= 3 * volume
    assert rows["lncc"]["ours"]["kept_mib"] == pytest.approx(volume, rel=0.01)
    assert rows["lncc"]["reference"]["kept_mib"] > 5 * volume


def test_a_whole_registration_is_measured(report):
    (row,) = report[0]["pairs"].values()
    assert row["ours"]["lncc"] > row["ours"]["lncc_before"]
    assert row["ours"]["dice"] > row["ours"]["dice_before"]
    assert row["ours"]["seconds"] > 0


def test_every_stage_is_measured_and_agrees_with_simpleitk(report):
    rows = report[0]["stages"]["rows"]
    assert {"read one image", "register", "all metrics", "write a displacement"} <= set(rows)
    assert all(row["ours"] > 0 for row in rows.values())
    assert rows["warp the image"]["difference"] < 1e-3
    assert rows["Jacobian determinant"]["difference"] < 1e-3


def test_the_whole_command_is_measured_stage_by_stage(report):
    (row,) = report[0]["command"]["sizes"].values()
    stages = {"start", "read", "align", "register", "measure", "write", "end"}
    assert set(row["rows"]) == {*stages, "all"}
    sums = {key: sum(row["rows"][stage][key] for stage in stages) for key in ("seconds", "processor")}
    assert sums["processor"] == pytest.approx(row["rows"]["all"]["processor"], abs=0.1)
    assert sums["seconds"] == pytest.approx(row["rows"]["all"]["seconds"])
    assert row["rows"]["start"]["seconds"] > 0.1
    assert row["rows"]["register"]["peak_mib"] > 100
    assert "| register |" in report[1]


def test_a_method_that_is_not_installed_is_a_row_that_says_so(tmp_path):
    if importlib.util.find_spec("convexAdam") is not None:
        pytest.skip("convexAdam is installed")
    command = [sys.executable, RUN, "--quick", "--only", "heart", "--methods", "convexAdam", "--threads", "1"]
    command += ["--results", tmp_path, "--table", tmp_path / "page.md"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "convexAdam is not installed; pip install convexAdam" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_the_page_has_a_line_for_every_row(report):
    lines = [line for line in report[1].splitlines() if line.startswith("|")]
    stages = 2 + len(report[0]["stages"]["rows"])
    assert len(lines) == (2 + 2) + stages + (2 + 8) + (2 + len(report[0]["methods"]))
    assert sum("not measured" in line for line in lines) == len(report[0]["methods"]) - 1
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert not [line for line in lines if "failed" in line]
    assert "numbers mean nothing" in report[1]

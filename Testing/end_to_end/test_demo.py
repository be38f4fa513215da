"""`spr demo`, small: its numbers follow from its files, and its result is that of `spr register --start search`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import SPRCore
from SPRCore.cli.demo import thorax
from SPRCore.io import read_displacement, read_labels
from SPRCore.registration import InstanceConfig
from SPRCore.regularization import BetaPrior

VOXELS = 48
KEYS = ("uniform-0.1", "uniform-1", "spr")


@pytest.fixture(scope="module")
def shown(spr_process, tmp_path_factory):
    """Folder of a demonstration, its report, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    process = spr_process("demo", "--out", folder, "--voxels", VOXELS, "--device", "cpu")
    out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    return folder, json.loads((folder / "report.json").read_text()), out


def test_it_leaves_what_it_names(shown):
    folder, report, _ = shown
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - {"report.json"} == set(report["files"])
    assert {"figure.png", "fixed.nii.gz", "spr/weight.nii.gz", "uniform-0.1/displacement.nii.gz"} <= there


def test_the_errors_told_are_those_of_the_fields_written(shown):
    folder, report, _ = shown
    truth = read_displacement(folder / "true_displacement.nii.gz").array
    body = read_labels(folder / "fixed_labels.nii.gz").array > 0
    near = np.abs(thorax(VOXELS, 0).boundary.array) <= 4 * 192 / VOXELS
    places = {"near": body & near, "away": body & ~near}
    fields = {key: read_displacement(folder / key / "displacement.nii.gz").array for key in KEYS}
    for key, found in ({"before": np.zeros_like(truth)} | fields).items():
        error = np.linalg.norm(found - truth, axis=-1)
        expected = {place: error[where].mean() for place, where in places.items()}
        assert report[key]["error_mm"] == pytest.approx(expected, rel=1e-4)


def test_varying_stiffness_is_nearer_to_the_truth_near_the_wall(shown):
    """With voxels of 4 mm by little, and away from the wall no nearer: the jump has few voxels."""
    _, report, _ = shown
    assert report["error_of_best_uniform"]["near"] < 0.98
    assert report["error_of_best_uniform"]["away"] < 1.06
    assert report["spr"]["folding_percent"] <= 0.01
    for place, ratio in report["error_of_best_uniform"].items():
        uniform = min(report[key]["error_mm"][place] for key in KEYS[:2])
        assert ratio == pytest.approx(report["spr"]["error_mm"][place] / uniform)


def test_it_is_what_a_registration_from_the_search_finds(shown):
    folder, _, _ = shown
    phantom = thorax(VOXELS, 0)
    result = SPRCore.register(
        phantom.fixed,
        phantom.moving,
        prior=BetaPrior(alpha=0.02, lambda_max=20.0),
        options=SPRCore.RegistrationOptions(config=InstanceConfig.searching()),
        init="none",
        device="cpu",
    )
    found = read_displacement(folder / "spr" / "displacement.nii.gz")
    np.testing.assert_allclose(found.array, result.displacement.array, atol=1e-4)


def test_the_table_has_a_column_for_each_registration_and_says_how_uniform_strengths_were_chosen(shown):
    _, report, out = shown
    assert re.search(r"before .* Uniform 0\.1 .* Uniform 1 .* Varying \(SPR\)", out)
    for row in ("near the wall", "away from it", "folded voxels", "time, search included"):
        assert row in out
    assert all(f"{report[key]['error_mm']['near']:.2f} / " in out for key in ("before", *KEYS))
    assert "docs/results/demo/table.md" in out


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_at_full_size_it_shows_what_the_readme_says(spr, tmp_path):
    assert spr("demo", "--out", tmp_path / "out", "--device", "cpu").code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    said = re.search(r"^Mean error in the figure.*?:(.*?)\. All three", readme, re.S | re.M)[1]
    numbers = re.findall(r"(\d\.\d\d) and (\d\.\d\d)", said)
    assert len(numbers) == 3
    assert report["error_of_best_uniform"]["near"] < 0.75
    assert report["error_of_best_uniform"]["away"] < 0.87
    for key, (near, away) in zip(("spr", "uniform-0.1", "uniform-1"), numbers, strict=True):
        assert report[key]["error_mm"] == pytest.approx({"near": float(near), "away": float(away)}, abs=0.02)
        assert report[key]["folding_percent"] == 0

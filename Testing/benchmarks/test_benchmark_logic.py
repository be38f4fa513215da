"""Logic of the benchmarks: settings by name, saved rows, ratios, gaps, curves."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.regularization import BetaPrior, UniformPrior

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks_on_the_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


@pytest.fixture
def load():
    """Import a benchmark by name."""
    return importlib.import_module


def test_a_setting_names_a_prior_and_a_configuration(load):
    parse = load("saved_rows").parse_setting
    assert parse("beta:0.01,5")[0] == BetaPrior(alpha=0.01, lambda_max=5.0)
    assert parse("uniform:3")[0] == UniformPrior(strength=3.0)
    assert parse("beta")[0] == BetaPrior()
    prior, config = parse("uniform:1@window=7;steps=[1,2]")
    assert (prior.strength, config.window, config.steps) == (1.0, 7, (1, 2))


WRONG = ["", "none:1", "beta:1,2,3", "beta:x", "uniform:-1", "uniform:1@window", "uniform:1@w=7"]


@pytest.mark.parametrize("wrong", WRONG)
def test_an_invalid_setting_is_rejected_with_a_reason(load, capsys, wrong):
    with pytest.raises(InputError):
        load("saved_rows").parse_setting(wrong)
    assert load("saved_rows").known_settings([wrong, "beta"]).keys() == {"beta"}
    assert f"left out {wrong}: " in capsys.readouterr().out


FOUND = {
    "sliding_thorax|beta:0.1,1@velocity_voxels=3000": (0.02128, 0.98225),
    "sliding_thorax|uniform:1": (0.01126, 0.99317),
    "sliding_thorax|beta:0.02,20@search;velocity_voxels=3000": (0.02516, 0.98713),
    "sliding_thorax|tv:0.3,30": (0.02044, 0.98924),
    "sliding_cylinder|beta:0.1,1@velocity_voxels=3000": (0.13418, 0.87625),
    "sliding_cylinder|uniform:1": (0.07533, 0.95546),
    "sliding_cylinder|beta:0.02,20@search;velocity_voxels=3000": (0.11609, 0.91153),
    "sliding_cylinder|tv:0.3,30": (0.09472, 0.94594),
    "sliding_plates|beta:0.1,1@velocity_voxels=3000": (0.22153, 0.79372),
    "sliding_plates|uniform:1": (0.12446, 0.92460),
    "sliding_plates|beta:0.02,20@search;velocity_voxels=3000": (0.17452, 0.89797),
    "sliding_plates|tv:0.3,30": (0.16044, 0.91714),
}
"""Energy and similarity that solver 1 with search 3 finds."""


def test_the_results_of_the_solver_are_those_of_its_version(load):
    saved_rows = load("saved_rows")
    assert (saved_rows.SOLVER, saved_rows.SEARCH) == (1, 3), "update the expected values below for a new version"
    found = saved_rows.fingerprint()
    assert found.keys() == FOUND.keys()
    for name, (energy, similarity) in FOUND.items():
        assert found[name] == (pytest.approx(energy, rel=2e-3), pytest.approx(similarity, abs=2e-4)), name


def test_a_row_is_measured_once_until_the_version_changes_or_it_failed(load, tmp_path):
    made = iter(range(10))

    def measure():
        return {"value": next(made)}

    rows_of = load("saved_rows").Rows
    rows = rows_of(tmp_path)
    assert rows.take("other", measure)["value"] == 0
    assert rows.take("own", measure, "a")["value"] == 1
    again = rows_of(tmp_path)  # the rows are on the disk
    assert again.take("other", measure)["value"] == 0
    assert again.take("own", measure, "a")["value"] == 1
    assert again.take("own", measure, "b")["value"] == 2
    assert again.shown(("b",)).keys() == {"other", "own"}
    assert again.shown(("a",)).keys() == {"other"}
    again.rows["other"] = {"failed": "killed"}
    assert again.take("other", measure)["value"] == 3


def test_goals_of_sliding_compare_each_region_with_its_best_uniform_strength(load):
    sliding = load("sliding")

    def row(near, away, seconds=1.0, folding=0.0):
        return {"near": near, "away": away, "processor_seconds": seconds, "folding_percent": folding}

    uniform = {"uniform:0.1": row(1.0, 4.0), "uniform:3": row(2.0, 2.0, 3.0)}
    good, bad = row(0.69, 1.49, 3.9), row(0.71, 1.0, 5.0, 0.02)
    rows = {f"{phantom}|{name}": part for phantom in ("a", "b") for name, part in uniform.items()}
    rows |= {"a|beta:1": good, "b|beta:1": good, "a|beta:2": good, "b|beta:2": bad, "a|beta:3": good}
    found = sliding.verdicts(rows, ("a", "b"))
    assert found.keys() == {"beta:1", "beta:2"}  # the third did not run on all phantoms
    assert found["beta:1"]["a"] == pytest.approx({"near": 0.69, "away": 0.745, "folding_percent": 0, "time": 1.95})
    assert sliding.fails(found["beta:1"]["a"]) == []
    assert sliding.fails(found["beta:2"]["b"]) == ["near", "folding_percent", "time"]
    assert sliding.best_setting(found) == "beta:1"
    assert sliding.verdicts({key: part for key, part in rows.items() if "uniform" not in key}, ("a", "b")) == {}


def test_the_profile_crosses_the_wall_where_the_jump_is_largest(load):
    from SPRCore.synthetic import sliding_plates

    phantom = sliding_plates(shape=(64, 64, 64), spacing=(2.0, 2.0, 2.0), bend_mm=0.0)
    point, axis, direction = load("sliding_figure").steepest(phantom, 2)
    wall = phantom.boundary.array
    beyond = tuple(place + (other == axis) for other, place in enumerate(point))
    assert (wall[point] < 0) != (wall[beyond] < 0)
    np.testing.assert_allclose(np.abs(direction), (0, 0, 1), atol=1e-6)  # plates slide along the third axis


def test_landmarks_of_vtk_are_turned_from_lps_to_ras(load, tmp_path):
    read = load("liver_pairs").read_vtk_points
    head = "# vtk DataFile Version 3.0\nvtk output\nASCII\nDATASET POLYDATA\n"
    path = tmp_path / "points.vtk"
    path.write_text(head + "POINTS 2 float\n1 2 3 4 5\n6\nVERTICES 2 4\n1 0\n1 1\n")
    np.testing.assert_array_equal(read(path), [[-1, -2, 3], [-4, -5, 6]])
    path.write_text(head + "POINTS 3 float\n1 2 3 4 5\n6\n")
    with pytest.raises(InputError, match="6 numbers"):
        read(path)
    path.write_text(head.replace("ASCII", "BINARY") + "POINTS 1 float\n")
    with pytest.raises(InputError, match="no points as text"):
        read(path)


def test_an_isotropic_copy_keeps_world_positions(load):
    from SPRCore.geometry import Volume, voxel_to_ras

    ramp = np.arange(9.0, dtype=np.float32) * np.ones((8, 8, 1), dtype=np.float32)
    volume = Volume(ramp, np.diag([-1.5, -1.5, 4.0, 1.0]))
    same = load("liver_pairs").isotropic(volume)
    assert same.spacing == pytest.approx((1.5, 1.5, 1.5))
    z_mm = voxel_to_ras(np.array([[0, 0, k] for k in range(same.shape[2])]), same.affine)[:, 2]
    np.testing.assert_allclose(same.array[3, 3], z_mm / 4.0, atol=1e-5)
    assert 32.0 - 1.5 < z_mm[-1] <= 32.0


def test_every_landmark_lies_in_its_image_and_moves_as_far_as_published(load, shared_data):
    livers, pairs = load("livers"), list(load("liver_pairs").liver_pairs())
    assert [pair.name for pair in pairs] == ["18/cyc_1_10", "18/cyc_3_10", "23/cyc_1_4", "23/cyc_5_4"]
    for pair, expected in zip(pairs, ((20.1, 6.5), (22.1, 7.1), (9.8, 4.2), (10.6, 4.5)), strict=True):
        before = livers.score(pair, None)
        assert (before["liver"], before["outside"]) == pytest.approx(expected, abs=0.06)
        for fixed, moving in pair.points.values():
            for points, image in ((fixed, pair.fixed), (moving, pair.moving)):
                index = (points - image.affine[:3, 3]) / np.diag(image.affine)[:3]
                assert np.all((index >= 0) & (index <= np.array(image.shape) - 1))


def test_the_best_uniform_strength_is_that_of_the_measure(load):
    grid = load("settings_grid")
    rows = {}
    for pair in ("p", "q"):
        for setting, dice in (("uniform:1", 0.8), ("uniform:3", 0.7), ("beta:0.1,1", 0.798)):
            rows["heart", pair, setting] = {"dice": dice, "folding_percent": 0.0, "seconds": 1.0}
        rows["liver", pair, "uniform:1"] = {"tre": 3.0, "tre_liver": 3.0, "tre_outside": 3.0, "seconds": 1.0}
        rows["liver", pair, "uniform:3"] = {"tre": 2.0, "tre_liver": 2.0, "tre_outside": 2.0, "seconds": 1.0}
    rows["heart", "p", "beta:9,9"] = {"dice": 1.0}  # not run on every pair
    hearts, count = grid.by_setting(rows, "heart")
    assert count == 2
    assert "beta:9,9" not in hearts
    assert grid.best_uniform(hearts, grid.measure_of(hearts)) == "uniform:1"
    livers, _ = grid.by_setting(rows, "liver")
    assert grid.best_uniform(livers, grid.measure_of(livers)) == "uniform:3"
    assert grid.is_no_worse(0.798, 0.8, "dice")
    assert not grid.is_no_worse(0.796, 0.8, "dice")
    assert grid.is_no_worse(2.05, 2.0, "tre")
    assert not grid.is_no_worse(2.07, 2.0, "tre")


def test_a_grid_resumes_after_a_partial_line(load, tmp_path):
    grid, path = load("settings_grid"), tmp_path / "rows.jsonl"
    row = {"set": "heart", "pair": "p", "setting": "beta", "version": "a"}
    grid.append_line(path, row)
    grid.append_line(path, row | {"version": "b", "pair": "q"})
    with path.open("a") as stream:
        stream.write('{"set": "heart", "pai')
    grid.append_line(path, row | {"pair": "r"})
    assert grid.read_lines(path, ("a",)).keys() == {("heart", "p", "beta"), ("heart", "r", "beta")}


def test_a_gap_is_in_percent_of_the_least_energy(load):
    energy = load("energy")
    gap, best = energy.gap_percent({"energies": {"rest": 0.103, "uniform:1": 0.1, "truth": 0.2}})
    assert (gap, best) == (pytest.approx(3.0), "uniform:1")
    assert energy.gap_percent({"energies": {"rest": 0.1, "truth": 0.2}}) == (0.0, "rest")


def test_starts_of_a_tiny_phantom_are_ten_and_finite(load):
    from SPRCore.synthetic import sliding_plates

    energy, cases, parse = load("energy"), load("cases"), load("saved_rows").parse_setting
    made = sliding_plates(shape=(20, 16, 20), spacing=(10.0, 10.0, 10.0), slip_mm=20.0)
    bench = energy.Bench(cases.Case("plates", made.fixed, made.moving, phantom=made))
    row = energy.measure(bench, parse("beta:0.01,5"))
    assert len(row["energies"]) == 11
    assert np.isfinite(list(row["energies"].values())).all()


def test_only_the_voxels_of_a_mask_move(load):
    import torch

    from SPRCore.synthetic import sliding_plates

    cases, resolution, parse = load("cases"), load("resolution"), load("saved_rows").parse_setting
    made = sliding_plates(shape=(20, 16, 20), spacing=(10.0, 10.0, 10.0), slip_mm=20.0)
    case = cases.Case("plates", made.fixed, made.moving, phantom=made)
    mask = torch.zeros(1, 1, 20, 16, 20)
    mask[:, :, 5:12] = 1.0
    with resolution.only_within(mask):
        velocity = case.solve(parse("beta:0.01,5@steps=[6]")).velocity_mm
    moved = velocity.abs().amax(dim=(0, 1, 3, 4)) > 0
    assert moved.tolist() == [5 <= plane < 12 for plane in range(20)]


def test_a_window_pulls_no_further_than_its_noise_allows(load):
    from SPRCore.synthetic import sliding_plates

    cases, noise, parse = load("cases"), load("noise"), load("saved_rows").parse_setting
    made = sliding_plates(shape=(20, 16, 20), spacing=(10.0, 10.0, 10.0), slip_mm=20.0)
    case = cases.Case("plates", made.fixed, made.moving, phantom=made)
    plain = case.solve(parse("uniform:0.1@steps=[6]"))
    with noise.saturated():
        held = case.solve(parse("uniform:0.1@steps=[6]"))
    assert held.similarity < plain.similarity


def test_pairs_of_the_body_are_a_list_that_a_benchmark_reads(load, monkeypatch, tmp_path, shared_data):
    from SPRCore.io.pairs import load_pair, read_pairs

    monkeypatch.setattr(sys, "argv", ["body_pairs.py", "--each", "1", "--out", str(tmp_path / "body")])
    load("body_pairs").main()
    pairs = list(read_pairs(tmp_path / "body" / "pairs.csv"))
    assert [pair.group for pair in pairs] == ["heart", "brain", "lung", "prostate", "liver"]
    liver = load_pair(pairs[-1])
    points = liver.annotations
    assert len(points.fixed_points) == len(points.moving_points) > 40

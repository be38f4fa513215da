"""`spr register`, `spr warp` and `spr evaluate` on a small pair: what they promise about their results."""

from __future__ import annotations

import json
import math
import shutil

import nibabel as nib
import numpy as np
import pytest

from SPRCore.geometry import resample
from SPRCore.io import read_affine_tfm, read_displacement, read_labels, read_volume, write_volume
from SPRCore.metrics import dice

FILES = {
    "warped.nii.gz",
    "displacement.nii.gz",
    "inverse_displacement.nii.gz",
    "weight.nii.gz",
    "warped_labels.nii.gz",
    "figure.png",
    "report.json",
}


@pytest.fixture(scope="module")
def report(finished) -> dict:
    return json.loads((finished.folder / "report.json").read_text(encoding="utf-8"))


def test_it_ends_well_and_says_how_good_it_is(finished):
    assert finished.code == 0
    assert finished.err == ""
    assert [word for word in ("reading", "registering", "measuring", "writing") if word in finished.out.splitlines()]
    assert "Dice" in finished.out
    assert str(finished.folder) in finished.out.replace("\n", "")


def test_the_folder_holds_what_is_promised_and_nothing_else(finished):
    assert {path.name for path in finished.folder.iterdir()} == FILES
    assert [path.name for path in finished.folder.parent.iterdir()] == ["folder"]


def test_images_are_on_the_fixed_grid(finished, pair):
    fixed = read_volume(pair.fixed)
    for name in ("warped", "weight"):
        assert read_volume(finished.folder / f"{name}.nii.gz").grid.matches(fixed.grid), name
    assert read_labels(finished.folder / "warped_labels.nii.gz").grid.matches(fixed.grid)
    weight = read_volume(finished.folder / "weight.nii.gz").array
    assert weight.min() >= 0
    assert weight.max() <= 1
    assert weight.max() > weight.min()


@pytest.mark.parametrize("name", ["displacement", "inverse_displacement"])
def test_displacements_are_nifti_vectors(finished, name):
    header = nib.load(finished.folder / f"{name}.nii.gz").header
    assert header.get_data_shape() == (24, 20, 16, 1, 3)
    assert header.get_intent("code")[0] == 1006


def test_the_figure_is_a_picture_for_print(finished):
    from matplotlib.image import imread

    picture = imread(finished.folder / "figure.png")
    assert picture.shape[1] > 2000
    assert picture[..., :3].std() > 0.1


def test_the_report_has_the_keys_of_its_schema(report, pair):
    assert set(report) == {
        "schema_version",
        "command",
        "versions",
        "inputs",
        "method",
        "model",
        "similarity",
        "device",
        "seed",
        "hyperparameters",
        "seconds",
        "peak_memory_mb",
        "metrics",
        "warnings",
        "files",
    }
    assert report["schema_version"] == 1
    assert report["similarity"] == "lncc"
    assert report["command"].startswith(f"spr register {pair.fixed} {pair.moving} --out ")
    assert {"python", "SPRCore", "torch", "numpy"} <= set(report["versions"])
    assert report["inputs"]["fixed"]["path"] == str(pair.fixed)
    assert report["inputs"]["fixed"]["shape"] == [24, 20, 16]
    assert report["inputs"]["fixed"]["spacing_mm"] == pytest.approx([2.0, 2.5, 3.0])
    assert len(report["inputs"]["moving"]["sha256"]) == 64
    assert (report["method"], report["model"], report["device"], report["seed"]) == ("instance", None, "cpu", 7)
    assert report["hyperparameters"] == {"prior": "beta", "alpha": 0.002, "lambda_max": 2}
    assert report["peak_memory_mb"] > 10


def test_seconds_add_up(report):
    seconds = dict(report["seconds"])
    assert set(seconds) == {"load", "prealign", "register", "measure", "write", "total"}
    total = seconds.pop("total")
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds.values()) <= total < 240


def test_metrics_are_complete_and_better_than_before(report):
    before, after = report["metrics"]["before"], report["metrics"]["after"]
    assert set(before) == {"dice_mean", "dice", "hd95_mm", "tre_mm", "lncc", "overlap_percent"}
    assert set(after) == set(before) | {
        "folding_percent",
        "ndv_percent",
        "jacobian",
        "displacement_mm",
        "inverse_consistency_mm",
    }
    assert set(after["tre_mm"]) == {"mean", "median", "p95", "n"}
    assert set(after["jacobian"]) == {"min", "p01", "median", "p99", "max"}
    assert set(after["displacement_mm"]) == {"mean", "p95", "max"}
    assert set(after["inverse_consistency_mm"]) == {"mean", "p95"}
    assert set(after["dice"]) == set(after["hd95_mm"]) == {"1", "2"}
    assert after["dice_mean"] > before["dice_mean"]
    assert after["tre_mm"]["mean"] < before["tre_mm"]["mean"]
    assert after["lncc"] > before["lncc"]
    assert after["folding_percent"] == 0


def test_warp_repeats_the_registration(finished, pair, spr, tmp_path):
    field = finished.folder / "displacement.nii.gz"
    for image, result, options in (
        (pair.moving, "warped.nii.gz", ()),
        (pair.moving_labels, "warped_labels.nii.gz", ("--labels",)),
    ):
        out = tmp_path / result
        done = spr("warp", image, "--displacement", field, "--reference", pair.fixed, "--out", out, *options)
        assert (done.code, done.err) == (0, [])
        np.testing.assert_allclose(read_volume(out).array, read_volume(finished.folder / result).array, atol=2e-5)


def test_the_inverse_leads_back(finished, report):
    forward, back = (read_displacement(finished.folder / f"{n}displacement.nii.gz") for n in ("", "inverse_"))
    # Where the deformation is smooth, the inverse is about minus the displacement, and by no means the same.
    inside = np.s_[8:16, 6:14, 5:11]
    turned = np.einsum("...c,...c->...", forward.array[inside], back.array[inside]).sum()
    assert turned < -0.5 * (forward.array[inside] ** 2).sum()
    # A tenth of a voxel, where the largest displacement is three voxels.
    assert report["metrics"]["after"]["inverse_consistency_mm"]["mean"] < 0.25


def test_evaluate_finds_what_register_reported(finished, pair, report, spr, tmp_path):
    out = tmp_path / "report.json"
    done = spr(
        "evaluate", "--displacement", finished.folder / "displacement.nii.gz",
        "--fixed-labels", pair.fixed_labels, "--moving-labels", pair.moving_labels,
        "--fixed-points", pair.fixed_points, "--moving-points", pair.moving_points, "--out", out,
    )  # fmt: skip
    assert (done.code, done.err) == (0, [])
    found, expected = json.loads(out.read_text(encoding="utf-8"))["metrics"], report["metrics"]
    for side in ("before", "after"):
        for key in ("dice_mean", "dice", "hd95_mm", "tre_mm"):
            assert found[side][key] == pytest.approx(expected[side][key], rel=1e-4), (side, key)
    for key in ("folding_percent", "ndv_percent", "displacement_mm"):
        assert found["after"][key] == pytest.approx(expected["after"][key], rel=1e-4), key


def test_evaluate_by_the_conventions_of_the_author_of_the_paper(finished, pair, spr, tmp_path):
    out, field = tmp_path / "report.json", finished.folder / "displacement.nii.gz"
    labels = ("--fixed-labels", pair.fixed_labels, "--moving-labels", pair.moving_labels)
    theirs = ("--label-interpolation", "linear", "--folding-over", "foreground")
    done = spr("evaluate", "--displacement", field, *labels, *theirs, "--fixed", pair.fixed, "--out", out)
    assert done.code == 0, done.err
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["conventions"] == {"label_interpolation": "linear", "folding_over": "foreground"}
    moving, fixed = read_labels(pair.moving_labels), read_labels(pair.fixed_labels)
    warped = resample(moving, fixed.grid, displacement=read_displacement(field), labels="linear")
    expected = {str(label): pytest.approx(value, rel=1e-4) for label, value in dice(fixed, warped).items()}
    assert found["metrics"]["after"]["dice"] == expected
    refused = spr("evaluate", "--displacement", field, "--folding-over", "foreground")
    assert refused.code == 2
    assert "fixed image" in refused.err[0]


def test_nothing_given_nothing_reported_and_no_old_labels_left(pair, finished, spr, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished.folder, out)
    assert (out / "warped_labels.nii.gz").is_file(), "of an earlier run"
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    done = spr("register", pair.fixed, pair.moving, "--out", out, "--lambda", 1.5, "--device", "cpu")
    assert (done.code, done.err) == (0, [])
    assert {path.name for path in out.iterdir()} == FILES - {"warped_labels.nii.gz"} | {"notes.txt"}
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["hyperparameters"] == {"prior": "uniform", "lambda": 1.5}
    assert set(report["metrics"]["before"]) == {"lncc", "overlap_percent"}
    assert not {"dice", "dice_mean", "hd95_mm", "tre_mm"} & set(report["metrics"]["after"])
    np.testing.assert_array_equal(read_volume(out / "weight.nii.gz").array, 1)


def test_the_total_variation_prior_by_its_options(pair, spr, tmp_path):
    options = ("--init", "none", "--device", "cpu", "--lambda-max", 10)
    written = {"tv": ("--tv", 0.05), "default": ("--prior", "tv")}
    reports = {}
    for name, chosen in written.items():
        done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / name, *options, *chosen)
        assert (done.code, done.err) == (0, [])
        reports[name] = json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8"))
    assert reports["tv"]["hyperparameters"] == {"prior": "tv", "tv": 0.05, "lambda_max": 10}
    assert reports["default"]["hyperparameters"] == {"prior": "tv", "tv": 0.3, "lambda_max": 10}
    weight = read_volume(tmp_path / "tv" / "weight.nii.gz").array
    assert 0 < weight.min() < 0.5 * weight.max() <= 0.5, "it varies"
    before, after = (reports["tv"]["metrics"][side]["lncc"] for side in ("before", "after"))
    assert after > before + 0.05


def test_the_uncertainty_and_its_samples(pair, spr, tmp_path):
    out = tmp_path / "uncertain"
    given = ("fixed_labels", "moving_labels", "fixed_points", "moving_points")
    options = [part for name in given for part in (f"--{name.replace('_', '-')}", getattr(pair, name))]
    inputs = (pair.fixed, pair.moving, *options, "--init", "none", "--device", "cpu")
    run = spr("register", *inputs, "--out", out, "--uncertainty", "--uncertainty-samples", 2)
    assert run.code == 0
    assert "uncertainty, median [mm]" in run.out
    samples = {"uncertainty_samples/displacement_01.nii.gz", "uncertainty_samples/displacement_02.nii.gz"}
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == FILES | samples | {"uncertainty.nii.gz", "uncertainty.png"}
    fixed, uncertainty = read_volume(pair.fixed), read_volume(out / "uncertainty.nii.gz")
    assert uncertainty.grid.matches(fixed.grid)
    assert uncertainty.array.min() > 0
    after = json.loads((out / "report.json").read_text(encoding="utf-8"))["metrics"]["after"]
    assert after["uncertainty_mm"]["median"] == pytest.approx(float(np.median(uncertainty.array)), rel=1e-3)
    assert len(after["landmarks"]) == after["tre_mm"]["n"]
    assert np.mean([row["error_mm"] for row in after["landmarks"]]) == pytest.approx(after["tre_mm"]["mean"])
    found, sample = (
        read_displacement(out / name) for name in ("displacement.nii.gz", "uncertainty_samples/displacement_01.nii.gz")
    )
    change = np.linalg.norm(sample.array - found.array, axis=-1)
    assert 0.1 < np.median(change) / after["uncertainty_mm"]["median"] < 5.0
    # The next run without it removes what this one wrote.
    assert spr("register", *inputs, "--out", out).code == 0
    assert {path.name for path in out.rglob("*") if path.is_file()} == FILES


def test_samples_without_the_uncertainty_are_refused(pair, spr, tmp_path):
    run = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out", "--uncertainty-samples", 2)
    assert run.code == 2
    assert "--uncertainty-samples" in run.err[0]
    assert not (tmp_path / "out").exists()


def test_another_similarity_and_a_second_channel(pair, spr, tmp_path):
    fixed, moving = read_volume(pair.fixed), read_volume(pair.moving)
    inverted = tmp_path / "inverted.nii.gz"
    write_volume(moving.with_array(moving.array.max() - moving.array), inverted)
    blank = {"fixed": fixed, "moving": moving}
    for name, image in blank.items():  # noise, which says nothing
        noise = np.random.default_rng(len(name)).normal(size=image.shape).astype(np.float32)
        write_volume(image.with_array(noise), tmp_path / f"{name}.nii.gz")
    options = (
        "--init",
        "none",
        "--device",
        "cpu",
        "--fixed-labels",
        pair.fixed_labels,
        "--moving-labels",
        pair.moving_labels,
    )
    runs = {
        "mind": (pair.fixed, inverted, "--similarity", "mind"),
        "mse": (pair.fixed, pair.moving, "--similarity", "mse"),
        "two": (
            tmp_path / "fixed.nii.gz",
            tmp_path / "moving.nii.gz",
            "--fixed-channel",
            pair.fixed,
            "--moving-channel",
            pair.moving,
        ),
    }
    for name, given in runs.items():
        done = spr("register", *given[:2], "--out", tmp_path / name, *options, *given[2:])
        assert (done.code, done.err) == (0, []), name
        report = json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8"))
        before, after = (report["metrics"][side] for side in ("before", "after"))
        assert after["dice_mean"] > before["dice_mean"], name
        assert report["similarity"] == ("lncc" if name == "two" else name)
        if name != "two":
            assert after[name] > before[name]
            assert ("MIND similarity" if name == "mind" else "mean-squares similarity") in done.out
    alone = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "alone", "--fixed-channel", pair.fixed)
    assert alone.code == 2
    assert len(alone.err) == 1
    assert "second channel" in alone.err[0]
    assert not (tmp_path / "alone").exists()


def test_the_alignment_is_part_of_the_displacement(pair, spr, tmp_path):
    moving = read_volume(pair.moving)
    elsewhere = moving.affine.copy()
    elsewhere[:3, 3] += (300.0, -200.0, 100.0)
    far = tmp_path / "far.nii.gz"
    write_volume(type(moving)(moving.array, elsewhere), far)
    out = tmp_path / "out"
    done = spr("register", pair.fixed, far, "--out", out, "--init", "center", "--sigma", 1, "--device", "cpu")
    assert (done.code, done.err) == (0, [])
    affine = read_affine_tfm(out / "affine.tfm")
    np.testing.assert_allclose(affine[:3, :3], np.eye(3), atol=1e-6)
    field, inverse = (
        read_displacement(out / "displacement.nii.gz"),
        read_displacement(out / "inverse_displacement.nii.gz"),
    )
    np.testing.assert_allclose(field.array.mean(axis=(0, 1, 2)), (300, -200, 100), atol=3)
    # The inverse belongs to the moving image: it is on its grid, and leads back to the fixed one.
    assert inverse.grid.matches(read_volume(far).grid)
    np.testing.assert_allclose(inverse.array.mean(axis=(0, 1, 2)), (-300, 200, -100), atol=3)
    metrics = json.loads((out / "report.json").read_text(encoding="utf-8"))["metrics"]
    assert metrics["after"]["inverse_consistency_mm"]["mean"] < 0.5
    assert metrics["after"]["lncc"] > 0.5


def test_labels_of_another_grid_are_resampled_and_it_is_said(pair, spr, tmp_path):
    labels = read_labels(pair.fixed_labels)
    coarse = labels.affine @ np.diag([2, 2, 2, 1])
    path = tmp_path / "coarse.nii.gz"
    write_volume(type(labels)(labels.array[::2, ::2, ::2], coarse), path)
    done = spr("register", pair.fixed, pair.moving, "--out", tmp_path / "out", "--device", "cpu",
               "--fixed-labels", path, "--moving-labels", pair.moving_labels)  # fmt: skip
    assert (done.code, done.err) == (0, [])
    assert "resampled" in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert 0.5 < report["metrics"]["after"]["dice_mean"] <= 1


def test_the_same_seed_gives_the_same_result(finished, pair, spr, tmp_path):
    out = tmp_path / "again"
    assert spr("register", pair.fixed, pair.moving, "--out", out, *finished.settings).code == 0
    first, second = (read_displacement(folder / "displacement.nii.gz").array for folder in (finished.folder, out))
    # Labels and landmarks were given to the first and not to the second: they may not steer.
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_values_that_do_not_exist_are_null(tmp_path):
    from SPRCore.analysis.results import write_report

    write_report({"a": math.nan, "b": [np.float32(1.5), math.inf], 3: np.int64(4)}, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": None, "b": [1.5, None], "3": 4}

"""From a recipe to the tables: every data layout through `spr benchmark` and `spr report`, and `sweep` and `tune`."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import yaml
from data_layouts import LAYOUTS

from SPRCore.analysis.benchmark import ROWS, BenchmarkOptions, measure
from SPRCore.analysis.methods import parse_methods
from SPRCore.analysis.rows import BenchmarkRow, SurfacePoint, read_rows
from SPRCore.analysis.saved_pairs import read_saved_pairs
from SPRCore.geometry import Volume, voxel_to_ras
from SPRCore.io import write_bundle, write_landmarks, write_volume
from SPRCore.io.bundles import Bundle
from SPRCore.io.pairs import load_pair, read_pairs
from SPRCore.io.samples import read_sample
from SPRCore.metrics import dice
from SPRCore.training.data import build_datasets
from SPRCore.training.data.evaluation import recipe_pairs
from SPRCore.training.recipe import read_recipe
from SPRCore.tuning.sweep import SURFACE

pytestmark = pytest.mark.slow

METHODS = ("--methods", "uniform:2", "--device", "cpu")


def write_recipe(path, data, preprocessing=None, **parts):
    values = {"name": "layout", "data": data, "preprocessing": preprocessing or {}}
    path.write_text(yaml.safe_dump(values | {"model": "vxm-spr-small", "optimiser": {"epochs": 1}} | parts))
    return path


def two_channels(made):
    """What a recipe says of the second channels of an imitation, if it has some."""
    if made.second_channel is None:
        return {}
    model = {"preset": "vxm-spr-small", "channels": 2}
    return {"preprocessing": {"second_channel": made.second_channel}, "model": model}


def rows_of(folder):
    return {row.pair: row for row in read_rows(folder / ROWS, BenchmarkRow).rows}


def within_subject(moving, fixed):
    """The name of a pair of images SUBJECT_ROLE."""
    subject, _, role = fixed.rpartition("_")
    return f"{subject}, {moving.rpartition('_')[2]} to {role}"


def between(moving, fixed):
    """The name of a pair of two subjects."""
    return f"{moving} to {fixed}"


def table(path):
    with path.open(newline="") as stream:
        return {(row["method"], row["measure"], row["label"]): float(row["mean"]) for row in csv.DictReader(stream)}


def as_csv(pairs, folder):
    """The pairs of a recipe as images of their own and a list."""
    lines = []
    for number, pair in enumerate(pairs):
        line, affine = {"pair": pair.pair, "subject": pair.subject, "group": pair.group}, read_sample(pair.fixed).affine
        for side in ("fixed", "moving"):
            sample, stem = read_sample(getattr(pair, side)), folder / f"{number}_{side}"
            kept = sample.labels if pair.labels is None else sample.labels * np.isin(sample.labels, pair.labels)
            parts = {side: sample.image, f"{side}_labels": kept.astype(np.int16)}
            parts |= {} if sample.second_channel is None else {f"{side}_channel": sample.second_channel}
            for name, array in parts.items():
                line[name] = f"{number}_{name}.nii.gz"
                write_volume(Volume(array, affine), folder / line[name])
            if sample.points is not None:
                line[f"{side}_points"] = f"{stem.name}.mrk.json"
                write_landmarks(voxel_to_ras(sample.points.astype(float), affine), folder / line[f"{side}_points"])
        lines.append(line)
    with (folder / "pairs.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return folder / "pairs.csv"


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """A folder of prepared images of its own."""
    monkeypatch.setenv("SPR_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_from_recipe_to_table(layout, spr, tmp_path, caches):
    made = LAYOUTS[layout](tmp_path / "data")
    recipe = write_recipe(tmp_path / "recipe.yaml", made.data | {"split": made.split}, **two_channels(made))
    out = tmp_path / "run"
    done = spr("benchmark", "--recipe", recipe, "--set", "test", *METHODS, "--out", out)
    assert done.code == 0, done.err
    rows = rows_of(out)
    trained = build_datasets(read_recipe(recipe)).test.pairs  # what training calls the test set
    is_within = made.data.get("task", "intra-subject") == "intra-subject"
    named = {(within_subject if is_within else between)(pair.moving, pair.fixed): pair for pair in trained}
    assert set(rows) == set(named)
    for name, row in rows.items():
        assert row.failed is None
        moving, fixed = (made.labels[case] for case in (named[name].moving, named[name].fixed))
        assert row.before["dice"] == pytest.approx({str(k): v for k, v in dice(fixed, moving).items()})
        assert row.subject in named[name].fixed
        assert ("tre_mm" in row.after) == made.has_points
    report = spr("report", out, "--out", tmp_path / "report")
    assert report.code == 0, report.err
    results = table(tmp_path / "report" / "table.csv")
    shown = {label for method, measure, label in results if measure == "dice"}
    assert shown == set(made.names.values())
    given = tmp_path / "given"
    given.mkdir()
    listed = as_csv(recipe_pairs(read_recipe(recipe), "test"), given)
    (method,) = parse_methods(["uniform:2"])
    for pair in read_pairs(listed):
        measured = measure(pair, method, BenchmarkOptions(init="none", device="cpu"))
        for part in ("before", "after"):
            assert_same(getattr(rows[pair.pair], part), measured[part])


def test_two_channels_are_trained_measured_swept_and_used(spr, tmp_path, caches):
    made = LAYOUTS["autopet_suv"](tmp_path / "data")
    parts = two_channels(made)
    network = {"encoder": [4, 8], "decoder": [4], "weight_width": 4, "conditioning": "film", "codes": 2, "hidden": 4}
    parts["model"] |= network
    hyper = {"ranges": {"alpha": [0.0, 0.2], "lambda_max": [0.1, 3.0]}}
    few = {"optimiser": {"steps": 3}, "hyper": hyper, "device": "cpu", "output": str(tmp_path / "trained")}
    recipe = write_recipe(tmp_path / "recipe.yaml", made.data | {"split": made.split}, **parts, **few)
    prepared = spr("prepare", recipe)
    assert prepared.code == 0, prepared.err
    trained = spr("train", recipe)
    assert trained.code == 0, trained.err
    model = tmp_path / "trained" / "layout.sprmodel.safetensors"
    shown = spr("models", "show", model)
    assert "channels 2" in shown.out
    assert "second channel: clip [0.0, 10.0], normalize clip" in shown.out
    common = ("--recipe", recipe, "--set", "test", "--device", "cpu")
    done = spr("benchmark", *common, "--methods", f"TWO={model},instance", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert {row.method for row in read_rows(tmp_path / "run" / ROWS, BenchmarkRow).rows if row.failed is None} == {
        *("TWO", "instance"),
    }
    assert spr("report", tmp_path / "run", "--out", tmp_path / "report").code == 0
    assert ("TWO", "dice", "liver") in table(tmp_path / "report" / "table.csv")
    grid = ("--grid", "alpha=0.1,lambda_max=1:1:2", "--processes", 1)
    swept = spr("sweep", model, *common, *grid, "--out", tmp_path / "sweep")
    assert swept.code == 0, swept.err
    tuned = spr("tune", model, *common, "--trials", 1, "--out", tmp_path / "tune")
    assert tuned.code == 0, tuned.err
    studies = sorted((tmp_path / "data").rglob("CTres.nii.gz"))[:2]
    channels = [path.with_name("SUV.nii.gz") for path in studies]
    given = ("register", *studies, "--method", model, "--init", "none", "--device", "cpu")
    both = ("--fixed-channel", channels[0], "--moving-channel", channels[1])
    used = spr(*given, *both, "--out", tmp_path / "used")
    assert used.code == 0, used.err
    alone = spr(*given, "--out", tmp_path / "alone")
    assert (alone.code, len(alone.err)) == (2, 1)
    assert "second channel: got none with the model layout" in alone.err[0]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same(value, other[key])
        else:
            assert value == pytest.approx(other[key], rel=1e-4, abs=1e-5), key


def test_the_header_says_what_was_registered(spr, tmp_path, caches):
    made = LAYOUTS["acdc"](tmp_path / "data")
    recipe = write_recipe(tmp_path / "recipe.yaml", {"dataset": "acdc", "split": made.split}, {"shape": [16, 16, 16]})
    command = ("benchmark", "--recipe", recipe, *METHODS, "--out", tmp_path / "run", "--set")
    folder = f"data.folder={tmp_path / 'data'}"
    done = spr(*command, "validation", folder)
    assert done.code == 0, done.err
    header = read_rows(tmp_path / "run" / ROWS, BenchmarkRow).headers[0]
    source = header.settings["source"]
    assert (source["recipe"], source["set"], source["dataset"]) == ("layout", "validation", "acdc")
    assert "voxel by voxel" in source["grid"]
    assert source["preprocessing"]["shape"] == [16, 16, 16]
    assert header.settings["init"] == "none"
    assert header.settings["label_names"] == {"1": "RV", "2": "MYO", "3": "LV"}
    assert str(tmp_path) not in (tmp_path / "run" / ROWS).read_text()
    beside = spr("report", tmp_path / "run", "--out", tmp_path / "report", "--against", "paper")
    assert beside.code == 0, beside.err
    page = (tmp_path / "report" / "against_paper.md").read_text()
    assert "Table 4: ACDC and M&Ms" in page
    assert "data: acdc; the paper: ACDC and M&Ms, cine MRI" in page
    assert "grid of the images and metrics: 16 x 16 x 16 voxels" in page
    measured = rows_of(tmp_path / "run")
    assert spr(*command, "validation", folder).code == 0
    assert rows_of(tmp_path / "run") == measured  # nothing was measured again
    other = spr(*command, "validation", folder, "data.labels=[LV]")
    assert other.code == 0, other.err
    assert all(set(row.after["dice"]) == {"3"} for row in rows_of(tmp_path / "run").values())


@pytest.fixture
def hearts(tmp_path):
    """Generated hearts, and a hyper model of the recipe with random weights."""
    small = {"kind": "heart", "shape": [16, 16, 16], "spacing_mm": [5, 5, 6], "train": 1, "validation": 2, "test": 1}
    return write_recipe(tmp_path / "hearts.yaml", {"dataset": "generated", "generated": small})


@pytest.fixture
def model(tmp_path, tiny_network, card_for):
    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    card = card_for(network, name="tiny", ranges=ranges, defaults={"alpha": 0.1, "lambda_max": 1.0})
    path = tmp_path / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    return path


def test_generated_pairs_can_be_measured(spr, hearts, model, tmp_path, caches):
    out = tmp_path / "run"
    common = ("benchmark", "--recipe", hearts, "--set", "validation", "--methods", f"uniform:2,{model}", "--out", out)
    done = spr(*common, "--keep", "validation-00000, moving to fixed")
    assert done.code == 0, done.err
    rows = read_rows(out / ROWS, BenchmarkRow).rows
    assert {row.pair for row in rows} == {f"validation-0000{n}, moving to fixed" for n in range(2)}
    assert all(row.failed is None and "tre_mm" in row.after for row in rows)
    (kept,) = read_saved_pairs(out)
    assert [method.method for method in kept.methods] == ["uniform:2", "tiny"]
    assert {("uniform:2", "dice", name) for name in ("RV", "MYO", "LV")} <= set(table(out / "table.csv"))


def test_sweep_and_tune_take_a_recipe(spr, hearts, model, tmp_path, caches):
    common = ("--recipe", hearts, "--set", "validation", "--device", "cpu")
    grid = ("--grid", "alpha=0.1,lambda_max=0:1:1", "--processes", 1)
    swept = spr("sweep", model, *common, *grid, "--out", tmp_path / "sweep")
    assert swept.code == 0, swept.err
    saved = read_rows(tmp_path / "sweep" / SURFACE, SurfacePoint)
    assert len(saved.rows) == 4
    assert saved.headers[0].settings["source"]["set"] == "validation"
    one = next(point for point in saved.rows if point.setting["lambda_max"] == 1)
    pairs = recipe_pairs(read_recipe(hearts), "validation")
    assert one.pair == pairs.pairs[0].pair
    loaded = load_pair(pairs.pairs[0])
    assert set(one.dice) == {str(k) for k in dice(loaded.annotations.fixed_labels, loaded.annotations.moving_labels)}
    tuned = spr("tune", model, *common, "--trials", 2, "--out", tmp_path / "tune")
    assert tuned.code == 0, tuned.err
    study = json.loads((tmp_path / "tune" / "study.json").read_text())
    assert study["settings"]["source"]["recipe"] == "layout"
    report = spr("report", tmp_path / "sweep", tmp_path / "tune", "--out", tmp_path / "report")
    assert report.code == 0, report.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "got neither"),
        (("--recipe", "RECIPE", "--pairs", "x.csv"), "got both"),
        (("--recipe", "RECIPE"), "got no set"),
        (("--recipe", "RECIPE", "--set", "train"), "got train; expected one of validation, test"),
        (("--recipe", "RECIPE", "--set", "test", "data.labels=[MYOC]"), "did you mean 'MYO'?"),
        (("--pairs", "x.csv", "--set", "test"), "--set: got test"),
    ],
)
def test_bad_usage_is_one_line(spr, hearts, tmp_path, arguments, words):
    given = [hearts if word == "RECIPE" else word for word in arguments]
    done = spr("benchmark", *given, "--methods", "uniform", "--out", tmp_path / "run")
    assert done.code == 2
    assert len(done.err) == 1
    assert words in done.err[0]
    assert not (tmp_path / "run").exists()

"""Recipes: strict, complete, built on one another, and every message names file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from SPRCore.config import decode, encode
from SPRCore.errors import InputError
from SPRCore.regularization import TotalVariationPrior
from SPRCore.training.config import LossConfig
from SPRCore.training.hyper import draw_setting
from SPRCore.training.recipe import Recipe, read_recipe

QUICK = """\
name: quick
data:
  generated: {train: 4}
model: vxm-spr-small
loss:
  prior: beta
  alpha: 0.1
optimiser:
  lr: 1e-3
  epochs: 2
"""


@pytest.fixture
def write(tmp_path):
    def make(text: str, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_a_recipe_is_its_own_yaml(write):
    recipe = read_recipe(write(QUICK))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert read_recipe(write(recipe.to_yaml(), "resolved.yaml")) == recipe
    assert recipe.optimiser.lr == 1e-3  # plain YAML reads 1e-3 as text


@pytest.mark.parametrize(
    ("text", "change", "line", "message"),
    [
        ("optimiser:", "optimizer:", 8, "optimizer: got an unknown key.*did you mean 'optimiser'"),
        ("  lr: 1e-3", "  lrr: 1e-3", 9, r"optimiser.lrr: .*did you mean 'lr'"),
        ("{train: 4}", "{trian: 4}", 3, r"data.generated.trian: .*did you mean 'train'"),
        ("model: vxm-spr-small", "model: {preset: vxm-spr-small, embd: 4}", 4, "model.embd: .*did you mean 'embed'"),
        ("model: vxm-spr-small", "model: vxm-spr-smal", 4, "model: .*did you mean 'vxm-spr-small'"),
        ("model: vxm-spr-small", "model: {embed: 3}", 4, "model.embed: got 3; expected an integer of 8 to 384"),
        ("  alpha: 0.1", "  sigma: 0.1", 7, "loss.sigma: got 0.1 with the beta prior; expected alpha, lambda_max"),
        ("  alpha: 0.1", "  alpha: -1", 7, "loss.alpha: got -1"),
        ("  alpha: 0.1", "  alpha: .nan", 7, "loss.alpha: got nan; expected a finite number"),
        ("  alpha: 0.1", "  alpha: true", 7, "loss.alpha: got True; expected a finite number"),
        ("prior: beta", "prior: betta", 6, "loss.prior: .*did you mean 'beta'"),
        (
            "prior: beta\n  alpha: 0.1",
            "prior: uniform",
            6,
            "loss.prior: got uniform with a network whose weight is beta",
        ),
        ("epochs: 2", "epochs: 2\n  steps: 3", 10, "optimiser.epochs: .*one of the two"),
        ("epochs: 2", "epochs: 2.5", 10, "optimiser.epochs: got 2.5; expected a whole number"),
        ("name: quick", "name: Quick run", 1, "name: .*small letters"),
        ("name: quick", "name: quick\nname: slow", 2, "name: got a key that stands twice"),
        ("name: quick", "name: quick\nschema_version: 9", 2, "schema_version: got 9; expected 1; update SPRCore"),
        ("name: quick", "name: quick\nhyper: {ranges: {alpha: [0, 1]}}", 2, "hyper: got 1 ranges with a network that"),
        ("name: quick", "name: [quick", 2, "expected a recipe in YAML"),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(write, text, change, line, message):
    path = write(QUICK.replace(text, change))
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}, line {line}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["name", "model", "optimiser"])
def test_what_has_no_default_must_be_there(missing):
    values = {key: value for key, value in yaml.safe_load(QUICK).items() if key != missing}
    with pytest.raises(InputError, match=f"{missing}: got nothing; expected a value"):
        Recipe.from_dict(values)


@pytest.mark.parametrize("text", ["", "- a\n- b", "just words"])
def test_other_yaml_is_no_recipe(write, text):
    with pytest.raises(InputError, match="a mapping in YAML"):
        read_recipe(write(text))


def test_a_file_that_is_missing_or_binary_is_said(write, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_recipe(tmp_path / "none.yaml")
    path = write("")
    path.write_bytes(b"\xff\xfe\x00recipe")
    with pytest.raises(InputError, match="expected a recipe in YAML"):
        read_recipe(path)


def test_changes_from_the_command_line(write):
    changes = ["optimiser.lr=2e-4", "data.generated.train=9", "model.encoder=[4, 8, 8, 8]", "model.decoder=[8, 8, 4]"]
    recipe = read_recipe(write(QUICK), changes)
    assert recipe.optimiser.lr == 2e-4
    assert recipe.data.generated.train == 9
    assert recipe.model.encoder == (4, 8, 8, 8)
    assert recipe.model.weight == "beta"  # still that of the preset
    with pytest.raises(InputError, match=r"--set optimiser\.lrr: .*did you mean 'lr'"):
        read_recipe(write(QUICK), ["optimiser.lrr=1"])
    with pytest.raises(InputError, match="--set: got 'lr'; expected key=value"):
        read_recipe(write(QUICK), ["lr"])


def test_relative_paths_start_from_where_they_are_written(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("data: {folder: volumes}\n", "shared/base.yaml")
    path = write("base: ../shared/base.yaml\n" + QUICK.replace("data:", "data:\n  cache: here"), "rows/row.yaml")
    recipe = read_recipe(path, ["output=out"])
    assert recipe.data.folder == tmp_path / "shared" / "volumes"
    assert recipe.data.cache == tmp_path / "rows" / "here"
    assert recipe.output == recipe.folder == tmp_path / "out"
    assert read_recipe(path).folder == tmp_path / "runs" / "quick"


def test_a_recipe_changes_the_one_it_builds_on(write):
    write(QUICK, "base.yaml")
    row = write("base: base.yaml\nname: row\nloss: {alpha: 0.3}\n", "row.yaml")
    recipe = read_recipe(row)
    assert (recipe.name, recipe.loss.alpha, recipe.loss.prior) == ("row", 0.3, "beta")
    write("base: row.yaml\n" + QUICK, "base.yaml")
    with pytest.raises(InputError, match="builds on itself"):
        read_recipe(row)


def test_an_error_names_the_file_in_which_the_key_stands(write):
    base = write(QUICK.replace("lr:", "lrr:"), "base.yaml")
    with pytest.raises(InputError, match=r"optimiser\.lrr") as caught:
        read_recipe(write("base: base.yaml\nname: row\n", "row.yaml"))
    assert f"{base.name}, line 9" in str(caught.value)


def test_hyperparameters_of_the_loss_make_its_prior():
    loss = LossConfig(prior="gaussian", sigma=0.4)
    assert loss.hyperparameters == {"sigma": 0.4}
    assert loss.make_prior().sigma == 0.4
    assert LossConfig(prior="uniform", strength=2).hyperparameters == {"lambda": 2}
    variation = LossConfig(prior="tv", tv=0.2, lambda_max=20.0)
    assert variation.make_prior() == TotalVariationPrior(tv=0.2, lambda_max=20.0)
    for each in (loss, variation):
        assert decode(LossConfig, encode(each)) == each


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prior": "tv", "alpha": 0.1}, "alpha: got 0.1 with the tv prior; expected tv, lambda_max"),
        ({"prior": "beta", "tv": 0.1}, "tv: got 0.1 with the beta prior; expected alpha, lambda_max"),
        ({"prior": "tv", "strength": 0.1}, "strength: got 0.1 with the tv prior"),
        ({"prior": "tv", "tv": 0.0}, "tv: got 0"),
    ],
)
def test_a_hyperparameter_of_another_prior_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        LossConfig(**values)


def test_a_recipe_of_the_total_variation_prior(tmp_path):
    """It is written and read again, needs a weight head of that prior, and may draw its hyperparameters."""
    changes = {"model": {"preset": "hyper-vxm-spr-small", "weight": "tv"}, "loss": {"prior": "tv"}}
    ranges = {"hyper": {"ranges": {"tv": [0.05, 1.0], "lambda_max": [1.0, 50.0]}}}
    parts = yaml.safe_load(QUICK) | changes | ranges
    parts["optimiser"]["lr"] = 1e-3
    recipe = Recipe.from_dict(parts)
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_recipe(path) == recipe
    drawn = draw_setting(recipe.loss, recipe.hyper, 0, 3)
    assert drawn.prior.name == "tv"
    assert drawn.code == (drawn.prior.tv / 1.0, drawn.prior.lambda_max / 50.0)
    parts["model"]["weight"] = "beta"
    with pytest.raises(InputError, match=r"loss\.prior: got tv with a network whose weight is beta"):
        Recipe.from_dict(parts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hyper": {"ranges": {"alpha": [0, 0.6], "lambda_max": [0.1, 3]}}}, None),
        ({"hyper": {"ranges": {"alpha": [0, 0.6], "sigma": [0.1, 3]}}}, r"hyper.ranges.sigma: got it with the beta"),
        ({"hyper": {"ranges": {"alpha": [1, 0.6], "lambda_max": [0, 1]}}}, r"hyper.ranges.alpha: got \[1.0, 0.6\]"),
        ({"hyper": {"ranges": {"alpha": [0, 1], "lambda_max": [0, 1]}, "weighting": "hypermorph"}}, "hypermorph"),
        ({}, "hyper: got 0 ranges with a network that takes 2"),
    ],
)
def test_ranges_fit_the_network(values, message):
    parts = yaml.safe_load(QUICK) | {"model": "hyper-vxm-spr-small"} | values
    parts["optimiser"]["lr"] = 1e-3
    if message is None:
        assert list(Recipe.from_dict(parts).hyper.ranges) == ["alpha", "lambda_max"]
        return
    with pytest.raises(InputError, match=message):
        Recipe.from_dict(parts)

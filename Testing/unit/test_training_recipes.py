"""The recipes of the repository: all can be read, and what they say of the paper."""

from __future__ import annotations

import pytest

from SPRCore.networks import parameter_count
from SPRCore.training.recipe import read_recipe

RECIPES = ("ixi", "acdc_mnms", "autopet", "acdc", "synthetic")
ROWS = {"voxelmorph", "hypermorph", "transmorph", "hyper-transmorph", "tm-spr-gaussian", "tm-spr-beta", "hyper-tm-spr"}


@pytest.mark.parametrize("folder", RECIPES)
def test_every_recipe_of_the_repository_can_be_read_and_its_network_built(repository, folder):
    found = {path.stem: path for path in (repository / "Training" / "recipes" / folder).glob("*.yaml")}
    base = found.pop("base", None)
    found.pop("continued", None)
    names = set()
    for path in found.values():
        recipe = read_recipe(path)
        assert parameter_count(recipe.model) > 0
        assert recipe.card.training_data_licence
        names.add(recipe.name)
    assert len(names) == len(found)
    if folder in RECIPES[:3]:
        assert base is not None
        assert set(found) - {"tm-spr-beta-suv"} == ROWS


def test_ranges_and_optima_are_those_of_the_paper(repository):
    folder = repository / "Training" / "recipes"
    cardiac = read_recipe(folder / "acdc_mnms" / "hyper-tm-spr.yaml")
    assert cardiac.hyper.ranges == {"alpha": (0, 0.6), "lambda_max": (0, 3)}
    assert cardiac.loss.dice_weight == 1
    assert read_recipe(folder / "ixi" / "hyper-tm-spr.yaml").hyper.ranges == {"alpha": (0, 0.2), "lambda_max": (0, 5)}
    assert read_recipe(folder / "ixi" / "tm-spr-beta.yaml").loss.hyperparameters == {
        "alpha": 0.175,
        "lambda_max": 3.354,
    }
    for name in ("voxelmorph", "transmorph"):
        assert read_recipe(folder / "autopet" / f"{name}.yaml").loss.hyperparameters == {"lambda": 1}
    for path in folder.rglob("hyper*morph.yaml"):
        assert read_recipe(path).hyper.weighting == "hypermorph"


def test_subjects_and_labels_are_those_of_the_paper(repository):
    folder = repository / "Training" / "recipes"
    cardiac = read_recipe(folder / "acdc_mnms" / "tm-spr-beta.yaml").data
    assert (cardiac.dataset, cardiac.also.dataset) == ("mnms", "acdc")
    assert cardiac.split.datasets == {"acdc": "test"}  # 150 subjects
    assert cardiac.split.train + cardiac.split.validation == 259 + 61
    assert len(read_recipe(folder / "ixi" / "tm-spr-beta.yaml").data.label_numbers()) == 30
    assert len(read_recipe(folder / "autopet" / "tm-spr-beta.yaml").data.label_names()) == 39
    changes = ["data.grouping=null", "data.labels=[103 classes]"]
    assert len(read_recipe(folder / "autopet" / "tm-spr-beta.yaml", changes).data.label_numbers()) == 103


def test_the_recipe_of_two_channels_differs_only_in_the_second(repository):
    folder = repository / "Training" / "recipes" / "autopet"
    one, two = (read_recipe(folder / f"tm-spr-beta{ending}.yaml").to_dict() for ending in ("", "-suv"))
    assert {key for key in one if one[key] != two[key]} == {"name", "model", "preprocessing", "card"}
    assert {key for key in one["model"] if one["model"][key] != two["model"][key]} == {"channels"}
    assert one["preprocessing"] == two["preprocessing"] | {"second_channel": None}
    assert two["preprocessing"]["second_channel"]["clip"] == [0, 10]


@pytest.mark.parametrize(("start", "reference"), [("vxm", "vxm-spr-beta"), ("tm", "tm-spr-beta")])
def test_the_uniform_reference_differs_only_in_the_weight(repository, start, reference):
    folder = repository / "Training" / "recipes" / "acdc"
    twin, spr = (read_recipe(folder / f"{name}.yaml").to_dict() for name in (f"{start}-uniform", reference))
    differing = {key for key in twin if twin[key] != spr[key]}
    assert differing == {"name", "model", "loss"}
    assert {key for key in twin["model"] if twin["model"][key] != spr["model"][key]} == {"weight"}
    begun = read_recipe(folder / f"{start}.yaml")
    assert twin["start"].endswith(f"runs/{begun.name}/{begun.name}.sprmodel.safetensors")


@pytest.mark.parametrize(
    ("plain", "other"),
    [
        *(("vxm-spr-beta", "vxm-spr-beta-semi"), ("hyper-tm-spr", "hyper-tm-spr-semi")),
        ("hyper-tm-spr", "hyper-tm-spr-teacher"),
    ],
)
def test_a_recipe_with_labels_or_a_teacher_differs_only_in_the_loss(repository, plain, other):
    folder = repository / "Training" / "recipes" / "acdc"
    first, second = (read_recipe(folder / f"{name}.yaml").to_dict() for name in (plain, other))
    assert {key for key in first if first[key] != second[key]} == {"name", "loss"}

"""A card says what a model is; whatever in it is wrong is refused in one line."""

from __future__ import annotations

import json
import re

import pytest

from SPRCore.errors import InputError
from SPRCore.io.cards import Metric, ModelCard, Preprocessing, WorkingGrid

CARD = ModelCard(
    name="brain-1.0",
    architecture={"architecture": "voxelmorph", "encoder": [8, 16], "weight": "beta"},
    conditioning=("alpha", "lambda_max"),
    ranges={"alpha": (0.0, 0.2), "lambda_max": (0.5, 5.0)},
    defaults={"alpha": 0.1, "lambda_max": 2.0},
    optimum={"alpha": 0.175},
    tolerance={"alpha": (0.15, 0.2)},
    grid=WorkingGrid(orientation="LPI", spacing_mm=(1, 1, 2.5), shape=(64, 64, 32)),
    preprocessing=Preprocessing(clip=(-300, 300), normalize="percentile", percentiles=(1, 99)),
    anatomy="brain of Ångström",
    metrics=(Metric(name="Dice", value=0.77, how="mean of 30 labels, 115 pairs"),),
    authors=("A. Author", "B. Author"),
)


def test_a_card_survives_json():
    assert ModelCard.from_dict(json.loads(json.dumps(CARD.to_dict()))) == CARD


def test_what_has_a_default_may_be_left_out():
    card = ModelCard.from_dict({"name": "a", "architecture": {}})
    assert (card.prior, card.grid.orientation, card.preprocessing.normalize) == ("beta", "RAS", "minmax")


deep: list = []
for _ in range(300):
    deep = [deep]

WRONG = {
    "schema": [2, 0, "1", True, None],
    "name": ["", "A", "../up", "/abs", "a/b", "a\\b", "C:x", ".hidden", "a" * 65, "a\n", "instance", 3, None],
    "architecture": [None, [], "voxelmorph", {"a": {1, 2}}, {"a": deep}, {"a": object()}],
    "prior": ["flat", None, 3, ["beta"]],
    "conditioning": ["alpha", ["sigma"], ["alpha", "alpha"], [3], [["alpha"]], None, ["alpha"]],
    "ranges": [
        {},
        {"alpha": [0, 0.2]},
        {"alpha": [0.2, 0], "lambda_max": [0.5, 5]},
        {"alpha": [-1, 0.2], "lambda_max": [0.5, 5]},
        {"alpha": [0, float("inf")], "lambda_max": [0.5, 5]},
        {"alpha": [0, float("nan")], "lambda_max": [0.5, 5]},
        {"alpha": [0, 10**400], "lambda_max": [0.5, 5]},
        {"alpha": [0.05], "lambda_max": [0.5, 5]},
        {"alpha": 0.2, "lambda_max": [0.5, 5]},
        [0, 1],
    ],
    "defaults": [{}, {"alpha": 0.3, "lambda_max": 2}, {"alpha": "0.1", "lambda_max": 2}, {"alpha": True}, {"x": 1}],
    "optimum": [{"alpha": -1}, {"sigma": 1}, 3],
    "tolerance": [{"alpha": [1, 0]}, {"alpha": 1}],
    "grid": [
        None,
        {"spacing_mm": [1, 1]},
        {"spacing_mm": [0, 1, 1]},
        {"spacing_mm": [1e-9, 1, 1]},
        {"shape": [10**9, 10**9, 10**9]},
        {"shape": [16.5, 16, 16]},
        {"orientation": "RAR"},
        {"orientation": "XYZ"},
        {"orientation": 3},
        {"shape_mm": 3},
    ],
    "preprocessing": [
        {"clip": [300, -300]},
        {"normalize": "zscore"},
        {"normalize": "clip"},
        {"normalize": "percentile"},
        {"percentiles": [1, 99]},
        {"normalize": "percentile", "percentiles": [1, 101]},
    ],
    "metrics": [{"name": "Dice"}, [{"name": "Dice"}], [{"name": "Dice", "value": float("nan"), "how": ""}], [3]],
    "authors": ["one", [3], ["red \x1b[31m"]],
    "licence": [3, None, "two\nlines", "\x1b]0;title\x07", "x" * 5000],
}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_field_is_refused_in_one_short_line(field, value):
    with pytest.raises(InputError) as caught:
        ModelCard.from_dict(CARD.to_dict() | {field: value})
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(InputError, match=r"'spacing'.*spacing_mm"):
        ModelCard.from_dict({"name": "a", "architecture": {}, "grid": {"spacing": [1, 1, 1]}})
    with pytest.raises(InputError, match="no architecture"):
        ModelCard.from_dict({"name": "a"})
    with pytest.raises(InputError, match="model card"):
        ModelCard.from_dict([1])


def test_a_prior_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="lambda_max"):
        ModelCard(name="a", architecture={}, defaults={"lambda_max": 0.0})


def test_the_documents_say_what_a_card_is(repository):
    """The reference lists every field, and the example of the how-to is a card."""
    table = (repository / "docs" / "reference" / "model-bundles.md").read_text(encoding="utf-8").split("## The card")[1]
    listed = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(CARD.to_dict())
    text = (repository / "docs" / "how-to" / "use-a-model.md").read_text(encoding="utf-8")
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.S)[1])
    assert ModelCard.from_dict({"name": "body", "architecture": {}} | example).defaults["lambda_max"] == 2.298

"""A run that begins with what another one has learned."""

from __future__ import annotations

import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.io import read_bundle
from SPRCore.networks import build
from SPRCore.training.loop import train
from SPRCore.training.recipe import Recipe
from SPRCore.training.start import start_from

UNIFORM = {"loss__prior": "uniform", "model__weight": None, "optimiser__epochs": 1}


def test_a_weight_head_and_a_code_are_added_to_what_was_learned(tiny_recipe, tmp_path):
    first = train(tiny_recipe(**UNIFORM))
    hyper = {"model__conditioning": "film", "model__codes": 2, "hyper__ranges": {"alpha": [0, 1], "lambda_max": [0, 2]}}
    recipe = tiny_recipe(output=str(tmp_path / "second"), start=str(first), **hyper)
    fresh, started = build(recipe.model), build(recipe.model)
    start_from(started, recipe.start)
    learned, own = read_bundle(first).tensors, fresh.state_dict()
    assert all(torch.equal(started.state_dict()[name], tensor) for name, tensor in learned.items())
    assert any(not torch.equal(own[name], tensor) for name, tensor in learned.items())
    assert len(own) > len(learned)
    card = read_bundle(train(recipe)).card
    assert "from tiny" in card.metrics[0].how
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_a_model_of_another_network_is_refused(tiny_recipe, tmp_path):
    first = train(tiny_recipe(optimiser__epochs=1))
    with pytest.raises(InputError, match=r"start: .* of the network: got .*expected .* as in tiny\.sprmodel"):
        train(tiny_recipe(output=str(tmp_path / "second"), start=str(first), **UNIFORM))
    with pytest.raises(InputError, match=r"nothing\.sprmodel"):
        train(tiny_recipe(output=str(tmp_path / "third"), start=str(tmp_path / "nothing.sprmodel.safetensors")))


def test_parts_begin_anew_where_wished(tiny_recipe, tmp_path):
    first = train(tiny_recipe(optimiser__epochs=1))
    recipe = tiny_recipe(output=str(tmp_path / "second"), start=str(first), reinit=["weight"])
    fresh = build(recipe.model)
    started = build(recipe.model)
    started.load_state_dict(fresh.state_dict())
    start_from(started, recipe.start, recipe.reinit)
    for name, tensor in read_bundle(first).tensors.items():
        wanted = fresh.state_dict()[name] if name.startswith("weight.") else tensor
        assert torch.equal(started.state_dict()[name], wanted), name
    with pytest.raises(InputError, match=r"reinit: got head; expected one of .*weight"):
        start_from(started, recipe.start, ["head"])

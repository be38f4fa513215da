"""Choice of a setting for a pair: held-out blocks, the rule of one standard error, and its report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import SPRCore
from SPRCore import RegistrationOptions
from SPRCore.analysis.methods import parse_methods, run_method
from SPRCore.errors import InputError
from SPRCore.functional import gaussian_smooth, warp
from SPRCore.geometry import MaskedVolume
from SPRCore.geometry.annotations import Annotations
from SPRCore.io.pairs import LoadedPair
from SPRCore.registration import InstanceConfig, register_instance
from SPRCore.registration.choice import (
    CANDIDATES,
    ChoiceConfig,
    choosing,
    coarse_level,
    compared,
    held_out_blocks,
)
from SPRCore.registration.level import completed
from SPRCore.registration.pair import PairTensors
from SPRCore.registration.pyramid import Level
from SPRCore.regularization import BetaPrior
from SPRCore.regularization.hyperparameters import ANATOMY_SETTINGS
from SPRCore.regularization.priors import anatomy_prior, hyperparameters

QUICK = ChoiceConfig(candidates=CANDIDATES[1:4], voxels=20_000, block=7, cold=(3, 2), warm=(0, 1))
ONE = (1.0, 1.0, 1.0)


def choose_setting(fixed, moving, spacing, **options):
    return completed(choosing(PairTensors(fixed=fixed, moving=moving, spacing=spacing), **options))


def textured(seed: int, shape: tuple[int, ...] = (40, 36, 32)) -> torch.Tensor:
    image = torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    return gaussian_smooth(image, [1.5] * 3)


@given(
    shape=st.tuples(*[st.integers(4, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 8.0)] * 3),
    block=st.integers(5, 15),
)
@settings(deadline=None, max_examples=60)
def test_held_out_blocks_share_no_face(shape, spacing, block):
    number, held = held_out_blocks(Level(shape=shape, spacing=spacing), block)
    held = held[0, 0]
    several = [axis for axis in range(3) if bool(torch.diff(number, dim=axis).any())]
    for axis in several:
        change = torch.diff(number, dim=axis) != 0
        both = held.narrow(axis, 0, shape[axis] - 1) & held.narrow(axis, 1, shape[axis] - 1)
        assert len(several) == 1 or not bool((change & both).any())


def test_a_quarter_of_the_blocks_is_held_out():
    _, held = held_out_blocks(Level(shape=(32, 32, 32), spacing=ONE), 8)
    assert float(held.float().mean()) == 0.25


@given(st.tuples(*[st.integers(8, 300)] * 3), st.tuples(*[st.floats(0.3, 10.0)] * 3), st.integers(500, 100_000))
@settings(deadline=None, max_examples=60)
def test_the_coarse_grid_keeps_to_its_voxels_and_its_field_of_view(shape, spacing, voxels):
    level = coarse_level(shape, spacing, voxels)
    assert torch.tensor(level.shape).prod() <= voxels
    for old, new, size, step in zip(shape, level.shape, spacing, level.spacing, strict=True):
        assert (new - 1) * step == pytest.approx((old - 1) * size)


def test_what_lies_in_held_out_blocks_does_not_steer_the_solver(monkeypatch):
    """The velocity of every candidate is the same whatever the held-out voxels of the fixed image are multiplied by."""
    from SPRCore.registration import choice

    masks = []
    real = choice.InstanceProblem.of
    monkeypatch.setattr(
        choice.InstanceProblem, "of", lambda *a, mask, **k: masks.append(mask) or real(*a, mask=mask, **k)
    )
    image = textured(0)
    choose_setting(image, textured(1), ONE, config=QUICK)
    level = coarse_level(image.shape[2:], ONE, QUICK.voxels)
    _, held = held_out_blocks(level, QUICK.block)
    assert torch.equal(masks[0] == 0, held)


def test_the_best_is_chosen_where_it_is_ahead_of_the_default_by_more_than_an_error():
    number = torch.arange(10).repeat_interleave(4)
    noise = 0.01 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    base = torch.full((40,), 0.5)
    *priors, default = CANDIDATES[:3]
    clear = compared((*priors, default), [base - 0.1, base + 0.1, base], number, default)
    assert clear.prior == priors[1]
    assert clear.scores[2].behind > clear.scores[2].error
    tied = compared((*priors, default), [base + noise - noise.mean() + 1e-4, base - 0.1, base], number, default)
    assert tied.scores[0].behind == 0.0
    assert tied.prior == default


def test_the_standard_error_is_that_of_paired_differences():
    number = torch.arange(16)
    level = torch.linspace(0, 1, 16)  # blocks differ much, candidates by a constant: no error
    choice = compared(CANDIDATES[:2], [level, level + 0.01], number, CANDIDATES[0])
    assert choice.scores[0].error == pytest.approx(0.0, abs=1e-7)
    assert choice.prior == CANDIDATES[1]


def test_a_default_of_its_own_is_compared_too():
    image, default = textured(3), BetaPrior(alpha=0.05, lambda_max=3.0)
    choice = choose_setting(image, textured(4), ONE, default=default, config=QUICK)
    assert choice.scores[-1].prior == default
    assert len(choice.scores) == len(QUICK.candidates) + 1


def test_too_few_blocks_give_the_default_and_say_so():
    image = textured(0, (16, 16, 16))
    choice = choose_setting(image, textured(1, (16, 16, 16)), ONE, default=BetaPrior(lambda_max=3.0))
    assert choice.prior == BetaPrior(lambda_max=3.0)
    assert "default setting was used" in choice.warnings[0]
    assert choice.report()["chosen_by"] == "default"


def test_the_choice_is_the_same_each_time():
    image = textured(3)
    shift = torch.zeros((1, 3, *image.shape[2:]))
    shift[:, 0] = 1.5
    first, second = (choose_setting(image, warp(image, shift), ONE, config=QUICK) for _ in range(2))
    assert first == second
    assert first.blocks >= 8
    assert first.report()["candidates"][0]["similarity"] > 0.5


def test_the_result_is_that_of_the_setting_given_by_hand():
    fixed, moving = textured(3), textured(4)
    choice = choose_setting(fixed, moving, ONE)
    image, other = (SPRCore.Volume(part[0, 0].numpy(), torch.eye(4).numpy()) for part in (fixed, moving))
    result = SPRCore.register(image, other, prior="auto", init="none", device="cpu")
    expected = register_instance(fixed, moving, ONE, choice.prior)
    np.testing.assert_allclose(result.weight.array, expected.weight[0, 0].numpy(), atol=1e-5)


def test_register_chooses_and_reports():
    image = SPRCore.Volume(textured(3)[0, 0].numpy(), torch.eye(4).numpy())
    result = SPRCore.register(image, image, prior="auto", init="none", device="cpu")
    chosen = result.report["prior"]
    assert chosen["chosen"] == result.report["hyperparameters"]
    assert result.report["seconds"]["choose"] > 0


@pytest.mark.parametrize("name", ANATOMY_SETTINGS)
def test_an_anatomy_has_its_setting(name):
    image = SPRCore.Volume(textured(3, (12, 12, 12))[0, 0].numpy(), torch.eye(4).numpy())
    result = SPRCore.register(image, image, options=RegistrationOptions(anatomy=name), init="none", device="cpu")
    prior = anatomy_prior(name)
    assert result.report["hyperparameters"] == {"prior": prior.name, **hyperparameters(prior)}


def test_what_cannot_be_had_together_is_refused():
    image = SPRCore.Volume(textured(3, (12, 12, 12))[0, 0].numpy(), torch.eye(4).numpy())
    for given_, words in (
        ({"options": RegistrationOptions(anatomy="knee")}, "brain, heart, liver, lung, pelvis"),
        ({"options": RegistrationOptions(anatomy="brain"), "prior": "auto"}, "together with a prior"),
        ({"prior": "auto", "method": "general-hyper-spr"}, "the method instance"),
        (
            {"options": RegistrationOptions(anatomy="brain"), "method": "general-hyper-spr"},
            "the method instance",
        ),
    ):
        with pytest.raises(InputError, match=words):
            SPRCore.register(image, image, init="none", device="cpu", **given_)


def test_a_method_of_a_benchmark_chooses():
    image = SPRCore.Volume(textured(3, (16, 16, 16))[0, 0].numpy(), torch.eye(4).numpy())
    pair = [MaskedVolume.of(image, name) for name in ("fixed", "moving")]
    (method,) = parse_methods(["auto"])
    pair = LoadedPair(fixed=pair[0], moving=pair[1], annotations=Annotations())
    found = run_method(method, pair, None, "cpu")
    given_by_hand = run_method(dataclasses.replace(method, chooses=False), pair, None, "cpu")
    np.testing.assert_array_equal(found.weight.array, given_by_hand.weight.array)  # too few blocks: the default
    assert found.report["seconds"]["register"] > 0


def test_a_benchmark_knows_auto():
    (method,) = parse_methods(["auto"])
    assert method.chooses
    assert method.setting == {"prior": "auto"}
    with pytest.raises(InputError, match="values for a setting that is chosen"):
        parse_methods(["auto@alpha=0.1"])
    assert not dataclasses.replace(method, chooses=False).setting == method.setting


def test_detail_is_that_of_the_settings_and_for_the_instance_solver_alone():
    image, other = (SPRCore.Volume(textured(seed, (20, 18, 16))[0, 0].numpy(), torch.eye(4).numpy()) for seed in (3, 4))
    given = {"init": "none", "device": "cpu"}
    coarse = InstanceConfig(velocity_voxels=1000)
    fine = SPRCore.register(image, other, options=RegistrationOptions(config=coarse, detail="fine"), **given)
    same = SPRCore.register(image, other, options=RegistrationOptions(config=coarse.detailed()), **given)
    plain = SPRCore.register(image, other, options=RegistrationOptions(config=coarse), **given)
    np.testing.assert_array_equal(fine.displacement.array, same.displacement.array)
    assert np.abs(fine.displacement.array - plain.displacement.array).max() > 0.01
    with pytest.raises(InputError, match="fine, standard"):
        RegistrationOptions(detail="finer")
    with pytest.raises(InputError, match="the method instance"):
        SPRCore.register(image, image, method="general-hyper-spr", options=RegistrationOptions(detail="fine"), **given)

"""HyperMorph's λ in cards, registration, refinement, live session and sweep: everywhere the strength λ/(1 - λ)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_sessions import opened

from SPRCore import RegistrationOptions, UniformPrior, register
from SPRCore.analysis.methods import parse_methods
from SPRCore.errors import InputError
from SPRCore.io import ModelCard
from SPRCore.live import network as live_network
from SPRCore.registration import pair as registering
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.network import code_of, model_prior
from SPRCore.regularization.hyperparameters import MOST_SHARE, share_of, slider_range, strength_of
from SPRCore.training.config import HyperConfig, LossConfig
from SPRCore.training.hyper import default_setting, solver_prior
from SPRCore.training.model_card import card_of
from SPRCore.training.recipe import read_recipe
from SPRCore.tuning.axes import grid_axes

HYPERMORPH = {"weighting": "hypermorph", "ranges": {"lambda": (0.0, 99.0)}, "defaults": {"lambda": 3.0}}


@pytest.fixture
def hypermorph(bundle_of):
    return bundle_of("hyper-voxelmorph", card=HYPERMORPH)


@pytest.mark.parametrize(("folder", "share"), [("ixi", 0.75), ("autopet", 0.25), ("acdc_mnms", 0.65)])
def test_the_card_has_the_strength_of_the_solver(repository, folder, share):
    """The ratio of smoothness and similarity in the loss of training is the strength of the card."""
    recipe = read_recipe(repository / "Training" / "recipes" / folder / "hypermorph.yaml")
    card = card_of(recipe)
    trained = default_setting(recipe.loss, recipe.hyper)
    assert trained.code == (share,)
    assert card.defaults["lambda"] == pytest.approx(trained.prior.scale / trained.data_weight)
    assert card.defaults["lambda"] == pytest.approx(share / (1 - share))
    assert card.ranges["lambda"] == (0.0, pytest.approx(MOST_SHARE / (1 - MOST_SHARE)))
    assert ModelCard.from_dict(card.to_dict()) == card
    np.testing.assert_allclose(code_of(card, model_prior(card)), [[share]], rtol=1e-6)


def test_the_code_of_a_narrower_range_is_the_share_too():
    loss, hyper = (
        LossConfig(prior="uniform", strength=0.4),
        HyperConfig(ranges={"lambda": (0.1, 0.8)}, weighting="hypermorph"),
    )
    assert default_setting(loss, hyper).code == (0.4,)
    ends = tuple(map(strength_of, (0.1, 0.8)))
    card = ModelCard(
        name="narrow",
        architecture={},
        prior="uniform",
        conditioning=("lambda",),
        **HYPERMORPH | {"ranges": {"lambda": ends}, "defaults": {"lambda": strength_of(0.4)}},
    )
    np.testing.assert_allclose(code_of(card, model_prior(card)), [[0.4]], rtol=1e-6)
    with pytest.raises(InputError, match=r"lambda: got 5; expected 0\.111111 to 4\.8"):
        model_prior(card, UniformPrior(strength=5.0))


def test_only_the_uniform_prior_has_this_weighting():
    with pytest.raises(InputError, match=r"weighting hypermorph: got the beta prior"):
        ModelCard(name="m", architecture={}, weighting="hypermorph")
    with pytest.raises(InputError, match="weighting"):
        ModelCard(name="m", architecture={}, weighting="other")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.75, 0.99])
def test_share_and_strength(share):
    assert share_of(strength_of(share)) == pytest.approx(share)
    assert strength_of(1.0) == pytest.approx(99.0)


def test_the_refinement_gets_the_strength_and_the_network_the_share(pair, hypermorph, monkeypatch):
    priors, codes = [], []
    course, network_code = InstanceProblem.course, registering.register_network
    monkeypatch.setattr(
        InstanceProblem, "course", lambda self, prior, *more: priors.append(prior) or course(self, prior, *more)
    )
    monkeypatch.setattr(
        registering,
        "register_network",
        lambda *images, **more: codes.append(code_of(images[3], more["prior"])) or network_code(*images, **more),
    )
    options = {"method": hypermorph, "init": "none", "device": "cpu", "options": RegistrationOptions(refine=2)}
    report = register(pair["fixed"], pair["moving"], **options).report
    assert priors == [UniformPrior(strength=3.0)]
    np.testing.assert_allclose(torch.cat(codes), [[0.75]], rtol=1e-6)
    assert report["hyperparameters"] == {"prior": "uniform", "lambda": 3.0}


def test_a_live_session_has_the_strength(pair, hypermorph, monkeypatch):
    codes, priors = [], []
    monkeypatch.setattr(live_network, "code_of", lambda *said: codes.append(code_of(*said)) or codes[-1])
    course = InstanceProblem.course
    monkeypatch.setattr(
        InstanceProblem, "course", lambda self, prior, *more: priors.append(prior) or course(self, prior, *more)
    )
    with opened(pair, method=hypermorph, refine=2) as live:
        assert live.setting == {"lambda": 3.0}
        assert live.ranges["lambda"] == pytest.approx((strength_of(0.05), strength_of(0.95)))
        live.update(**{"lambda": 1.0})
        live.commit()
    assert {round(float(code), 6) for code in codes} == {0.5}
    assert priors == [UniformPrior(strength=1.0)]


def test_sliders_hold_most_shares():
    assert slider_range((0.0, 99.0), "hypermorph") == pytest.approx((0.05 / 0.95, 0.95 / 0.05))
    assert slider_range((0.0, 2.0), "hypermorph") == pytest.approx((0.05 / 0.95, 2.4))
    assert slider_range((0.0, 2.0)) == pytest.approx((0.024, 2.4))


def test_a_sweep_has_even_steps_of_the_share(hypermorph):
    (method,) = parse_methods([str(hypermorph)])
    (axis,) = grid_axes(method, {}, "brain", 5)
    np.testing.assert_allclose([share_of(value) for value in axis.values], np.arange(100) / 100, atol=1e-9)
    assert axis.values[75] == pytest.approx(3.0)
    assert grid_axes(method, {"lambda": "1:3:1"}, None, 5)[0].values == (1.0, 2.0, 3.0)


def test_a_teacher_solves_with_the_strength():
    loss, hyper = (
        LossConfig(prior="uniform", strength=0.5),
        HyperConfig(ranges={"lambda": (0.0, 1.0)}, weighting="hypermorph"),
    )
    assert solver_prior({"lambda": 0.75}, loss, hyper) == UniformPrior(strength=3.0)
    assert solver_prior({"lambda": 0.75}, loss, None) == UniformPrior(strength=0.75)
    assert solver_prior({"lambda": 1.0}, loss, hyper).strength == pytest.approx(99.0)

"""Similarities and second channels in the solver: known fields of phantoms, choices that depend on them, and errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import SPRCore
from SPRCore import RegistrationOptions, Volume
from SPRCore.errors import InputError
from SPRCore.functional import integrate, warp
from SPRCore.io import ModelCard
from SPRCore.registration import InstanceConfig, register_instance
from SPRCore.registration.choice import ChoiceConfig, choosing
from SPRCore.registration.job import LoadedModel, make_job
from SPRCore.registration.pair import PairTensors
from SPRCore.regularization import BetaPrior
from SPRCore.similarity import FixedFeatures

SHAPE, SPACING = (30, 28, 26), (3.0, 3.0, 3.0)
PRIOR = BetaPrior(lambda_max=2.0)
STEPS = (8, 6, 4)


def tissues(seed=0):
    """A map of eight kinds of tissue in layers and blobs, shape (1, 1, X, Y, Z)."""
    texture = gaussian_filter(np.random.default_rng(seed).standard_normal((1, 1, *SHAPE)), (0, 0, 3.0, 3.0, 3.0))
    return torch.bucketize(torch.as_tensor(texture / texture.std()), torch.linspace(-1.2, 1.2, 7).double())


def contrast(kinds, seed, noise=0.02):
    """An image with an intensity for each tissue, in an order that has nothing to do with that of another seed."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.linspace(0.1, 0.9, 8)[torch.randperm(8, generator=generator)]
    return levels[kinds] + noise * torch.randn(kinds.shape, generator=generator)


@pytest.fixture(scope="module")
def known(random_displacement):
    """A velocity and the displacement that undoes it, in voxels."""
    velocity = random_displacement(SHAPE, 3, length=4.0, sigma=6.0, dtype=torch.float32)
    return velocity, integrate(-velocity, 7)


def error_mm(displacement_vox, truth):
    inner = (slice(None), slice(None), *(slice(4, -4),) * 3)
    return float(3.0 * (displacement_vox - truth)[inner].norm(dim=1).mean())


def found_mm(fixed, moving, known, similarity):
    velocity, truth = known
    config = InstanceConfig(similarity=similarity, steps=STEPS)
    moved = warp(moving, integrate(velocity, 7))
    return error_mm(register_instance(fixed, moved, SPACING, PRIOR, config).displacement_vox, truth)


def test_mind_finds_a_known_field_between_unrelated_contrasts_and_correlation_does_not(known):
    kinds, before = tissues(), error_mm(torch.zeros_like(known[1]), known[1])
    fixed, moving = contrast(kinds, 1), contrast(kinds, 2)
    found = {name: found_mm(fixed, moving, known, name) for name in ("lncc", "mind", "mse")}
    assert before > 2.5
    assert found["mind"] < 0.65 * before, found
    assert found["mind"] < 0.7 * found["lncc"], found
    assert found["mind"] < 0.7 * found["mse"], found


def test_mean_squares_find_a_known_field_in_images_of_one_scanner(known):
    kinds, before = tissues(), error_mm(torch.zeros_like(known[1]), known[1])
    image = contrast(kinds, 1, noise=0.0)
    assert found_mm(image, image, known, "mse") < 0.4 * before


def test_a_second_channel_informs_where_the_first_is_blank(known):
    kinds = tissues()
    image = contrast(kinds, 1)
    left, right = image.clone(), image.clone()
    left[:, :, 15:], right[:, :, :15] = 0.5, 0.5
    generator = torch.Generator().manual_seed(7)
    left, right = (part + 0.01 * torch.randn(part.shape, generator=generator) for part in (left, right))
    both = torch.cat([left, right], dim=1)
    for similarity in ("lncc", "mse"):
        two = found_mm(both, both, known, similarity)
        assert two < 0.8 * min(found_mm(one, one, known, similarity) for one in (left, right)), similarity


def test_the_choice_of_a_setting_takes_the_similarity_of_the_registration(known):
    kinds = tissues()
    fixed, moving = contrast(kinds, 1), warp(contrast(kinds, 2), integrate(known[0], 7))
    config = ChoiceConfig(candidates=(BetaPrior(lambda_max=8.0), BetaPrior(lambda_max=2.0)), block=9, cold=(2, 2, 2))

    def scores(similarity):
        steps = choosing(
            PairTensors(fixed=fixed, moving=moving, spacing=SPACING),
            PRIOR,
            InstanceConfig(similarity=similarity),
            config,
        )
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return [score.similarity for score in end.value.scores]

    assert len(scores("mind")) == 2
    assert max(scores("lncc")) != pytest.approx(max(scores("mind")), abs=0.01)


def test_the_noise_stops_mean_squares_and_not_mind(random_image):
    clean = random_image(SHAPE, 3, sigma=3.0, dtype=torch.float32)
    noise = 0.03 * torch.randn((2, *clean.shape), generator=torch.Generator().manual_seed(9))
    image, other = clean + noise[0], clean + noise[1]
    attainable = FixedFeatures.of(image, (4, 4, 4)).attainable()
    reached = FixedFeatures.of(image, (4, 4, 4)).compare(other).values.mean()
    assert float(attainable.mean()) == pytest.approx(float(reached), abs=0.03)
    assert FixedFeatures.of(image, (4, 4, 4), noisy=False).attainable() is None
    config = InstanceConfig(similarity="mind", steps=(1,), stop_at_noise=True)
    assert register_instance(image, other, SPACING, PRIOR, config).similarity > 0


def volume(tensor):
    return Volume(tensor[0, 0].numpy(), np.diag([*SPACING, 1.0]))


@pytest.mark.parametrize("similarity", ["mind", "mse"])
def test_the_report_names_the_similarity_and_measures_it(known, similarity):
    kinds = tissues()
    fixed = contrast(kinds, 1)
    moving = warp(contrast(kinds, 1 if similarity == "mse" else 2), integrate(known[0], 7))
    options = RegistrationOptions(similarity=similarity, config=InstanceConfig(steps=STEPS))
    report = SPRCore.register(
        volume(fixed), volume(moving), prior=PRIOR, init="none", device="cpu", options=options
    ).report
    metrics = report["metrics"]
    assert report["similarity"] == similarity
    assert metrics["after"][similarity] > metrics["before"][similarity]
    assert "lncc" in metrics["after"]


def test_a_model_has_the_similarity_of_its_training():
    card = ModelCard(name="tiny", architecture={}, similarity="mse")
    model = LoadedModel(network=None, card=card, sha256="")
    grid = volume(contrast(tissues(), 1)).grid
    for refine in (0, 4):
        assert make_job(model, grid, torch.device("cpu"), refine=refine).similarity == "mse"
    config = make_job(model, grid, torch.device("cpu"), refine=4, similarity="mse").config
    assert config == dataclasses.replace(InstanceConfig.refining(4), similarity="mse")
    with pytest.raises(InputError, match="mse, which the model tiny was trained with"):
        make_job(model, grid, torch.device("cpu"), similarity="mind")
    assert ModelCard.from_dict({"name": "old", "architecture": {}}).similarity == "lncc"
    with pytest.raises(InputError, match="similarity"):
        ModelCard(name="bad", architecture={}, similarity="ncc")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: InstanceConfig(similarity="nmi"), "similarity"),
        (lambda: RegistrationOptions(similarity="lnc"), "lncc"),
    ],
)
def test_unknown_similarities_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_a_second_channel_of_one_image_is_refused():
    image = volume(contrast(tissues(), 1))
    with pytest.raises(InputError, match=r"second channel.*one image only"):
        SPRCore.register(image, image, annotations={"fixed_channel": image}, device="cpu")


def test_a_second_channel_is_resampled_on_the_grid_of_its_image():
    from SPRCore.geometry import MaskedVolume

    image = volume(contrast(tissues(), 1))
    coarse = Volume(image.array[::2, ::2, ::2], image.affine @ np.diag([2, 2, 2, 1.0]))
    masked = MaskedVolume.of(image, "fixed image").with_channel(coarse)
    assert masked.channel.grid.matches(image.grid)
    tensor = masked.tensor_on(image.grid)
    assert tensor.shape == (1, 2, *SHAPE)
    np.testing.assert_allclose(tensor[0, 1, ::2, ::2, ::2].numpy(), coarse.array, atol=1e-4)

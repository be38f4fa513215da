"""The training loss beside a plain-PyTorch reference, its gradients, and what each option means."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.functional import integrate
from SPRCore.networks import RegistrationOutput
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior
from SPRCore.similarity import features, fixed_side
from SPRCore.training.batches import Batch
from SPRCore.training.config import LossConfig
from SPRCore.training.hyper import LossSetting
from SPRCore.training.losses import batch_loss, dice_loss, landmark_loss, map_gap, map_weight

SHAPE, SPACING = (12, 11, 10), (1.0, 1.5, 2.0)
PRIORS = (
    BetaPrior(alpha=0.2, lambda_max=2.0),
    GaussianPrior(sigma=0.7, lambda_mean=1.5),
    UniformPrior(strength=1.3),
    TotalVariationPrior(tv=0.8, lambda_max=2.0),
)


@pytest.fixture(scope="module")
def pair(random_image):
    labels = [(random_image(SHAPE, seed) * 6).clamp(0, 4).long() for seed in (3, 4)]
    points = torch.tensor([[2.0, 3.0, 4.0], [6.5, 5.25, 3.0], [9.0, 8.0, 7.75]], dtype=torch.float64)
    return Batch(
        moving=random_image(SHAPE, 1),
        fixed=random_image(SHAPE, 2),
        spacings=(SPACING,),
        moving_labels=labels[0],
        fixed_labels=labels[1],
        labels=(1, 2, 3),
        moving_points=(points + 0.5,),
        fixed_points=(points,),
    )


@pytest.fixture(scope="module")
def output(random_image, random_displacement):
    velocity = random_displacement(SHAPE, 7, length=1.2)
    return RegistrationOutput(
        displacement=integrate(velocity),
        inverse_displacement=integrate(-velocity),
        velocity=velocity,
        weight=random_image(SHAPE, 5).clamp(0.1, 1.0),
    )


def pair_loss(output, pair, prior, config, data_weight=1.0):
    return batch_loss(output, pair, [LossSetting(prior=prior, data_weight=data_weight)], config)


def of(output, prior):
    return dataclasses.replace(output, weight=None) if prior.name == "uniform" else output


def reference_warp(image, displacement):
    ticks = [torch.arange(n, dtype=image.dtype) for n in SHAPE]
    positions = torch.stack(torch.meshgrid(*ticks, indexing="ij"))[None] + displacement
    parts = [2 * positions[:, axis] / (n - 1) - 1 for axis, n in enumerate(SHAPE)]
    grid = torch.stack(parts, dim=-1).flip(-1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def reference_lncc(fixed, warped, window):
    ones = torch.ones(1, 1, *window, dtype=fixed.dtype)

    def total(image):
        return F.conv3d(image, ones, padding=[w // 2 for w in window])

    count = total(torch.ones_like(fixed))

    def covariance(a, b):
        return total(a * b) - total(a) * total(b) / count

    low = 1e-5 * count
    variances = [torch.maximum(covariance(image, image), low) for image in (fixed, warped)]
    usable = (covariance(fixed, fixed) > low).double()
    return (covariance(fixed, warped) ** 2 / (variances[0] * variances[1]) * usable).mean()


def reference_smoothness(displacement, weight):
    total = 0.0
    mm = displacement * torch.tensor(SPACING, dtype=torch.float64).view(1, 3, 1, 1, 1)
    for axis, step in enumerate(SPACING):
        n = SHAPE[axis]
        low, high = slice(0, n - 1), slice(1, n)
        at = [slice(None)] * 5
        first, second = list(at), list(at)
        first[axis + 2], second[axis + 2] = low, high
        slope = (mm[tuple(second)] - mm[tuple(first)]) / step
        total = total + (0.5 * (weight[tuple(first)] + weight[tuple(second)]) * slope**2).sum()
    return total / (9 * weight.numel())


def reference_prior(prior, weight):
    if prior.name == "beta":
        return -(prior.alpha * weight.log()).mean()
    if prior.name == "tv":
        return (0.8**2 / (4 * 2.0) / weight).mean()
    return prior.sigma * ((weight - 1) ** 2).mean() if prior.name == "gaussian" else 0.0


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.name)
def test_the_loss_is_that_of_a_plain_reference(pair, output, prior):
    parts = pair_loss(of(output, prior), pair, prior, LossConfig())
    weight = torch.ones_like(output.weight) if prior.name == "uniform" else output.weight
    warped = reference_warp(pair.moving, output.displacement)
    # 9 voxels of the finest axis are 9 mm: 9 x 7 x 5 voxels (radius 4 / 1.5 and 4 / 2, rounded).
    expected = {
        "similarity": -reference_lncc(pair.fixed, warped, (9, 7, 5)),
        "smoothness": prior.scale * reference_smoothness(output.displacement, weight),
        "prior": reference_prior(prior, weight),
    }
    for name, value in expected.items():
        assert float(parts.get(name, 0.0)) == pytest.approx(float(value), rel=1e-9, abs=1e-12), name
    assert float(parts["loss"]) == pytest.approx(float(sum(expected.values())), rel=1e-9)
    assert ("prior" in parts) == (prior.name != "uniform")


def small(volume):
    return volume[..., :6, :5, :5].contiguous()


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.name)
def test_gradients_of_everything_at_once(pair, output, prior):
    # The pull is left out: no gradient goes through the most probable weight.
    crop = dataclasses.replace(
        pair,
        moving=small(pair.moving),
        fixed=small(pair.fixed),
        moving_labels=small(pair.moving_labels),
        fixed_labels=small(pair.fixed_labels),
        moving_points=(pair.moving_points[0][:1],),
        fixed_points=(pair.fixed_points[0][:1],),
    )
    config = LossConfig(window=3, dice_weight=1.0, tre_weight=0.3, symmetric=True)

    def loss(velocity, weight):
        made = RegistrationOutput(
            displacement=integrate(velocity),
            inverse_displacement=integrate(-velocity),
            weight=None if prior.name == "uniform" else weight,
        )
        return pair_loss(made, crop, prior, config, data_weight=0.7)["loss"] + 0.0 * weight.sum()

    leaves = small(output.velocity).requires_grad_(), small(output.weight).requires_grad_()
    assert gradcheck(loss, leaves, eps=1e-6, atol=1e-5, fast_mode=True)


def test_the_weight_is_pulled_to_the_most_probable_one(pair, output):
    prior, pull = BetaPrior(alpha=0.01, lambda_max=2.0), LossConfig(map_weight_pull=3.0)
    weight = output.weight.clone().requires_grad_()
    parts = pair_loss(dataclasses.replace(output, weight=weight), pair, prior, pull)
    target = map_weight(output.displacement, SPACING, prior)
    assert 0 < float(target.min()) < float(target.max()) <= 1
    (slope,) = torch.autograd.grad(parts["map_pull"], weight)
    torch.testing.assert_close(slope, 6.0 * (weight - target).detach() / weight.numel())
    gap = (output.weight - target).abs().mean()
    assert float(parts["map_gap"]) == pytest.approx(float(gap))
    assert map_gap(output, SPACING, prior) == pytest.approx(float(gap))
    assert map_gap(of(output, PRIORS[2]), SPACING, PRIORS[2]) is None
    names = ("similarity", "smoothness", "prior", "map_pull")
    assert float(parts["loss"].detach()) == pytest.approx(sum(float(parts[name].detach()) for name in names))


def test_a_network_at_its_most_probable_weight_has_no_gap(output):
    prior = BetaPrior(alpha=0.01, lambda_max=2.0)
    at = dataclasses.replace(output, weight=map_weight(output.displacement, SPACING, prior))
    assert map_gap(at, SPACING, prior) == 0.0


def test_dice_loss_is_one_minus_the_mean_overlap(pair, output):
    zero = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    labels = (1, 2, 3, 77)  # 77 is nowhere and does not count
    overlaps = []
    for label in (1, 2, 3):
        a, b = pair.fixed_labels == label, pair.moving_labels == label
        overlaps.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    value = dice_loss(pair.fixed_labels, pair.moving_labels, zero, labels)
    assert float(value) == pytest.approx(1 - float(sum(overlaps)) / 3)
    assert float(dice_loss(pair.fixed_labels, pair.fixed_labels, zero, labels)) == pytest.approx(0.0, abs=1e-12)
    assert float(dice_loss(pair.fixed_labels, pair.moving_labels, zero, (77,))) == 0.0


def test_many_labels_are_no_more_memory_and_the_same_value(random_image, random_displacement):
    labels = [(random_image(SHAPE, seed) * 40).clamp(0, 39).long() for seed in (3, 4)]
    moves = random_displacement(SHAPE, 2, length=2.0).requires_grad_()
    wanted = tuple(range(1, 40))
    indicators = [torch.cat([(m == k).double() for k in wanted], dim=1) for m in labels]
    warped = reference_warp(indicators[1], moves)
    present = ((indicators[0].sum((2, 3, 4)) + indicators[1].sum((2, 3, 4))) > 0)[0]
    sizes = (indicators[0] + warped).sum((2, 3, 4))[0]
    expected = 1 - (2 * (indicators[0] * warped).sum((2, 3, 4))[0] / sizes.clamp(min=1e-5))[present].mean()
    value = dice_loss(labels[0], labels[1], moves, wanted)
    assert [kept.shape for kept in value.grad_fn.saved_tensors] == [moves.shape]
    assert float(value.detach()) == pytest.approx(float(expected.detach()))
    for ours, reference in zip(torch.autograd.grad(value, moves), torch.autograd.grad(expected, moves), strict=True):
        torch.testing.assert_close(ours, reference)


def test_landmark_loss_is_the_mean_error_in_mm():
    moves = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    moves[:, 1] = 2.0
    fixed = torch.tensor([[3.0, 3.0, 3.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    moving = fixed + torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    error = landmark_loss(fixed, moving, moves, SPACING)  # none of the first, 2 voxels of 1.5 mm of the second
    assert float(error) == pytest.approx(1.5, abs=1e-3)


def test_the_symmetric_loss_is_the_same_from_either_side(pair, output):
    config = LossConfig(symmetric=True, dice_weight=1.0)
    there = pair_loss(output, pair, PRIORS[0], config)
    swapped = dataclasses.replace(
        output, displacement=output.inverse_displacement, inverse_displacement=output.displacement
    )
    back = pair_loss(swapped, pair.swapped(), PRIORS[0], config)
    for name in ("similarity", "dice_loss"):
        assert float(there[name]) == pytest.approx(float(back[name]))
        assert float(there[name]) != pytest.approx(
            float(pair_loss(output, pair, PRIORS[0], LossConfig(dice_weight=1.0))[name])
        )


def test_mean_squares_descriptors_and_images_of_several_channels(pair, output):
    warped = reference_warp(pair.moving, output.displacement)
    for name in ("mse", "mind"):
        one, other = (features(name, image, pair.spacing) for image in (pair.fixed, warped))
        side = fixed_side(name, one, pair.spacing, 9)
        expected = float((one - other).square().mean()) / (2.0 * float(side.variance)) - 1.0
        parts = pair_loss(output, pair, PRIORS[0], LossConfig(similarity=name))
        assert float(parts["similarity"]) == pytest.approx(expected)
    doubled = dataclasses.replace(pair, moving=pair.moving.expand(1, 2, *SHAPE), fixed=pair.fixed.expand(1, 2, *SHAPE))
    one, two = (pair_loss(output, p, PRIORS[0], LossConfig())["similarity"] for p in (pair, doubled))
    assert float(one) == pytest.approx(float(two))
    swapped = dataclasses.replace(pair, moving=1.0 - pair.fixed, fixed=pair.moving)
    both = dataclasses.replace(
        pair,
        moving=torch.cat([pair.moving, swapped.moving], dim=1),
        fixed=torch.cat([pair.fixed, swapped.fixed], dim=1),
    )
    first, second, mean = (
        float(pair_loss(output, each, PRIORS[0], LossConfig())["similarity"]) for each in (pair, swapped, both)
    )
    assert abs(first - second) > 1e-3
    assert mean == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        ({"moving_labels": None}, LossConfig(dice_weight=1.0), "without labels"),
        ({"fixed_points": None}, LossConfig(tre_weight=1.0), "without landmarks"),
    ],
)
def test_a_term_without_its_data_is_refused(pair, output, change, config, message):
    with pytest.raises(InputError, match=message):
        pair_loss(output, dataclasses.replace(pair, **change), PRIORS[0], config)


def test_what_does_not_fit_the_network_is_refused(pair, output):
    with pytest.raises(InputError, match="without a weight"):
        pair_loss(of(output, PRIORS[2]), pair, PRIORS[0], LossConfig())
    with pytest.raises(InputError, match="with a weight"):
        pair_loss(output, pair, PRIORS[2], LossConfig())
    one_way = dataclasses.replace(output, inverse_displacement=None)
    with pytest.raises(InputError, match="inverse"):
        pair_loss(one_way, pair, PRIORS[0], LossConfig(symmetric=True))


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.name)
@pytest.mark.parametrize("symmetric", [False, True])
def test_pairs_computed_together_give_what_they_give_one_by_one(pair, output, prior, symmetric):
    """Also where one pair lacks a label, and with other hyperparameters for each."""
    config = LossConfig(prior=prior.name, dice_weight=0.5, symmetric=symmetric)
    poorer = pair.moving_labels.where(pair.moving_labels != pair.labels[0], torch.zeros_like(pair.moving_labels))
    fixed = pair.fixed_labels.where(pair.fixed_labels != pair.labels[0], torch.zeros_like(pair.fixed_labels))
    pairs = [
        pair,
        dataclasses.replace(pair, fixed=pair.moving, moving=pair.fixed, moving_labels=poorer, fixed_labels=fixed),
    ]
    name = {"beta": "lambda_max", "gaussian": "lambda_mean", "tv": "lambda_max", "uniform": "strength"}[prior.name]
    priors = [prior, dataclasses.replace(prior, **{name: 2.0 * prior.scale})]
    settings = [LossSetting(prior=each) for each in priors]
    made = of(output, prior)
    leaf = made.displacement.detach().repeat(2, 1, 1, 1, 1).requires_grad_()
    batch = RegistrationOutput(
        displacement=leaf,
        inverse_displacement=made.inverse_displacement.repeat(2, 1, 1, 1, 1),
        weight=None if made.weight is None else made.weight.repeat(2, 1, 1, 1, 1),
    )
    together = batch_loss(batch, Batch.joined(pairs), settings, config)
    alone = [pair_loss(_at(batch, k), pairs[k], priors[k], config) for k in range(2)]
    assert together.keys() == alone[0].keys()
    for name in together:
        mean = (alone[0][name] + alone[1][name]) / 2
        assert float(together[name].detach()) == pytest.approx(float(mean.detach()), rel=1e-9)
    sums = together["loss"], (alone[0]["loss"] + alone[1]["loss"]) / 2
    slopes = [torch.autograd.grad(total, leaf, retain_graph=True)[0] for total in sums]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


def _at(output, place):
    return RegistrationOutput(**{k: None if v is None else v[place : place + 1] for k, v in vars(output).items()})


def test_pairs_of_different_spacing_give_what_they_give_one_by_one(pair, output):
    other = dataclasses.replace(pair, spacings=((2.0, 2.0, 1.0),))
    made = RegistrationOutput(
        displacement=output.displacement.repeat(2, 1, 1, 1, 1), weight=output.weight.repeat(2, 1, 1, 1, 1)
    )
    settings, config = [LossSetting(prior=PRIORS[0])] * 2, LossConfig(tre_weight=0.5)
    together = batch_loss(made, Batch.joined([pair, other]), settings, config)
    alone = [pair_loss(_at(made, k), each, PRIORS[0], config) for k, each in enumerate((pair, other))]
    assert float(alone[0]["smoothness"]) != float(alone[1]["smoothness"])
    for name, value in together.items():
        assert float(value) == pytest.approx(float(alone[0][name] + alone[1][name]) / 2, rel=1e-12)


def test_a_joined_batch_splits_into_its_pairs(pair):
    other = dataclasses.replace(pair.swapped(), spacings=((1.0, 1.0, 1.0),))
    for found, expected in zip(Batch.joined([pair, other]).split(), (pair, other), strict=True):
        assert (found.spacing, found.names, found.labels) == (expected.spacing, expected.names, expected.labels)
        for name in ("moving", "fixed", "moving_labels", "fixed_labels"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        assert torch.equal(found.moving_points[0], expected.moving_points[0])
    assert Batch.joined([pair, dataclasses.replace(pair, fixed_labels=None)]).fixed_labels is None

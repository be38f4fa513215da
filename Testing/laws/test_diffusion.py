"""Laws of the weighted diffusion: units, symmetries, positivity, sharing of the weight."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.functional import mirrored_box_mean
from SPRCore.regularization import (
    BetaPrior,
    GaussianPrior,
    TotalVariationPrior,
    UniformPrior,
    edge_weights,
    squared_gradient,
    weighted_diffusion,
    weighted_laplacian,
)

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = st.tuples(*(st.integers(1, 7) for _ in range(3)))
SPACINGS = st.tuples(*(st.floats(0.2, 6.0) for _ in range(3)))
POOLS = st.tuples(*(st.integers(0, 9) for _ in range(3)))
PRIORS = st.one_of(
    st.builds(
        BetaPrior, alpha=st.floats(1e-3, 1.0), lambda_max=st.floats(0.1, 5.0), beta=st.sampled_from([1.0, 1.5, 3.0])
    ),
    st.builds(GaussianPrior, sigma=st.floats(0.01, 4.0), lambda_mean=st.floats(0.1, 5.0)),
    st.builds(TotalVariationPrior, tv=st.floats(0.01, 2.0), lambda_max=st.floats(0.1, 100.0)),
    st.builds(UniformPrior, strength=st.floats(0.1, 5.0)),
)
ORDERS = st.sampled_from(list(itertools.permutations(range(3))))


def reorder(image, order):
    return image.permute(0, 1, *(axis + 2 for axis in order))


def weights(random_image, shape, seed):
    return random_image(shape, seed).abs() + 0.01


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS)
def test_millimeters_with_their_spacing_are_voxels_of_a_cube(random_image, random_displacement, shape, seed, spacing):
    # With cubic voxels of any size h, u in mm over h is u in voxels over 1.
    field, weight, h = random_displacement(shape, seed), weights(random_image, shape, seed), spacing[0]
    torch.testing.assert_close(weighted_diffusion(h * field, weight, (h, h, h)), weighted_diffusion(field, weight))


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS, factor=st.floats(0.01, 1000.0))
def test_the_unit_of_length_does_not_matter(random_image, random_displacement, shape, seed, spacing, factor):
    field_mm, weight = random_displacement(shape, seed), weights(random_image, shape, seed)
    scaled = [factor * s for s in spacing]
    for function in (squared_gradient, lambda u, h: weighted_diffusion(u, weight, h)):
        torch.testing.assert_close(function(factor * field_mm, scaled), function(field_mm, spacing))


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS)
def test_it_is_the_mean_of_weight_times_squared_gradient(random_image, random_displacement, shape, seed, spacing):
    field, weight = random_displacement(shape, seed), weights(random_image, shape, seed)
    local = (weight * squared_gradient(field, spacing)).mean()
    torch.testing.assert_close(weighted_diffusion(field, weight, spacing), local)
    energy = (field * weighted_laplacian(field, edge_weights(weight, spacing))).sum() / (9 * weight.numel())
    torch.testing.assert_close(energy, local)


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS, order=ORDERS, axis=st.integers(0, 2))
def test_it_does_not_know_the_axes(random_image, random_displacement, shape, seed, spacing, order, axis):
    field, weight = random_displacement(shape, seed), weights(random_image, shape, seed)
    value = weighted_diffusion(field, weight, spacing)
    reordered = reorder(field, order)[:, list(order)]
    swapped = weighted_diffusion(reordered, reorder(weight, order), [spacing[i] for i in order])
    torch.testing.assert_close(swapped, value)
    torch.testing.assert_close(weighted_diffusion(field.flip(axis + 2), weight.flip(axis + 2), spacing), value)


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS)
def test_the_operator_is_symmetric_and_positive(random_image, random_displacement, shape, seed, spacing):
    a, b = random_displacement(shape, seed), random_displacement(shape, seed + 1)
    edges = edge_weights(weights(random_image, shape, seed), spacing)
    torch.testing.assert_close((a * weighted_laplacian(b, edges)).sum(), (b * weighted_laplacian(a, edges)).sum())
    assert (a * weighted_laplacian(a, edges)).sum() >= 0


@given(shape=SHAPES, seed=SEEDS)
def test_a_batch_has_the_mean_of_its_members(random_image, random_displacement, shape, seed):
    fields = torch.cat([random_displacement(shape, seed + i) for i in range(2)])
    both = torch.cat([weights(random_image, shape, seed + i) for i in range(2)])
    singles = torch.stack([weighted_diffusion(fields[i : i + 1], both[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(weighted_diffusion(fields, both), singles.mean())


@given(shape=SHAPES, seed=SEEDS, spacing=SPACINGS, pool=POOLS, prior=PRIORS)
def test_the_pooled_weight_gives_the_gradient_up_to_the_border(random_displacement, shape, seed, spacing, pool, prior):
    # Envelope theorem and the mirrored mean being its own transpose: no derivative of the weight, none of the pooling.
    field = random_displacement(shape, seed).requires_grad_()
    pooled = mirrored_box_mean(squared_gradient(field, spacing), pool)
    (exact,) = torch.autograd.grad(prior.profile(pooled).sum(), field)
    effective = mirrored_box_mean(prior.map_weight(pooled.detach()), pool)
    edges = edge_weights(effective * (2.0 * prior.scale / 9.0), spacing)
    torch.testing.assert_close(weighted_laplacian(field.detach(), edges), exact, rtol=1e-6, atol=1e-9)

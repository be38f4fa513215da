"""Laws of the weighted diffusion: units, symmetries, positivity, sharing of the weight."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.regularization import edge_weights, squared_gradient, weighted_diffusion, weighted_laplacian

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = st.tuples(*(st.integers(1, 7) for _ in range(3)))
SPACINGS = st.tuples(*(st.floats(0.2, 6.0) for _ in range(3)))
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

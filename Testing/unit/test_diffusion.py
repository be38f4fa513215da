"""Values and gradients of the weighted diffusion."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from SPRCore.regularization import edge_weights, squared_gradient, weighted_diffusion, weighted_laplacian

SHAPE, SPACING = (4, 5, 3), (1.0, 0.7, 2.0)


def weight_of(random_image, shape=SHAPE):
    return random_image(shape, 5).clamp(min=0.1)


@pytest.mark.parametrize("convention", ["mean", "frobenius"])
def test_gradients_with_respect_to_both_arguments(random_image, random_displacement, convention):
    field, weight = random_displacement(SHAPE).requires_grad_(), weight_of(random_image).requires_grad_()
    assert gradcheck(lambda u, w: weighted_diffusion(u, w, SPACING, convention), (field, weight))


def test_gradient_with_respect_to_one_argument(random_image, random_displacement):
    field, weight = random_displacement(SHAPE), weight_of(random_image)
    assert gradcheck(lambda u: weighted_diffusion(u, weight, SPACING), (field.clone().requires_grad_(),))
    assert gradcheck(lambda w: weighted_diffusion(field, w, SPACING), (weight.clone().requires_grad_(),))


def test_it_keeps_its_two_arguments_alone(random_image, random_displacement):
    field, weight = random_displacement(SHAPE).requires_grad_(), weight_of(random_image).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        weighted_diffusion(field, weight)
    assert sorted(kept) == sorted([field.shape, weight.shape])


def test_the_conventions_differ_by_the_nine_terms(random_image, random_displacement):
    field, weight = random_displacement(SHAPE), weight_of(random_image)
    ratio = weighted_diffusion(field, weight, convention="frobenius") / weighted_diffusion(field, weight)
    assert float(ratio) == pytest.approx(9.0)


def test_an_unknown_convention_is_refused(random_image, random_displacement):
    with pytest.raises(ValueError, match="convention"):
        weighted_diffusion(random_displacement(SHAPE), weight_of(random_image), convention="sum")


def test_value_of_a_linear_field():
    field = torch.zeros(1, 3, 6, 5, 4, dtype=torch.float64)
    field[:, 1] = 0.3 * torch.arange(6.0, dtype=torch.float64).view(-1, 1, 1)
    weight = torch.full((1, 1, 6, 5, 4), 2.0, dtype=torch.float64)
    s = squared_gradient(field, (1.5, 1.0, 1.0))
    torch.testing.assert_close(s[..., 1:-1, :, :], torch.full_like(s[..., 1:-1, :, :], (0.3 / 1.5) ** 2 / 9))
    five_of_six = (0.3 / 1.5) ** 2 / 9 * 2.0 * 5 / 6  # one difference less than voxels along the axis
    assert float(weighted_diffusion(field, weight, (1.5, 1.0, 1.0))) == pytest.approx(five_of_six)


def test_shifts_cost_nothing(random_image):
    field = torch.full((1, 3, *SHAPE), 3.0, dtype=torch.float64)
    weight = weight_of(random_image)
    assert float(weighted_diffusion(field, weight)) == 0.0
    assert not weighted_laplacian(field, edge_weights(weight)).any()


def test_an_axis_of_one_voxel_has_no_differences(random_image, random_displacement):
    shape = (5, 4, 1)
    field, weight = random_displacement(shape), weight_of(random_image, shape)
    assert edge_weights(weight)[2].numel() == 0
    assert torch.isfinite(weighted_laplacian(field, edge_weights(weight))).all()
    assert float(weighted_diffusion(field, weight)) > 0

"""Values, errors and gradients of the functional core."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.autograd import gradcheck

from SPRCore import functional as fn
from SPRCore.errors import InputError
from SPRCore.functional.derivative import central_difference, jacobian

SHAPE = (5, 4, 6)


def saved_tensors(function, *arguments):
    """Shapes of the tensors that a function keeps for its backward pass."""
    kept = []

    def pack(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function(*arguments)
    assert result.requires_grad
    return kept


def test_a_displacement_pulls(random_image):
    image = random_image(SHAPE)
    one_voxel_along_y = torch.zeros(1, 3, *SHAPE, dtype=image.dtype)
    one_voxel_along_y[:, 1] = 1.0
    warped = fn.warp(image, one_voxel_along_y)
    torch.testing.assert_close(warped[:, :, :, :-1], image[:, :, :, 1:])
    torch.testing.assert_close(warped[:, :, :, -1], image[:, :, :, -1])


def test_labels_are_warped_to_the_nearest():
    labels = torch.arange(8.0).view(1, 1, 8, 1, 1)
    shift = torch.zeros(1, 3, 8, 1, 1)
    shift[:, 0] = 0.4
    assert torch.equal(fn.warp(labels, shift, mode="nearest"), labels)
    shift[:, 0] = 0.6
    assert torch.equal(fn.warp(labels, shift, mode="nearest").flatten(), (labels.flatten() + 1).clamp(max=7))


@pytest.mark.parametrize(
    ("shape", "options"),
    [(SHAPE, {"mode": "cubic"}), (SHAPE, {"padding": "reflect"}), ((5, 4, 5), {})],
)
def test_what_cannot_be_warped_is_refused_in_one_line(random_image, shape, options):
    with pytest.raises(InputError, match="expected") as caught:
        fn.warp(random_image(SHAPE), torch.zeros(1, 3, *shape, dtype=torch.float64), **options)
    assert "\n" not in str(caught.value)


def test_a_negative_number_of_squarings_is_refused():
    with pytest.raises(InputError, match="steps=-1"):
        fn.integrate(torch.zeros(1, 3, *SHAPE), steps=-1)


def test_few_squarings_suffice_for_small_velocities():
    velocity = torch.zeros(1, 3, *SHAPE)
    assert fn.sufficient_steps(velocity) == 1
    velocity[0, 1, 2, 2, 2] = -8.0
    assert fn.sufficient_steps(velocity, first_step_vox=0.25) == 5
    assert fn.sufficient_steps(velocity * 1e6) == 10


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_gradient_of_warp(random_image, random_displacement, padding):
    image, field = random_image(SHAPE).requires_grad_(), random_displacement(SHAPE, length=2.3).requires_grad_()
    assert gradcheck(lambda m, u: fn.warp(m, u, padding=padding), (image, field))


def test_gradient_of_a_nearest_warp_goes_to_the_image(random_image, random_displacement):
    image, field = random_image(SHAPE).requires_grad_(), random_displacement(SHAPE)
    assert gradcheck(lambda m: fn.warp(m, field, mode="nearest"), (image,))


def test_gradient_of_warp_for_one_input_only(random_image, random_displacement):
    image, field = random_image(SHAPE), random_displacement(SHAPE)
    assert gradcheck(lambda m: fn.warp(m, field), (image.clone().requires_grad_(),))
    assert gradcheck(lambda u: fn.warp(image, u), (field.clone().requires_grad_(),))


def test_gradient_of_compose(random_displacement):
    first, second = random_displacement(SHAPE, 0).requires_grad_(), random_displacement(SHAPE, 1).requires_grad_()
    assert gradcheck(fn.compose, (first, second))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_gradient_of_integrate(random_displacement, steps):
    velocity = random_displacement((4, 3, 4), length=2.0).requires_grad_()
    assert gradcheck(lambda v: fn.integrate(v, steps), (velocity,))


@pytest.mark.parametrize("length", [0.5, 4.0])
def test_gradient_of_quick_integration(random_displacement, length):
    velocity = random_displacement((4, 3, 4), length=length).requires_grad_()
    assert gradcheck(fn.integrate_quickly, (velocity,))


def test_quick_integration_of_nothing_and_of_a_constant_is_exact():
    velocity = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    assert torch.equal(fn.integrate_quickly(velocity), velocity)
    velocity[:, 0], velocity[:, 2] = 2.5, -7.0
    torch.testing.assert_close(fn.integrate_quickly(velocity), velocity)


def test_gradient_is_the_same_with_and_without_recomputation(random_displacement):
    velocity = random_displacement(SHAPE, length=2.0).requires_grad_()
    current = velocity / 2**5
    for _ in range(5):
        current = fn.compose(current, current)
    weights = random_displacement(SHAPE, seed=3)
    (naive,) = torch.autograd.grad((current * weights).sum(), velocity)
    (lean,) = torch.autograd.grad((fn.integrate(velocity, 5) * weights).sum(), velocity)
    torch.testing.assert_close(lean, naive)


def test_integration_keeps_the_velocity_alone(random_displacement):
    velocity = random_displacement(SHAPE).requires_grad_()
    assert saved_tensors(fn.integrate, velocity, 7) == [tuple(velocity.shape)]


def test_warp_keeps_its_two_arguments_alone(random_image, random_displacement):
    image, field = random_image(SHAPE), random_displacement(SHAPE).requires_grad_()
    assert sorted(saved_tensors(fn.warp, image, field)) == sorted([tuple(image.shape), tuple(field.shape)])


def test_inverse_of_a_shift_and_its_residual():
    shift = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
    shift[:, 0] = 0.75
    inverse, residual = fn.invert(shift)
    torch.testing.assert_close(inverse, -shift)
    assert residual < 1e-9


def test_the_residual_of_an_inversion_is_that_of_the_returned_field(random_displacement):
    field = random_displacement((8, 8, 8), length=1.5)
    residuals = []
    for iterations in (0, 2, 50):
        inverse, residual = fn.invert(field, iterations)
        error = fn.compose(inverse, field).norm(dim=1)[0]
        points = torch.stack(torch.meshgrid(*[torch.arange(8.0)] * 3, indexing="ij")) + inverse[0]
        inside = ((points >= 0) & (points <= 7)).all(dim=0)
        assert residual == pytest.approx(float(error[inside].amax()), rel=1e-9)
        residuals.append(residual)
    assert residuals[0] > residuals[1] > 1e-3 > residuals[2]


def test_derivatives_of_a_linear_field():
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    image = (2 * axes[0] - 3 * axes[1] + 5 * axes[2]).view(1, 1, *SHAPE)
    slope = fn.gradient(image, (2.0, 1.0, 0.5))
    expected = torch.tensor([1.0, -3.0, 10.0], dtype=torch.float64).view(1, 3, 1, 1, 1).expand_as(slope)
    torch.testing.assert_close(slope, expected)


def test_derivative_along_an_axis_of_one_voxel_is_zero():
    image = torch.rand(1, 1, 4, 1, 3)
    assert not central_difference(image, 1).any()


def test_jacobian_of_an_affine_map():
    matrix = torch.tensor([[1.2, 0.1, 0.0], [-0.2, 0.9, 0.3], [0.05, 0.0, 1.1]], dtype=torch.float64)
    points = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in SHAPE), indexing="ij"))
    field = torch.einsum("ij,jxyz->ixyz", matrix - torch.eye(3, dtype=torch.float64), points)[None]
    full = jacobian(field)
    torch.testing.assert_close(full, matrix.view(1, 3, 3, 1, 1, 1).expand_as(full))
    determinant = fn.jacobian_determinant(field)
    torch.testing.assert_close(determinant, torch.linalg.det(matrix).expand_as(determinant))


def test_a_corner_samples_itself(random_image):
    image = random_image(SHAPE)
    points = torch.tensor([[0, 0, 0], [4, 3, 5], [2.0, 1.0, 3.0]])
    expected = torch.stack([image[0, :, 0, 0, 0], image[0, :, 4, 3, 5], image[0, :, 2, 1, 3]], dim=1)
    torch.testing.assert_close(fn.sample(image, points), expected)


def test_no_smoothing_is_no_change(random_image):
    image = random_image(SHAPE)
    assert torch.equal(fn.gaussian_smooth(image, (0.0, 0.0, 0.0)), image)
    assert fn.resize(image, SHAPE) is image


def test_the_logarithm_of_a_flow_is_its_velocity(random_displacement):
    velocity = random_displacement((28, 24, 20), seed=3, length=4.0, sigma=3.0)
    flow = fn.integrate(velocity)
    found, rest = fn.logarithm(flow)
    inner = (..., slice(4, -4), slice(4, -4), slice(4, -4))
    assert rest < 0.02
    assert (fn.integrate(found) - flow)[inner].norm(dim=1).mean() < 0.02 * flow[inner].norm(dim=1).mean()


def test_a_folded_displacement_has_the_nearest_logarithm_met(random_displacement):
    folded = random_displacement((20, 18, 16), seed=4, length=6.0, sigma=1.2)
    assert fn.jacobian_determinant(folded).min() < 0
    found, rest = fn.logarithm(folded)
    assert torch.isfinite(found).all()
    start = fn.compose(fn.integrate(-folded), folded).norm(dim=1).mean()
    assert 0 < rest < float(start)


def test_a_vector_jacobian_product_is_that_of_autograd():
    generator = torch.Generator().manual_seed(0)
    leaf, factor = torch.randn((2, 3, 4), generator=generator), torch.randn((3, 4), generator=generator)
    leaf.requires_grad_()
    (expected,) = torch.autograd.grad((leaf.sin() * leaf).prod(dim=0), leaf, factor)
    torch.testing.assert_close(fn.vector_jacobian_product((leaf.sin() * leaf).prod(dim=0), leaf, factor), expected)


def test_a_registration_loads_no_symbolic_algebra():
    code = (
        "import sys, torch\n"
        "from SPRCore.registration import register_instance\n"
        "from SPRCore.regularization import BetaPrior\n"
        "image, other = torch.rand(2, 1, 1, 14, 12, 10)\n"
        "register_instance(image, other, (1.0, 1.0, 1.0), BetaPrior())\n"
        "sys.exit('sympy' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0

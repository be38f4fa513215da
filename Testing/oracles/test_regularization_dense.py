"""The weighted Laplacian and the Newton system against dense matrices, the local gradient against NumPy loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from SPRCore.registration.newton import NewtonSystem, outer_product, symmetric_product
from SPRCore.regularization import (
    edge_weights,
    laplacian_diagonal,
    squared_gradient,
    weighted_diffusion,
    weighted_laplacian,
)

SHAPE, SPACING = (3, 4, 2), (1.0, 0.5, 2.5)
VOXELS = list(itertools.product(*(range(n) for n in SHAPE)))
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def dense_laplacian(weight):
    """D - A of the graph of six neighbors, an edge having the mean weight of its ends over the squared step."""
    index = {voxel: i for i, voxel in enumerate(VOXELS)}
    adjacency = np.zeros((len(VOXELS), len(VOXELS)))
    for voxel, axis in itertools.product(VOXELS, range(3)):
        neighbor = tuple(v + (i == axis) for i, v in enumerate(voxel))
        if neighbor in index:
            value = 0.5 * (weight[voxel] + weight[neighbor]) / SPACING[axis] ** 2
            adjacency[index[voxel], index[neighbor]] = adjacency[index[neighbor], index[voxel]] = value
    return np.diag(adjacency.sum(axis=1)) - adjacency


@pytest.fixture
def weight(random_image):
    return random_image(SHAPE, 4).abs() + 0.05


@pytest.fixture
def curvature():
    vectors = torch.as_tensor(np.random.default_rng(2).normal(size=(2, 1, 3, *SHAPE)))
    ones = torch.ones(1, 1, *SHAPE, dtype=torch.float64)
    return outer_product(vectors[0], ones) + outer_product(vectors[1], 0.5 * ones)


def dense_system(weight, curvature, damping):
    """The system of all components, those of one voxel kept together."""
    size = len(VOXELS)
    matrix = np.kron(dense_laplacian(weight[0, 0].numpy()), np.eye(3))
    for i, voxel in enumerate(VOXELS):
        block = np.zeros((3, 3))
        for value, (a, b) in zip(curvature[(0, slice(None), *voxel)].tolist(), PAIRS, strict=True):
            block[a, b] = block[b, a] = value
        matrix[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] += block + damping * np.eye(3)
    assert matrix.shape == (3 * size, 3 * size)
    return matrix


def flat(field):
    return field[0].permute(1, 2, 3, 0).reshape(-1).numpy()


def test_the_laplacian_is_degree_minus_adjacency(random_displacement, weight):
    field, matrix = random_displacement(SHAPE), dense_laplacian(weight[0, 0].numpy())
    edges = edge_weights(weight, SPACING)
    result = weighted_laplacian(field, edges)
    for component in range(3):
        np.testing.assert_allclose(
            result[0, component].flatten().numpy(), matrix @ field[0, component].flatten().numpy(), atol=1e-12
        )
    np.testing.assert_allclose(laplacian_diagonal(edges, SHAPE).flatten().numpy(), np.diag(matrix), atol=1e-12)


def test_the_squared_gradient_is_that_of_loops(random_displacement, weight):
    field = random_displacement(SHAPE)
    values, expected = field[0].numpy(), np.zeros(SHAPE)
    for voxel, axis, side in itertools.product(VOXELS, range(3), (-1, 1)):
        neighbor = tuple(v + side * (i == axis) for i, v in enumerate(voxel))
        if neighbor in VOXELS:
            step = (values[(slice(None), *voxel)] - values[(slice(None), *neighbor)]) / SPACING[axis]
            expected[voxel] += 0.5 * (step**2).sum() / 9
    np.testing.assert_allclose(squared_gradient(field, SPACING)[0, 0].numpy(), expected, atol=1e-12)
    diffusion = float(weighted_diffusion(field, weight, SPACING))
    assert diffusion == pytest.approx((weight[0, 0].numpy() * expected).mean(), rel=1e-12)


def test_the_system_is_that_of_the_dense_matrix(random_displacement, weight, curvature):
    field = random_displacement(SHAPE)
    system = NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.3)
    np.testing.assert_allclose(
        flat(system.apply(field)), dense_system(weight, curvature, 0.3) @ flat(field), atol=1e-12
    )


def test_the_preconditioner_inverts_the_diagonal_blocks(weight, curvature):
    system = NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.3)
    matrix = dense_system(weight, curvature, 0.3)
    for i, voxel in enumerate(VOXELS):
        inverse = np.linalg.inv(matrix[3 * i : 3 * i + 3, 3 * i : 3 * i + 3])
        expected = [inverse[a, b] for a, b in PAIRS]
        np.testing.assert_allclose(system.inverse_diagonal[(0, slice(None), *voxel)].numpy(), expected, rtol=1e-9)


def test_enough_iterations_solve_the_dense_system(random_displacement, weight, curvature):
    right = random_displacement(SHAPE, 7)
    system = NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.3)
    expected = np.linalg.solve(dense_system(weight, curvature, 0.3), flat(right))
    np.testing.assert_allclose(flat(system.solve(right, 200, tolerance=1e-12)), expected, rtol=1e-7, atol=1e-10)


def test_few_iterations_give_a_direction_of_descent(random_displacement, weight, curvature):
    right = random_displacement(SHAPE, 7)
    system = NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.3)
    gains = []
    for iterations in (1, 3, 8):
        update = system.solve(right, iterations, tolerance=0.0)
        assert (update * right).sum() > 0
        gains.append(float((update * right).sum() - 0.5 * (update * system.apply(update)).sum()))
    assert gains == sorted(gains)


def test_no_force_gives_no_update(weight, curvature):
    system = NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.0)
    assert not system.solve(torch.zeros(1, 3, *SHAPE, dtype=torch.float64), 5).any()


def test_the_system_leaves_its_curvature_alone(weight, curvature):
    before = curvature.clone()
    NewtonSystem.of(curvature, edge_weights(weight, SPACING), damping=0.3)
    assert torch.equal(curvature, before)


def test_outer_product_and_symmetric_product():
    vector = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1, 1)
    field = torch.tensor([0.5, 4.0, -1.0]).view(1, 3, 1, 1, 1)
    matrix = outer_product(vector, torch.full((1, 1, 1, 1, 1), 2.0))
    expected = 2.0 * vector * (vector * field).sum()
    torch.testing.assert_close(symmetric_product(matrix, field), expected)

"""Strategies that several laws draw from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st


def affine_of(angles, spacing, origin, mirrored, order):
    (a, b, c), matrix = angles, np.eye(4)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    directions = (about_z @ about_y @ about_x)[:, list(order)] * [-1 if mirrored else 1, 1, 1]
    matrix[:3, :3], matrix[:3, 3] = directions * spacing, origin
    return matrix


@pytest.fixture(scope="session")
def affines():
    """Affines of all orientations: oblique, mirrored (left-handed), anisotropic, far from the origin."""

    def three(low, high):
        return st.tuples(*(st.floats(low, high, allow_subnormal=False) for _ in range(3)))

    return st.builds(
        affine_of,
        angles=three(-np.pi, np.pi),
        spacing=three(0.3, 6.0),
        origin=three(-300.0, 300.0),
        mirrored=st.booleans(),
        order=st.permutations(range(3)),
    )


@pytest.fixture(scope="session")
def shapes():
    """Shapes of small volumes, axes of one voxel included."""
    return st.tuples(*(st.integers(1, 7) for _ in range(3)))

r"""Jump of a displacement across a surface, from its profile on the normals of the surface.

A registered displacement has no jump: resolution and regularization make it a transition over some voxels.
Two models are fitted to each component on the normal, at distances :math:`t` of up to `REACH` steps. The *jump
model* has two straight lines that part by :math:`J` at the surface, smoothed there:

.. math::

    u(t) = a + b t + J S(t/\tau) + c \tau \log(1 + e^{t/\tau}), \qquad S(x) = 1 / (1 + e^{-x})

with the :math:`\tau` of `WIDTHS` that fits best. The *smooth model* is a polynomial of degree 4: a strain, also one
that varies, is explained by it and counts as no jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from SPRCore.geometry import Field, ras_to_voxel, spacing_of
from SPRCore.geometry.mesh import Mesh
from SPRCore.metrics.landmarks import sample_displacement_mm

REACH = 10
"""Steps on each side of the surface: beyond the transition, which takes 3 to 5."""

WIDTHS = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8)
"""Scales of the transition in steps, from a sharp jump to what regularization leaves of one."""

LEAST_SIDE = 4
"""Fewer samples on a side, as in thin organs, determine no jump: it is NaN."""

MARGIN = 1.5
"""A jump counts where its squared residual is below this multiple of that of the smooth model."""

NOISE = 0.015
"""A jump counts where its squared residual, the mean of the samples, is below this part of the squared jump."""

NEIGHBORS, ROUNDS = 7, 60
"""Residuals and squared jumps are averaged over this many nearest points this often: some 8 voxels along the surface,
since noise varies within that distance and a slide does not."""

_CLEARANCE = 0.6  # of the distance along the normal: how far a sample must be from any other part of the surface
_DEGREE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Jump:
    """Jump of a displacement at the points of a surface, positive side minus negative side of the normal.

    Attributes:
        slide: Length of the tangential part in mm, shape (N,); NaN where it could not be measured.
        opening: Normal part in mm, shape (N,): above 0 the sides part from the fixed to the moving image, below 0 they
            overlap.
        smooth: Where the smooth model explains the displacement, shape (N,), so that both are 0.
    """

    slide: np.ndarray
    opening: np.ndarray
    smooth: np.ndarray


def displacement_jump(displacement: Field, surface: Mesh) -> Jump:
    """Measure the jump of a displacement across a surface.

    Args:
        displacement: Pull displacement in RAS mm.
        surface: Points with normals; those whose normal leaves the grid, or meets the surface again within fewer than
            `LEAST_SIDE` steps, are not measured. A step is `step_mm`.
    """
    profile, valid = _profiles(displacement, surface)
    jumps, residuals = _fits(profile, valid)
    measured = np.isfinite(residuals[:, 0])
    squared = np.square(jumps[measured]).sum(axis=2)
    evidence = _averaged(surface.points[measured], np.concatenate([residuals[measured], squared], axis=1))
    count = len(WIDTHS)
    best = evidence[:, :count].argmin(axis=1)[:, None]
    residual, size = (np.take_along_axis(part, best, axis=1)[:, 0] for part in (evidence, evidence[:, count + 1 :]))
    is_jump = (residual < MARGIN * evidence[:, count]) & (residual < NOISE * size)
    vectors, smooth = np.full(surface.points.shape, np.nan), np.zeros(len(measured), dtype=bool)
    vectors[measured] = np.take_along_axis(jumps[measured], best[..., None], axis=1)[:, 0] * is_jump[:, None]
    smooth[measured] = ~is_jump
    opening = (vectors * surface.normals).sum(axis=1)
    slide = np.linalg.norm(vectors - opening[:, None] * surface.normals, axis=1)
    return Jump(slide=slide, opening=opening, smooth=smooth)


def step_mm(normals: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Distance in mm of the samples along normals (N, 3): half a voxel of the velocity of the instance solver.

    Its voxels are twice as large as the finest axis of the image, or as large as the image's where these are larger.
    """
    spacing = np.array(spacing_of(affine))
    along = normals @ (affine[:3, :3] / spacing)
    return 0.5 * np.linalg.norm(along * np.maximum(spacing, 2.0 * spacing.min()), axis=-1)


def _profiles(displacement: Field, surface: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (N, 2 REACH + 1, 3) on the normals, and where they are on their own side of the surface."""
    from scipy.spatial import cKDTree

    steps = np.arange(-REACH, REACH + 1)
    step = step_mm(surface.normals, displacement.affine)
    points = surface.points[:, None] + (step[:, None] * steps)[..., None] * surface.normals[:, None]
    flat = points.reshape(-1, 3)
    values = sample_displacement_mm(displacement, flat).reshape(points.shape)
    index = ras_to_voxel(flat, displacement.affine)
    valid = ((index >= 0) & (index <= np.array(displacement.grid.shape) - 1)).all(axis=1).reshape(points.shape[:2])
    far = (steps % 3 == 0) & (steps != 0)  # neighbors differ little
    clearance = (_CLEARANCE * np.abs(steps[far]) * step[:, None]).ravel()
    tree = cKDTree(surface.points, balanced_tree=False)
    limits = {"distance_upper_bound": clearance.max() + 1e-6, "workers": torch.get_num_threads()}
    distance = tree.query(points[:, far].reshape(-1, 3), **limits)[0]
    valid[:, far] &= (distance >= clearance).reshape(len(valid), -1)
    valid[:, REACH:] = np.logical_and.accumulate(valid[:, REACH:], axis=1)
    valid[:, REACH::-1] = np.logical_and.accumulate(valid[:, REACH::-1], axis=1)
    return values, valid


def _fits(profiles: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Jumps (N, widths, 3) and mean squared residuals (N, widths + 1), the smooth model last; NaN if too short."""
    steps = np.arange(-REACH, REACH + 1.0)
    jumps = np.full((len(profiles), len(WIDTHS), 3), np.nan)
    residuals = np.full((len(profiles), len(WIDTHS) + 1), np.nan)
    powers = steps[:, None] ** np.arange(_DEGREE + 1)
    sides = np.stack([valid[:, :REACH].sum(axis=1), valid[:, REACH + 1 :].sum(axis=1)], axis=1)
    sides[~valid[:, REACH]] = 0
    for below, above in np.unique(sides[sides.min(axis=1) >= LEAST_SIDE], axis=0):
        pattern = (steps >= -below) & (steps <= above)
        members = np.flatnonzero((sides == (below, above)).all(axis=1))
        values = profiles[members][:, pattern].swapaxes(0, 1)
        values = values - values.mean(axis=0)  # both models have a constant: it would only cost digits
        for column, width in enumerate(WIDTHS):
            solved = _least_squares(_transition(steps, width)[pattern], values)
            jumps[members, column], residuals[members, column] = solved
        residuals[members, -1] = _least_squares(powers[pattern], values)[1]
        residuals[members] /= pattern.sum()
    return jumps, residuals


def _transition(steps: np.ndarray, width: float) -> np.ndarray:
    """Basis (K, 4) of the jump model, the jump first: two lines smoothed at the surface."""
    jump = 1.0 / (1.0 + np.exp(-steps / width))
    bend = width * np.logaddexp(0.0, steps / width)
    return np.stack([jump, np.ones_like(steps), steps, bend], axis=1)


def _least_squares(basis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First coefficient (N, 3) of the best fit to values (K, N, 3), and the squared residual (N,)."""
    flat = values.reshape(len(values), -1)
    q, r = np.linalg.qr(basis)
    projected = q.T @ flat
    rest = np.square(flat).sum(axis=0) - np.square(projected).sum(axis=0)
    first = np.linalg.inv(r)[0] @ projected
    return first.reshape(values.shape[1:]), np.maximum(rest.reshape(values.shape[1:]).sum(axis=1), 0.0)


def _averaged(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average values (N, C) along a surface over nearest neighbors, `ROUNDS` times."""
    from scipy.sparse import csr_matrix
    from scipy.spatial import cKDTree

    count = min(NEIGHBORS, len(points))
    if count < 2:
        return values
    nearest = cKDTree(points).query(points, k=count)[1]
    links = np.full(nearest.size, 1.0 / count)
    mean = csr_matrix((links, nearest.ravel(), np.arange(0, nearest.size + 1, count)), shape=2 * (len(points),))
    for _ in range(ROUNDS):
        values = mean @ values
    return values

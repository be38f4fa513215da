"""First-order change of a coarse solution with the setting, for previews without optimization."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.functional import warp
from SPRCore.live.preview_grid import PreviewGrid
from SPRCore.registration.level import displacement_on, image_curvature
from SPRCore.registration.newton import NewtonSystem
from SPRCore.registration.solver import FIRST_STRIDE
from SPRCore.regularization import Prior, edge_weights, weighted_laplacian
from SPRCore.regularization.diffusion import TERMS
from SPRCore.typing import Tensor, Vectors

_ITERATIONS = 6
"""Conjugate gradient iterations; doubling them changes less than the difference to a converged solution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tangent:
    r"""A solution v₀ at a setting, and the data curvature H there.

    At a solution the data force balances the regularizer, so a Gauss–Newton step between settings needs no data force:

    .. math:: (H + \kappa L_w)\,\delta = -(\kappa L_w v_0 - \kappa_1 L_{w_1} v_0)

    with weights w in closed form, index 1 for the first setting. It depends on the two settings only, so a slider that
    returns shows the same preview. Half of the step is taken, as in the first step of a level.

    Attributes:
        prior: The setting of the solution.
        position: Position of the setting.
        velocity_mm: v₀ on the preview grid.
        curvature: H, shape (1, 6, x, y, z).
        force: Force of the regularizer at v₀.
        is_rough: Whether v₀ has not converged.
    """

    prior: Prior
    position: np.ndarray
    velocity_mm: Vectors
    curvature: Tensor
    force: Vectors
    is_rough: bool

    @classmethod
    def of(
        cls, preview_grid: PreviewGrid, prior: Prior, position: np.ndarray, velocity_mm: Vectors, is_rough: bool
    ) -> Tangent:
        """Return the tangent at a solution on the preview grid; `is_rough` if it has not converged."""
        images = preview_grid.images.seen_from(velocity_mm)
        warped = warp(images.moving, displacement_on(images.level, velocity_mm, images.spacing))
        scale = 2.0 * images.fixed.compare(warped).curvature
        return cls(
            prior=prior,
            position=position,
            velocity_mm=velocity_mm,
            curvature=image_curvature(warped, scale, images.level.spacing),
            force=weighted_laplacian(velocity_mm, _edges(preview_grid, velocity_mm, prior)),
            is_rough=is_rough,
        )

    def response(self, preview_grid: PreviewGrid, before: Prior, prior: Prior) -> Vectors:
        """Return the change of the velocity between two settings, with the present stiffness, in mm."""
        edges = _edges(preview_grid, self.velocity_mm, prior)
        force = self.force
        if before != self.prior:
            force = weighted_laplacian(self.velocity_mm, _edges(preview_grid, self.velocity_mm, before))
        excess = weighted_laplacian(self.velocity_mm, edges).sub_(force)
        mean = float(self.curvature[:, [0, 3, 5]].mean())
        system = NewtonSystem.of(self.curvature, edges, preview_grid.settings.damping * max(mean, 1e-12))
        change = system.solve(-excess, _ITERATIONS)
        length = change.square().sum(dim=1, keepdim=True).sqrt_()
        longest = preview_grid.settings.longest_step_vox * min(preview_grid.images.grid.spacing)
        return change * (FIRST_STRIDE * longest / length.clamp(min=longest))


def _edges(preview_grid: PreviewGrid, velocity_mm: Tensor, prior: Prior) -> list[Tensor]:
    weight = preview_grid.closed_form(velocity_mm, prior) * (2.0 * prior.scale / TERMS)
    return edge_weights(weight, preview_grid.images.grid.spacing)

"""How a coarse solution changes with the setting, to first order: what a preview shows before anything is solved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SPRCore.functional import warp
from SPRCore.live.canvas import Canvas
from SPRCore.registration.level import displacement_on, image_curvature
from SPRCore.registration.newton import NewtonSystem
from SPRCore.registration.solver import FIRST_STRIDE
from SPRCore.regularization import Prior, edge_weights, weighted_laplacian
from SPRCore.regularization.diffusion import TERMS
from SPRCore.similarity import correlate
from SPRCore.typing import Tensor, Vectors

ITERATIONS = 6
"""Conjugate gradients of a response: twice as many change it by less than it differs from a converged solution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tangent:
    r"""A solution v₀ at a setting, and the data curvature H there.

    At a solution the data force balances the regularizer, so the Gauss–Newton step from one setting to another needs no
    force of the data:

    .. math:: (H + \kappa L_w)\,\delta = -(\kappa L_w v_0 - \kappa_1 L_{w_1} v_0)

    with weights w in closed form, index 1 for the setting to come from. It depends on nothing but the two settings, so
    that a slider moved to and fro shows the same. Half of it is taken, as of the first step of a level.

    Attributes:
        prior: The setting of the solution.
        place: Where that lies between the ends of the sliders.
        velocity_mm: v₀ on the canvas.
        curvature: H, shape (1, 6, x, y, z).
        force: The regularizer's force at v₀, which the data balance.
        is_rough: Whether v₀ is no converged solution.
    """

    prior: Prior
    place: np.ndarray
    velocity_mm: Vectors
    curvature: Tensor
    force: Vectors
    is_rough: bool

    @classmethod
    def of(cls, canvas: Canvas, prior: Prior, place: np.ndarray, velocity_mm: Vectors, is_rough: bool) -> Tangent:
        """Prepare for responses.

        Args:
            canvas: Where to compute.
            prior: The setting of the solution.
            place: Where that lies.
            velocity_mm: The solution.
            is_rough: Whether it is far from converged.

        Returns:
            The tangent.
        """
        images = canvas.images.seen_from(velocity_mm)
        warped = warp(images.moving, displacement_on(images.level, velocity_mm, images.spacing))
        scale = 2.0 * correlate(images.fixed, warped).curvature
        return cls(
            prior=prior,
            place=place,
            velocity_mm=velocity_mm,
            curvature=image_curvature(warped, scale, images.level.spacing),
            force=weighted_laplacian(velocity_mm, _edges(canvas, velocity_mm, prior)),
            is_rough=is_rough,
        )

    def response(self, canvas: Canvas, before: Prior, prior: Prior) -> Vectors:
        """Return how the velocity changes from one setting to another.

        Args:
            canvas: Where to compute; a stiffness painted since counts as part of the change.
            before: The setting to come from.
            prior: The setting to go to.

        Returns:
            Change of the velocity on the canvas, in mm.
        """
        edges = _edges(canvas, self.velocity_mm, prior)
        known = before == self.prior
        force = self.force if known else weighted_laplacian(self.velocity_mm, _edges(canvas, self.velocity_mm, before))
        excess = weighted_laplacian(self.velocity_mm, edges).sub_(force)
        mean = float(self.curvature[:, [0, 3, 5]].mean())
        system = NewtonSystem.of(self.curvature, edges, canvas.settings.damping * max(mean, 1e-12))
        change = system.solve(-excess, ITERATIONS)
        length = change.square().sum(dim=1, keepdim=True).sqrt_()
        longest = canvas.settings.longest_step_vox * min(canvas.images.grid.spacing)
        return change * (FIRST_STRIDE * longest / length.clamp(min=longest))


def _edges(canvas: Canvas, velocity_mm: Tensor, prior: Prior) -> list[Tensor]:
    weight = canvas.closed_form(velocity_mm, prior) * (2.0 * prior.scale / TERMS)
    return edge_weights(weight, canvas.images.grid.spacing)

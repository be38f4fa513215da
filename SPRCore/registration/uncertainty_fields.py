"""The uncertainty of a registered pair in the world."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from SPRCore.functional import step_ratio
from SPRCore.geometry import Field, Grid, Volume, on_host
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import Pausing
from SPRCore.registration.result import DeformationFields
from SPRCore.registration.uncertainty import UncertaintyConfig, displacement_uncertainty, on_shape
from SPRCore.regularization import Prior
from SPRCore.typing import Affine, Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class UncertaintyFields:
    """Uncertainty of the displacement of a pair, the affine pre-alignment included, on a coarse grid.

    Attributes:
        deviation: One standard deviation of the displacement, the root mean square length of its error, in mm.
        samples: Samples of the error, in mm along RAS.
        residual: Mean residual of the images, 1 minus the similarity: the noise that was measured.
    """

    deviation: Volume
    samples: tuple[Field, ...]
    residual: float

    def on(self, grid: Grid) -> Volume:
        """Return the standard deviation on the fixed grid, interpolated linearly."""
        return Volume(on_host(on_shape(self.deviation.to_tensor(), grid.shape)[0, 0]), grid.affine)


def uncertainty_fields(
    problem: InstanceProblem,
    found: DeformationFields,
    velocity_mm: Vectors,
    *,
    prior: Prior,
    affine_ras: Affine | None = None,
    config: UncertaintyConfig | None = None,
) -> Pausing[UncertaintyFields]:
    """Estimate the uncertainty of the deformation of a pair, of the instance solver or of a network.

    Args:
        problem: The pair, prepared for the solver.
        found: The deformation.
        velocity_mm: Its velocity, see ``start_mm``.
        prior: Prior on the weight.
        affine_ras: Affine pre-alignment, pull map from fixed to moving world points, shape (4, 4); None for none.
        config: Settings; the defaults if None.
    """
    fixed = found.displacement.grid
    displacement_vox = found.displacement.to_tensor_vox().to(velocity_mm)
    weight = found.weight.to_tensor().to(velocity_mm)
    result = yield from displacement_uncertainty(
        problem.levels[-1], velocity_mm, displacement_vox, weight, prior, config
    )
    linear = fixed.affine[:3, :3] / np.asarray(fixed.spacing)  # axes of the grid to RAS
    if affine_ras is not None:
        linear = affine_ras[:3, :3] @ linear
    turned = torch.einsum("ij,sjxyz->sixyz", torch.from_numpy(linear).to(result.samples_mm), result.samples_mm)
    result, shape = replace(result, samples_mm=turned), tuple(turned.shape[2:])
    factors = [step_ratio(wide, narrow) for wide, narrow in zip(fixed.shape, shape, strict=True)]
    affine = fixed.affine @ np.diag([*factors, 1.0])  # the first voxels coincide
    return UncertaintyFields(
        deviation=Volume(on_host(result.deviation_mm[0, 0]), affine),
        samples=tuple(Field(on_host(sample), affine) for sample in turned.movedim(1, -1)),
        residual=result.residual,
    )

"""Quality measures of previews and results."""

from __future__ import annotations

import dataclasses

import numpy as np

from SPRCore.functional import jacobian_determinant, warp
from SPRCore.geometry import Field
from SPRCore.live.parts import DeformationQuality
from SPRCore.metrics.jacobian import determinant_map, folding_of
from SPRCore.registration.level import LevelImages
from SPRCore.typing import Scalars, Tensor, Vectors


def coarse_quality(
    images: LevelImages, displacement_vox: Vectors, total: Field, determinant: Tensor, weight_gap: float
) -> DeformationQuality:
    """Measure a preview.

    Args:
        images: Images on the preview grid.
        displacement_vox: Displacement on it, without pre-alignment.
        total: Displacement with pre-alignment, in mm.
        determinant: Jacobian determinant of the displacement, from `inner_determinant`.
        weight_gap: Mean absolute difference of the weight from its closed form.
    """
    return DeformationQuality(
        folding_percent=100.0 * float((determinant <= 0).float().mean()),
        min_jacobian=float(determinant.min()),
        max_displacement_mm=max_length_mm(total),
        similarity=_similarity_of(images, displacement_vox),
        weight_gap=weight_gap,
    )


def full_quality(coarse: DeformationQuality, total: Field) -> DeformationQuality:
    """Replace folding and smallest Jacobian of a preview grid by those of the total displacement on the fixed grid."""
    determinants = determinant_map(total)
    return dataclasses.replace(coarse, folding_percent=folding_of(determinants), min_jacobian=float(determinants.min()))


def _similarity_of(images: LevelImages, displacement_vox: Vectors) -> float:
    """Mean similarity on the preview grid."""
    images = images.seen_at(displacement_vox)
    found = images.fixed.compare(warp(images.moving, displacement_vox), derivatives=False)
    return float(found.values.sum()) / images.fixed.total


def inner_determinant(displacement_vox: Vectors) -> Scalars:
    """Jacobian determinant of a displacement without the boundary voxels."""
    determinant = jacobian_determinant(displacement_vox)
    return determinant[..., 1:-1, 1:-1, 1:-1] if min(determinant.shape[2:]) > 2 else determinant


def max_length_mm(field: Field) -> float:
    """Length of the longest vector of a field, in mm."""
    return float(np.sqrt(np.einsum("xyzc,xyzc->xyz", field.array, field.array).max()))

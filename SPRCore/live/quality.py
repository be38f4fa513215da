"""How good a deformation is, from what a preview has at hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from SPRCore.functional import jacobian_determinant, warp
from SPRCore.geometry import Field
from SPRCore.live.reply import Quality
from SPRCore.metrics.jacobian import determinant_map, folding_of
from SPRCore.registration.level import LevelImages
from SPRCore.similarity import correlate
from SPRCore.typing import Scalars, Tensor, Vectors


def coarse_quality(
    images: LevelImages, displacement_vox: Vectors, total: Field, determinant: Tensor, weight_gap: float
) -> Quality:
    """Measure a preview.

    Args:
        images: Images on the grid of the previews.
        displacement_vox: Displacement there, without the alignment as a whole.
        total: The same with it, in mm.
        determinant: Jacobian determinant of the displacement, from `inner_determinant`.
        weight_gap: Mean distance of the weight from its closed form.

    Returns:
        The quality.
    """
    return Quality(
        folding_percent=100.0 * float((determinant <= 0).float().mean()),
        min_jacobian=float(determinant.min()),
        max_displacement_mm=longest_mm(total),
        lncc=similarity_of(images, displacement_vox),
        weight_gap=weight_gap,
    )


def full_quality(coarse: Quality, total: Field) -> Quality:
    """Measure the regularity of a result anew on its own grid; its similarity stays that on the grid of the previews.

    Args:
        coarse: What was measured on the grid of the previews.
        total: The displacement on the fixed grid, alignment included.

    Returns:
        The quality.
    """
    determinants = determinant_map(total)
    return dataclasses.replace(coarse, folding_percent=folding_of(determinants), min_jacobian=float(determinants.min()))


def similarity_of(images: LevelImages, displacement_vox: Vectors) -> float:
    """Mean squared local correlation on the grid of the previews."""
    images = images.seen_at(displacement_vox)
    squared = correlate(images.fixed, warp(images.moving, displacement_vox), derivatives=False).squared
    return float(squared.sum()) / images.fixed.total


def inner_determinant(displacement_vox: Vectors) -> Scalars:
    """Jacobian determinant of a displacement, the outermost voxels left out."""
    determinant = jacobian_determinant(displacement_vox)
    return determinant[..., 1:-1, 1:-1, 1:-1] if min(determinant.shape[2:]) > 2 else determinant


def longest_mm(field: Field) -> float:
    """Length of the longest vector of a field, in mm."""
    return float(np.sqrt(np.einsum("xyzc,xyzc->xyz", field.array, field.array).max()))

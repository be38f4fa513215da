"""Volumes, fields and grids in RAS millimeters, and resampling between grids."""

from __future__ import annotations

from SPRCore.geometry.annotations import Annotations
from SPRCore.geometry.intensities import intensity_fence, percentiles, robust_extremes, within_extremes
from SPRCore.geometry.masked import MaskedVolume, fill
from SPRCore.geometry.resampling import affine_field, compose_affine, resample, resample_displacement
from SPRCore.geometry.shear import is_sheared, orthogonal, orthogonal_grid
from SPRCore.geometry.units import (
    affine_from_itk,
    affine_to_itk,
    displacement_mm_to_vox,
    displacement_vox_to_mm,
    flip_lps_ras,
    flip_map_lps_ras,
    ras_to_voxel,
    spacing_of,
    transform_points,
    voxel_to_ras,
)
from SPRCore.geometry.volume import Field, Grid, Volume, on_host

__all__ = [
    "Annotations",
    "Field",
    "Grid",
    "MaskedVolume",
    "Volume",
    "affine_field",
    "affine_from_itk",
    "affine_to_itk",
    "compose_affine",
    "displacement_mm_to_vox",
    "displacement_vox_to_mm",
    "fill",
    "flip_lps_ras",
    "flip_map_lps_ras",
    "intensity_fence",
    "is_sheared",
    "on_host",
    "orthogonal",
    "orthogonal_grid",
    "percentiles",
    "ras_to_voxel",
    "resample",
    "resample_displacement",
    "robust_extremes",
    "spacing_of",
    "transform_points",
    "voxel_to_ras",
    "within_extremes",
]

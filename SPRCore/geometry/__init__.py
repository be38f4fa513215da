"""Volumes, fields and grids in RAS millimeters, and the way from one grid to another."""

from __future__ import annotations

from SPRCore.geometry.checks import check_image
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
    "Field",
    "Grid",
    "Volume",
    "affine_field",
    "affine_from_itk",
    "affine_to_itk",
    "check_image",
    "compose_affine",
    "displacement_mm_to_vox",
    "displacement_vox_to_mm",
    "flip_lps_ras",
    "flip_map_lps_ras",
    "is_sheared",
    "on_host",
    "orthogonal",
    "orthogonal_grid",
    "ras_to_voxel",
    "resample",
    "resample_displacement",
    "spacing_of",
    "transform_points",
    "voxel_to_ras",
]

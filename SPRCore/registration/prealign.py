"""Alignment of two volumes as a whole before they are deformed: centers, rigid or affine, in world space."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, Volume
from SPRCore.geometry.units import affine_to_itk, flip_lps_ras, flip_map_lps_ras, ras_to_voxel, voxel_to_ras

if TYPE_CHECKING:
    import SimpleITK as sitk

logger = logging.getLogger("SPRCore")

Init = Literal["auto", "none", "center", "rigid", "affine"]
MODES: tuple[str, ...] = ("auto", "none", "center", "rigid", "affine")
WORKING_VOXELS = 48**3
"""Volumes are reduced to about this many voxels: enough for twelve parameters, seconds instead of minutes."""


@dataclass(frozen=True, kw_only=True)
class PreAlignment:
    """Outcome of the alignment as a whole.

    Attributes:
        affine_ras: Pull map from fixed to moving world points, shape (4, 4), RAS mm; None where nothing was to be done.
        mode: What was done: ``none``, ``center``, ``rigid`` or ``affine``.
        reason: Why, in words.
    """

    affine_ras: np.ndarray | None
    mode: str
    reason: str


def prealign(fixed: Volume, moving: Volume, mode: Init = "auto") -> PreAlignment:
    """Align two volumes as a whole.

    ``auto`` leaves volumes alone that share a grid and whose centers of mass agree (a follow-up, two phases, a prepared
    cohort), and otherwise takes an affine alignment from the centers, since nothing is known about their places.

    Args:
        fixed: Fixed volume.
        moving: Moving volume, on any grid.
        mode: ``none`` trusts the headers; ``center`` brings the centers of mass together; ``rigid`` and ``affine``
            maximise mutual information from there (6 or 12 parameters); ``auto`` decides.

    Returns:
        The map and what was done.

    Raises:
        InputError: Unknown mode, or ``none`` where the volumes do not overlap in the world.
    """
    if mode not in MODES:
        raise InputError("init", got=repr(mode), expected=" | ".join(MODES))
    overlap = overlap_fraction(fixed.grid, moving.grid)
    if mode == "none":
        if overlap == 0.0:
            raise InputError(
                "fixed and moving volume",
                got="no overlap in the world by their headers",
                expected="overlapping volumes",
                remedy="align them first with --init center, rigid, affine or auto",
            )
        return PreAlignment(affine_ras=None, mode="none", reason="asked for")
    if mode == "auto":
        mode, reason = _decide(fixed, moving, overlap)
        if mode == "none":
            return PreAlignment(affine_ras=None, mode=mode, reason=reason)
    else:
        reason = "asked for"
    logger.info("aligning as a whole: %s (%s)", mode, reason)
    if mode == "center":
        matrix = np.eye(4)
        matrix[:3, 3] = center_of_mass_mm(moving) - center_of_mass_mm(fixed)
        return PreAlignment(affine_ras=matrix, mode=mode, reason=reason)
    return PreAlignment(affine_ras=_optimise(fixed, moving, mode), mode=mode, reason=reason)


def overlap_fraction(fixed: Grid, moving: Grid) -> float:
    """Return the part of the fixed grid, sampled coarsely, that lies inside the moving grid.

    Args:
        fixed: Fixed grid.
        moving: Moving grid.

    Returns:
        Fraction in [0, 1].
    """
    lines = [np.linspace(0, size - 1, min(size, 16)) for size in fixed.shape]
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    index = ras_to_voxel(voxel_to_ras(points, fixed.affine), moving.affine)
    return float(((index >= -0.5) & (index <= np.array(moving.shape) - 0.5)).all(axis=1).mean())


def center_of_mass_mm(volume: Volume) -> np.ndarray:
    """Return the center of mass of the intensities above the darkest, in RAS mm, shape (3,).

    Args:
        volume: Volume.

    Returns:
        The center; the middle of the grid for a volume of one value.
    """
    array = volume.array.astype(np.float64)
    mass = array - array.min()
    total = mass.sum()
    if total == 0.0:
        return voxel_to_ras((np.array(volume.shape) - 1) / 2.0, volume.affine)
    sums = [mass.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    index = np.array([(line * np.arange(line.size)).sum() / total for line in sums])
    return voxel_to_ras(index, volume.affine)


def _decide(fixed: Volume, moving: Volume, overlap: float) -> tuple[str, str]:
    apart_mm = float(np.linalg.norm(center_of_mass_mm(moving) - center_of_mass_mm(fixed)))
    extent_mm = float(np.median(np.array(fixed.shape) * fixed.spacing))
    if fixed.grid.matches(moving.grid) and apart_mm <= 0.1 * extent_mm:
        return "none", f"same grid, centers of mass {apart_mm:.1f} mm apart"
    return "affine", f"different grids or places (overlap {100 * overlap:.0f} %, centers {apart_mm:.1f} mm apart)"


def _optimise(fixed: Volume, moving: Volume, mode: str) -> np.ndarray:
    import SimpleITK as sitk

    fixed_image, moving_image = _reduced(fixed), _reduced(moving)
    start = sitk.AffineTransform(3) if mode == "affine" else sitk.Euler3DTransform()
    start.SetCenter(flip_lps_ras(center_of_mass_mm(fixed)).tolist())
    offset = center_of_mass_mm(moving) - center_of_mass_mm(fixed)
    start.SetTranslation(flip_lps_ras(offset).tolist())
    if mode == "affine":  # a rigid start keeps the shears from answering for a rotation
        rigid = _run(fixed_image, moving_image, _rigid_from(start))
        start.SetMatrix(rigid.GetMatrix())
        start.SetTranslation(rigid.GetTranslation())
    return _matrix_ras(_run(fixed_image, moving_image, start))


def _rigid_from(start: sitk.Transform) -> sitk.Transform:
    import SimpleITK as sitk

    rigid = sitk.Euler3DTransform()
    rigid.SetCenter(start.GetCenter())
    rigid.SetTranslation(start.GetTranslation())
    return rigid


def _run(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> sitk.Transform:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=150, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        raise InputError(
            "pre-alignment",
            got="volumes that leave each other's field of view",
            expected="volumes of the same body region",
            remedy="try --init center, or align them by hand first",
        ) from error
    return start


def _reduced(volume: Volume) -> sitk.Image:
    import SimpleITK as sitk

    array = volume.array.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    spacing, origin, direction = affine_to_itk(volume.affine)
    image.SetSpacing(spacing), image.SetOrigin(origin), image.SetDirection(direction)
    step = (np.prod(np.array(volume.shape) * spacing) / WORKING_VOXELS) ** (1 / 3)
    factors = [max(1, round(step / s)) for s in spacing]
    return sitk.BinShrink(image, factors)


def _matrix_ras(transform: sitk.Transform) -> np.ndarray:
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    center, translation = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = translation + center - linear @ center
    return flip_map_lps_ras(matrix)

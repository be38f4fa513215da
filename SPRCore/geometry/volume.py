"""Images and displacement fields with their position in the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.geometry.foreign import of_itk, of_nibabel
from SPRCore.geometry.units import displacement_mm_to_vox, spacing_of, voxel_to_ras
from SPRCore.typing import Affine, Scalars, Tensor, Vectors


@dataclass(frozen=True, eq=False)
class Grid:
    """The number of voxels along each axis, and their affine.

    Args:
        shape: Number of voxels along X, Y and Z, each at least 1.
        affine: Voxel index to RAS millimeters, shape (4, 4); copied to float64 and made read-only.

    Raises:
        InputError: The shape is not three positive numbers, or the affine is not a finite, invertible (4, 4) matrix
            with the last row 0 0 0 1.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _checked_shape(self.shape, "grid"))
        object.__setattr__(self, "affine", _checked_affine(self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighboring voxels along X, Y, Z."""
        return spacing_of(self.affine)

    def matches(self, other: Grid, tolerance_mm: float = 1e-3) -> bool:
        """Return whether both grids have the same shape and corners no farther apart than `tolerance_mm`.

        The default allows for the float32 headers of NIfTI.
        """
        if self.shape != other.shape:
            return False
        corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(self.shape) - 1)
        apart_mm = np.linalg.norm(voxel_to_ras(corners, self.affine) - voxel_to_ras(corners, other.affine), axis=-1)
        return bool(apart_mm.max() <= tolerance_mm)


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image or label map with its position in the world.

    Args:
        array: Intensities or labels, shape (X, Y, Z), boolean, integer or real; copied only if its byte order is not
            the native one.
        affine: Voxel index to RAS millimeters, shape (4, 4); copied to float64 and made read-only.

    Raises:
        InputError: The array is not 3-D, is empty or not real-valued, or the affine is unusable (see `Grid`).
    """

    array: np.ndarray = field(repr=False)
    affine: np.ndarray

    def __post_init__(self) -> None:
        array = _plain_array(self.array, "volume")
        if array.dtype.kind not in "biuf":
            raise InputError("volume", got=f"values of type {array.dtype}", expected="one real number per voxel")
        _checked_shape(array.shape, "volume")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine", _checked_affine(self.affine))

    @classmethod
    def from_array(
        cls, array: np.ndarray, spacing: Sequence[float], origin: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Volume:
        """Build a volume (X, Y, Z) with spacing and first voxel center in mm, whose axes point right, forward and up.

        Raises:
            InputError: As the class, or spacing and origin are not three finite numbers each, spacing above 0.
        """
        affine = np.diag([*_three(spacing, "spacing"), 1.0])
        affine[:3, 3] = _three(origin, "origin")
        return cls(array, affine)

    @classmethod
    def from_nibabel(cls, image: Any) -> Volume:
        """Build a volume from an image of nibabel (`InputError` if it is not 3-D with one real number per voxel)."""
        return cls(*of_nibabel(image))

    @classmethod
    def from_itk(cls, image: Any) -> Volume:
        """Build a volume from an image of SimpleITK (`InputError` if it is not 3-D with one number per voxel)."""
        return cls(*of_itk(image))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along X, Y, Z."""
        return self.array.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between neighboring voxels along X, Y, Z."""
        return spacing_of(self.affine)

    @property
    def grid(self) -> Grid:
        """The grid without the values."""
        return Grid(self.shape, self.affine)

    def with_array(self, array: np.ndarray) -> Volume:
        """Return a volume with other values, shape (X, Y, Z), and the same affine."""
        return Volume(array, self.affine)

    def to_tensor(self) -> Scalars:
        """Return the values as a new float32 tensor of shape (1, 1, X, Y, Z) on the CPU."""
        return torch.from_numpy(np.array(self.array, dtype=np.float32, order="C"))[None, None]


@dataclass(frozen=True, eq=False)
class Field:
    """A displacement field: `warped(p) = moving(p + u(p))` for every point p of the fixed grid.

    Args:
        array: Displacement u in RAS millimeters, shape (X, Y, Z, 3); converted to float32, not copied if it is already.
        affine: Voxel index of the fixed grid to RAS millimeters, shape (4, 4); copied to float64 and made read-only.

    Raises:
        InputError: The array is not (X, Y, Z, 3), or the affine is unusable (see `Grid`).
    """

    array: np.ndarray = field(repr=False)
    affine: np.ndarray

    def __post_init__(self) -> None:
        array = _plain_array(self.array, "displacement field")
        if array.ndim != 4 or array.shape[3] != 3 or array.dtype.kind not in "iuf":
            got = f"an array of shape {array.shape} and type {array.dtype}"
            raise InputError("displacement field", got=got, expected="real numbers of shape (X, Y, Z, 3)")
        _checked_shape(array.shape[:3], "displacement field")
        object.__setattr__(self, "array", array.astype(np.float32, copy=False))
        object.__setattr__(self, "affine", _checked_affine(self.affine))

    @property
    def grid(self) -> Grid:
        """The grid on which the displacement is given."""
        return Grid(self.array.shape[:3], self.affine)

    def to_tensor_vox(self) -> Vectors:
        """Return the displacement in voxels, in axis order, as a new float32 tensor of shape (1, 3, X, Y, Z)."""
        displacement_vox = displacement_mm_to_vox(self.array, self.affine)
        return torch.from_numpy(displacement_vox).movedim(-1, 0)[None].contiguous()

    @classmethod
    def from_tensor_vox(cls, displacement_vox: Vectors, affine: Affine) -> Field:
        """Build a field in RAS mm from a displacement (1, 3, X, Y, Z) in voxels along the axes of a grid."""
        field = displacement_vox.detach()[0].float()
        to_mm = torch.tensor(np.asarray(affine)[:3, :3].T, dtype=field.dtype, device=field.device)
        in_mm = field.reshape(3, -1).T @ to_mm  # on the device of the field
        return cls(on_host(in_mm.view(*field.shape[1:], 3)), affine)


def on_host(tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor as an array, which shares the memory of a tensor on the CPU.

    From a GPU they are copied through page-locked memory, which is several times as fast.
    """
    if tensor.device.type != "cuda":
        return tensor.detach().cpu().numpy()
    locked = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return locked.copy_(tensor.detach()).numpy()


def _plain_array(values: Any, what: str) -> np.ndarray:
    """Return values as an array of native byte order; masked arrays are refused."""
    if np.ma.is_masked(values):
        remedy = "fill masked values: array.filled(value)"
        raise InputError(what, got="a masked array", expected="a value for every voxel", remedy=remedy)
    try:
        array = on_host(values) if isinstance(values, torch.Tensor) else np.asarray(values)
    except (TypeError, ValueError) as error:
        got = f"a {type(values).__name__} that makes no array"
        raise InputError(what, got=got, expected="one real number per voxel") from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _numbers(values: Any, what: str) -> np.ndarray:
    """Return numbers as a new float64 array."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(what, got=f"a {type(values).__name__} without numbers", expected="finite numbers") from None


def _three(values: Any, what: str) -> np.ndarray:
    numbers = _numbers(values, what)
    if numbers.shape != (3,) or not np.isfinite(numbers).all() or (what == "spacing" and numbers.min() <= 0):
        raise InputError(what, got=str(numbers.tolist()), expected="three numbers in mm, of a spacing above 0")
    return numbers


def _checked_shape(shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    shape = tuple(int(size) for size in shape)
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(what, got=f"shape {shape}", expected="three axes of at least one voxel")
    return shape


def _checked_affine(affine: np.ndarray) -> np.ndarray:
    matrix = _numbers(affine, "affine")
    remedy = "correct the spacing and orientation of the image in the program that wrote it"
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        got = f"shape {matrix.shape}" if matrix.shape != (4, 4) else f"{matrix.tolist()}"
        raise InputError("affine", got=got, expected="4 x 4 finite numbers, last row 0 0 0 1", remedy=remedy)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    # Unit columns, so that a fine or an anisotropic spacing is not taken for a degenerate one.
    if spacing.min() < 1e-9 or abs(np.linalg.det(matrix[:3, :3] / spacing)) < 1e-4:
        got = f"spacing {spacing.tolist()} mm" if spacing.min() < 1e-9 else f"axes {matrix[:3, :3].tolist()}"
        raise InputError("affine", got=got, expected="three independent axes with spacing above 0", remedy=remedy)
    matrix.flags.writeable = False
    return matrix

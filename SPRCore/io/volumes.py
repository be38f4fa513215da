"""Reading and writing images and label maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, is_sheared, orthogonal
from SPRCore.io import dicom, itk, nifti
from SPRCore.io.dicom import DicomSeries
from SPRCore.io.itk import ItkFile
from SPRCore.io.nifti import NiftiFile
from SPRCore.io.paths import check_exists, named, on_disk, pick_frame, split_frame, warn
from SPRCore.typing import Affine

_ROUNDING = 1e-3  # slopes of NIfTI and resampling leave 1e-7 to 1e-4; a label that was interpolated is far off


def read_volume(path: str | Path) -> Volume:
    """Read a 3-D image.

    Args:
        path: A NIfTI, Analyze or FreeSurfer file, a folder with a DICOM series or a DICOM file, or an NRRD, MetaImage
            or other file that SimpleITK reads. `PATH#3` is frame 3, counted from 0, of an image that holds several.
            Axes of length 1 behind the third are dropped.

    Returns:
        The image in RAS mm, as in ITK and 3D Slicer. Integers keep their type; real numbers, and integers with a
        scale, become float32. A sheared grid is resampled to right angles with a warning (`geometry.orthogonal`).

    Raises:
        InputError: The file is missing, unreadable or damaged, not 3-D, of several frames none of which is named,
            empty, not one real number per voxel, has an unusable spacing or orientation, or a DICOM series is not one
            image.
    """
    volume = _read(as_path(path))
    return volume if volume.array.dtype.kind != "f" else volume.with_array(volume.array.astype(np.float32, copy=False))


def read_labels(path: str | Path) -> Volume:
    """Read a 3-D label map from a path as for `read_volume`.

    Returns:
        The labels in RAS mm, of an integer type: the file's own, or int32 (int64 if needed) for integers that were
        stored as real numbers, such as with a slope; they count as whole up to a thousandth.

    Raises:
        InputError: As for `read_volume`, or a value is not a whole number.
    """
    return whole(_read(as_path(path), labels=True), str(path))


def whole(volume: Volume, what: str) -> Volume:
    """Return a label map with whole numbers in an integer type; `what` is its name for messages.

    Booleans become uint8; real numbers that are whole up to a thousandth become int32 (int64 if needed).

    Raises:
        InputError: A value is not a whole number.
    """
    if volume.array.dtype.kind in "iu":
        return volume
    if volume.array.dtype.kind == "b":
        return volume.with_array(volume.array.astype(np.uint8))
    rounded = np.rint(volume.array)
    with np.errstate(invalid="ignore"):  # infinity
        is_whole = (np.abs(volume.array - rounded) <= _ROUNDING) & (np.abs(rounded) < 2.0**53)
    wrong = volume.array[~is_whole]
    if wrong.size:
        # Shortest representation of its type, so that a small fraction is visible.
        got = f"{wrong.size} of {volume.array.size} values that are not whole numbers, such as {wrong[0]!s}"
        raise InputError(what, got=got, expected="a label map", remedy="give the segmentation, not an image")
    return volume.with_array(_compact(rounded.astype(np.int64)))


def write_volume(volume: Volume, path: str | Path, *, note: str = "") -> None:
    """Write an image or a label map atomically.

    Args:
        volume: The volume. Types that the formats lack are converted: booleans to uint8, float16 to float32; 64-bit
            integers, which few programs read, to int32 where their values allow it.
        path: File to write: `.nii`, `.nii.gz`, `.nrrd`, `.mha` or `.mhd`; missing folders are created.
        note: Text for the header, up to 79 ASCII characters.

    Raises:
        InputError: The suffix is none of these, or the grid is sheared (`geometry.orthogonal` makes it upright).
        OutputError: The file could not be written.
    """
    if not isinstance(volume, Volume):
        raise InputError("volume", got=f"a {type(volume).__name__}", expected="a Volume, such as Volume(array, affine)")
    path = as_path(path)
    check_suffix(path)
    check_upright(volume.affine, path)
    write = nifti.write_nifti if nifti.is_nifti(path) else itk.write_itk
    write(_storable(volume.array), volume.affine, path, note=note)


def note_of(path: Path) -> str:
    """Return the note in the header of an image that `write_volume` wrote; "" for one without."""
    return nifti.read_note(path) if nifti.is_nifti(path) else itk.read_note(path)


def as_path(path: str | Path) -> Path:
    """Return a path (`InputError` if it is not one)."""
    if not isinstance(path, (str, Path)) or not str(path) or "\0" in str(path):
        got = repr(path) if isinstance(path, str) else f"a {type(path).__name__}"
        raise InputError("path", got=got, expected="the path of a file or folder")
    return Path(path)


def check_suffix(path: Path) -> None:
    """Refuse a file name without the suffix of a writable format (`InputError`)."""
    suffixes = (*nifti.SUFFIXES, *itk.SUFFIXES)
    if not path.name.lower().endswith(suffixes):
        raise InputError(str(path), got=f"suffix {path.suffix!r}", expected=" or ".join(suffixes))


def check_upright(affine: Affine, path: Path) -> None:
    """Refuse to write a sheared grid, which ITK and 3D Slicer cannot open (`InputError`)."""
    if is_sheared(affine):
        raise InputError(
            str(path),
            got="a grid whose axes are not at right angles",
            expected="one that ITK and 3D Slicer can open",
            remedy="resample it first with SPRCore.geometry.orthogonal",
        )


def count_frames(path: str | Path) -> int:
    """Count the 3-D images in a file or a DICOM folder, by its headers alone.

    `read_volume(f"{path}#{frame}")` reads a frame, counted from 0, if there are several.

    Raises:
        InputError: The file is missing, damaged or not an image.
    """
    check_exists(path)
    shape = _open(on_disk(path)).shape
    return shape[3] if len(shape) == 4 else 1


def _open(source_path: Path, *, labels: bool = False) -> ItkFile | NiftiFile | DicomSeries:
    if not (source_path.is_dir() or source_path.is_file()):
        raise InputError(str(source_path), got="neither a file nor a folder", expected="an image")
    if source_path.is_dir() or dicom.is_dicom(source_path):
        return dicom.open_dicom(source_path, labels=labels)
    return nifti.open_nifti(source_path) if nifti.is_nifti(source_path) else itk.open_itk(source_path)


def _read(path: Path, *, labels: bool = False) -> Volume:
    check_exists(path)
    source_path, frame = split_frame(path)
    source = _open(source_path, labels=labels)
    array, affine = source.read(pick_frame(source_path, frame, source.shape))
    if array.ndim != 3:
        raise InputError(
            str(source_path),
            got=f"{array.shape[-1]} values per voxel, shape {array.shape}",
            expected="a 3-D image with one value per voxel",
            remedy="give an image without colors or vectors",
        )
    with named(path):
        return upright(Volume(array, affine), path, labels=labels)


def upright(volume: Volume, what: str | Path, *, labels: bool = False) -> Volume:
    """Resample a volume on a sheared grid to right angles, with a warning, see `geometry.orthogonal`.

    Args:
        volume: Image or label map.
        what: Its path, or a name for messages.
        labels: Take the nearest voxel and keep the type.
    """
    if not is_sheared(volume.affine):
        return volume
    volume = orthogonal(volume, labels=labels)
    warn(
        what,
        "has axes that are not at right angles (a tilted gantry or a sheared header); it is resampled to "
        f"{' x '.join(map(str, volume.shape))} voxels at right angles, which ITK and 3D Slicer can show, "
        "without data outside its old field of view",
    )
    return volume


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array if array.dtype.itemsize in (4, 8) else array.astype(np.float32)
    return _compact(array) if array.dtype.itemsize == 8 else array


def _compact(array: np.ndarray) -> np.ndarray:
    limits = np.iinfo(np.int32)
    fits = limits.min <= array.min() and array.max() <= limits.max
    return array.astype(np.int32) if fits else array

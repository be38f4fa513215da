"""NIfTI files, through nibabel."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.io.atomic import atomic_path
from SPRCore.typing import Affine

logger = logging.getLogger("SPRCore")

SUFFIXES = (".nii", ".nii.gz")

_SCANNER = 1  # NIfTI's code for "coordinates of the scanner": the one on which nibabel and ITK agree
_DAMAGED = (OSError, EOFError, ValueError, OverflowError, MemoryError, zlib.error)


def is_nifti(path: Path) -> bool:
    """Tell by its name whether a file is NIfTI."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path) -> tuple[np.ndarray, Affine, int]:
    """Read the values of a NIfTI file, scaled by its slope and intercept.

    The affine is the sform if there is one, else the qform. A file with neither is placed as ITK and 3D Slicer do:
    first voxel at the origin, axes to the left, posterior and superior.

    Args:
        path: An existing `.nii` or `.nii.gz` file.

    Returns:
        Values in the file's own shape, C order and native byte order; affine to RAS mm (4, 4); intent code.

    Raises:
        InputError: The file is not NIfTI, is damaged or cut short, or has an axis without spacing.
    """
    import nibabel
    from nibabel.imageglobals import LoggingOutputSuppressor

    try:
        with LoggingOutputSuppressor():
            image = nibabel.load(path)
            with nibabel.openers.ImageOpener(path) as stream:  # nibabel.load mends what must be refused
                stored = type(image.header).from_fileobj(stream, check=False)
            array = np.array(np.asarray(image.dataobj), order="C")  # off the memory map of the file
    except (*_DAMAGED, nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            str(path),
            got=f"a file that cannot be read ({reason})",
            expected="a complete NIfTI image",
            remedy="copy or export the file again",
        ) from error
    affine = _affine_of(image, stored, path)
    return array.astype(array.dtype.newbyteorder("="), copy=False), affine, int(stored["intent_code"])


def write_nifti(array: np.ndarray, affine: Affine, path: Path, intent: int = 0, note: str = "") -> None:
    """Write values to a NIfTI file whose sform and qform both hold the affine.

    Args:
        array: Values of shape (X, Y, Z, ...), of a type that NIfTI has.
        affine: Voxel to RAS mm, shape (4, 4).
        path: The file, `.nii` or `.nii.gz`.
        intent: NIfTI's code for what the values mean; 0 says nothing.
        note: Words for the description of the header, up to 79 ASCII characters.

    Raises:
        OutputError: The file could not be written.
    """
    import nibabel

    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    image.set_sform(affine, _SCANNER)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-5):  # a quaternion cannot hold shear
        image.set_qform(affine, _SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["intent_code"], image.header["descrip"] = intent, note
    # Not nibabel.save, which leaves its file open when the disk is full and so complains once more at a later time.
    with atomic_path(path) as partial, nibabel.openers.ImageOpener(partial, "wb") as stream:
        image.to_stream(stream)


def read_note(path: Path) -> str:
    """Return the description in the header of a NIfTI file; raises whatever nibabel does for another file."""
    import nibabel

    return nibabel.load(path).header["descrip"].item().decode("utf-8", errors="replace")


def _affine_of(image: object, stored: object, path: Path) -> Affine:
    has_sform, has_qform = bool(stored["sform_code"]), bool(stored["qform_code"])
    zooms = np.abs(stored["pixdim"][1:4].astype(np.float64))
    if not has_sform and not zooms.all():
        raise InputError(
            str(path), got=f"spacing {zooms.tolist()} mm", expected="spacing above 0", remedy="set the spacing right"
        )
    if not (has_sform or has_qform):
        logger.warning("%s has no orientation; its axes are taken as left, posterior, superior, as ITK does", path)
        return np.diag([-zooms[0], -zooms[1], zooms[2], 1.0])
    if has_sform and has_qform and not np.allclose(image.get_sform(), image.get_qform(), atol=0.1):
        logger.warning("%s has two different orientations; its sform is used, other programs may use its qform", path)
    return image.affine

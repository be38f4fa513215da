"""NIfTI files and their relatives (Analyze, FreeSurfer), through nibabel; their geometry as in ITK."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.io.atomic import atomic_path
from SPRCore.io.nifti_geometry import affine_of
from SPRCore.io.paths import named, reason_of, warn
from SPRCore.typing import Affine

SUFFIXES = (".nii", ".nii.gz")
"""Suffixes of the files that `write_nifti` writes."""
_PAIRS = (".hdr", ".img", ".hdr.gz", ".img.gz")
_FREESURFER = (".mgh", ".mgz")

_SCANNER = 1  # NIfTI's code for "coordinates of the scanner": the one on which nibabel and ITK agree
_GZIP = b"\x1f\x8b"
_LONGEST = 540  # bytes of a header: that of NIfTI-2
_MOST_PACKED = 1032  # bytes that gzip can compress to one
_LEVEL = 1  # of gzip: fields of real numbers shrink by a tenth at any level


def is_nifti(path: Path) -> bool:
    """Whether the name of a file is one of NIfTI, Analyze or FreeSurfer, which nibabel reads."""
    return path.name.lower().endswith((*SUFFIXES, *_PAIRS, *_FREESURFER))


@dataclass(frozen=True)
class NiftiFile:
    """The header of a file, and access to its values.

    Args:
        path: The file.
        shape: Number of voxels along each axis, axes of length 1 behind the third dropped; the fourth counts frames.
        affine: Voxel to RAS mm, shape (4, 4); perhaps sheared.
        intent: NIfTI's intent code.
        scaling: Slope and intercept of the stored values.
        proxy: The stored values, read when indexed.
        notes: Warnings about its geometry, logged when values are read.
    """

    path: Path
    shape: tuple[int, ...]
    affine: Affine
    intent: int
    scaling: tuple[float, float]
    proxy: Any = field(repr=False)
    notes: tuple[str, ...] = ()

    def read(self, frame: int = 0) -> tuple[np.ndarray, Affine]:
        """Read one frame: values of shape (X, Y, Z), and the affine to RAS mm (4, 4).

        Raises:
            InputError: The file is damaged, or not 3-D apart from its frames.
        """
        if len(self.shape) not in (3, 4):
            what = f"a {len(self.shape)}-D image of shape {self.shape}"
            raise InputError(str(self.path), got=what, expected="a 3-D image with one value per voxel")
        return self.values(frame if len(self.shape) == 4 else None), self.affine

    def values(self, frame: int | None = None) -> np.ndarray:
        """Read all values or those of one frame, scaled, in C order and native byte order.

        Raises:
            InputError: The file is damaged or cut short.
        """
        warn(self.path, *self.notes)
        with _readable(self.path):
            with _unpacking(self.proxy) as proxy:
                part = proxy if frame is None else proxy[(*[slice(None)] * 3, frame)]
                array = np.array(np.asarray(part), order="C")  # off the memory map of the file
            array = array.reshape(self.shape if frame is None else self.shape[:3])
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        slope, intercept = self.scaling
        if (slope, intercept) == (1.0, 0.0) or array.dtype.kind not in "biuf":
            return array
        array = array.astype(np.float64)
        array *= slope
        array += intercept
        return array


def open_nifti(path: Path) -> NiftiFile:
    """Read the header of an existing file with a name of `is_nifti`; of a pair either the header or the image.

    Raises:
        InputError: The file is not of this kind, is damaged, or has an axis without spacing.
    """
    import nibabel

    with _readable(path):
        if path.name.lower().endswith(_FREESURFER):
            with nibabel.openers.ImageOpener(path) as stream:
                header = nibabel.freesurfer.mghformat.MGHHeader.from_fileobj(stream)
            proxy = nibabel.arrayproxy.ArrayProxy(str(path), header)
            _check_claim(path, proxy)
            return NiftiFile(path, _trimmed(proxy.shape), header.get_affine(), 0, (1.0, 0.0), proxy)
        head, values = _parts(path)
        stored, mended = _headers(_start_of(head), is_pair=head != values)
        shape = mended.get_data_shape()
        spec = (shape, mended.get_data_dtype(), mended.get_data_offset(), 1.0, 0.0)
        proxy = nibabel.arrayproxy.ArrayProxy(_openable(values), spec)
        _check_claim(values, proxy)
    with named(path), np.errstate(all="ignore"):  # non-finite values are checked below
        affine, notes = affine_of(stored, lambda: _by_itk(path))
    intent = int(stored["intent_code"]) if "intent_code" in stored.keys() else 0
    return NiftiFile(path, _trimmed(shape), affine, intent, _scaling(stored), proxy, tuple(notes))


def write_nifti(array: np.ndarray, affine: Affine, path: Path, intent: int = 0, note: str = "") -> None:
    """Write values to a NIfTI file whose sform and qform both hold the affine.

    Args:
        array: Values of shape (X, Y, Z, ...), of a type that NIfTI has.
        affine: Voxel to RAS mm, shape (4, 4).
        path: The file, `.nii` or `.nii.gz`.
        intent: NIfTI's intent code; 0 for none.
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
    with atomic_path(path) as partial, _writing(partial) as stream:
        image.to_stream(stream)


@contextmanager
def _writing(path: Path) -> Iterator[Any]:
    """Open a file for writing, compressed if its name says so; equal values give equal bytes."""
    with path.open("wb") as file:
        if not path.name.lower().endswith(".gz"):
            yield file
            return
        from isal import igzip

        with igzip.IGzipFile("", "wb", _LEVEL, file, 0) as stream:  # neither a name nor a time in its header
            yield stream


@contextmanager
def _unpacking(proxy: Any) -> Iterator[Any]:
    """Yield the values of a compressed file, several times as fast as nibabel."""
    name = proxy.file_like
    if not (isinstance(name, str) and name.lower().endswith((".gz", ".mgz"))):
        yield proxy
        return
    from isal import igzip

    with igzip.open(name, "rb") as stream:
        yield type(proxy)(stream, (proxy.shape, proxy.dtype, proxy.offset, 1.0, 0.0))


def read_note(path: Path) -> str:
    """Return the description in the header of a NIfTI file; errors of nibabel are raised."""
    import nibabel

    return nibabel.load(path).header["descrip"].item().decode("utf-8", errors="replace")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert errors of nibabel about a damaged file to `InputError`, and suppress its log messages."""
    import nibabel

    logger = nibabel.imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        with np.errstate(all="ignore"):  # sizes that overflow are found out by the length of the file
            yield
    except InputError:
        raise
    except Exception as error:  # damaged bytes make nibabel raise whatever they lead to
        raise InputError(
            str(path),
            got=f"a file that cannot be read ({reason_of(error)})",
            expected="a complete image of the format that its name says",
            remedy="copy or export the file again",
        ) from error
    finally:
        logger.disabled = before


def _parts(path: Path) -> tuple[Path, Path]:
    """The files of header and values: two for a pair, the same for all others."""
    import nibabel

    if not path.name.lower().endswith(_PAIRS):
        return path, path
    files = nibabel.Nifti1Pair.filespec_to_file_map(str(path))
    pair = Path(files["header"].filename), Path(files["image"].filename)
    for part in pair:
        if not part.is_file():
            raise InputError(str(path), got=f"no {part.name} beside it", expected="both files of a pair")
    return pair


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _start_of(path: Path) -> bytes:
    packed = _is_packed(path)
    if packed and not path.name.lower().endswith(".gz"):
        remedy = f"rename it to {path.name}.gz, or unpack it"
        got = "gzip data under a name without .gz"
        raise InputError(str(path), got=got, expected="what the name says", remedy=remedy)
    with gzip.open(path) if packed else path.open("rb") as stream:
        return stream.read(_LONGEST)


def _openable(path: Path) -> str | io.BytesIO:
    """Input for nibabel: the name of the file, or its content if it is not compressed in spite of its name."""
    misnamed = path.name.lower().endswith(".gz") and not _is_packed(path)
    return io.BytesIO(path.read_bytes()) if misnamed else str(path)


def _check_claim(path: Path, proxy: Any) -> None:
    """Refuse a compressed file that is too small for the size in its header, before memory is allocated."""
    claimed = math.prod(int(size) for size in proxy.shape) * proxy.dtype.itemsize
    if claimed > _MOST_PACKED * path.stat().st_size and path.name.lower().endswith((".gz", ".mgz")):
        raise ValueError(f"its header asks for {claimed} bytes, more than it can hold")


def _headers(start: bytes, *, is_pair: bool) -> tuple[Any, Any]:
    """The header as stored, and as corrected by nibabel, which refuses what it cannot correct."""
    import nibabel

    if len(start) < 348:
        raise ValueError(f"{len(start)} bytes, less than a header")
    second = start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # 540, the length of its header
    if is_pair and not second and start[344:347] not in (b"ni1", b"n+1"):
        kind = nibabel.AnalyzeHeader
    elif is_pair:
        kind = nibabel.nifti2.Nifti2PairHeader if second else nibabel.nifti1.Nifti1PairHeader
    else:
        kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    block = start[: kind.template_dtype.itemsize]
    return kind(block, check=False), kind(block, check=True)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(int(size) for size in shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _scaling(header: Any) -> tuple[float, float]:
    """Slope and intercept by ITK's rules: a slope of 0 is 1, NaN counts as absent."""
    if "scl_slope" not in header.keys():
        return 1.0, 0.0
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope):
        return 1.0, 0.0
    return slope or 1.0, intercept if np.isfinite(intercept) else 0.0


def _by_itk(path: Path) -> Affine | None:
    from SPRCore.io.itk import affine_by_itk

    return affine_by_itk(path)

"""NIfTI files byte by byte: nibabel itself would mend or refuse what the tests want to write."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import numpy as np
from table import refused

from SPRCore.io import read_volume

SHAPE = (4, 5, 6)
IMAGE = np.arange(120, dtype=np.int16).reshape(SHAPE) + 7
SFORM = np.array([[0, -2.0, 0, 10], [3.0, 0, 0, 20], [0, 0, 4.0, 30]])
"""A turn by 90 degrees with spacing 3 x 2 x 4 mm."""
SHEARED = np.array([[3.0, 0.8, 0, 10], [0, 2.0, 0, 20], [0, 0, 4.0, 30]])


def header(values=IMAGE, *, order="<", sform=SFORM, sform_code=1, qform_code=0, quaternion=(0, 0, 0), **fields):
    """A NIfTI-1 header; `pixdim` is that of `SFORM` unless given, any field can be given by its name."""
    import nibabel

    result = np.zeros((), nibabel.Nifti1Header.template_dtype.newbyteorder(order))
    blank = nibabel.Nifti1Header()
    blank.set_data_dtype(values.dtype)
    result["sizeof_hdr"], result["magic"], result["vox_offset"] = 348, b"n+1", 352
    result["dim"] = values.ndim, *values.shape, *[1] * (7 - values.ndim)
    result["datatype"], result["bitpix"] = int(blank["datatype"]), int(blank["bitpix"])
    result["pixdim"] = 1, 3, 2, 4, 1, 1, 1, 1
    result["xyzt_units"], result["scl_slope"] = 2, 1
    for name, row in zip(("srow_x", "srow_y", "srow_z"), sform, strict=True):
        result[name] = row
    result["sform_code"], result["qform_code"] = sform_code, qform_code
    result["quatern_b"], result["quatern_c"], result["quatern_d"] = quaternion
    result["qoffset_x"], result["qoffset_y"], result["qoffset_z"] = 1, 2, 3
    for name, value in fields.items():
        result[name] = value
    return result


def write(path: Path, values=IMAGE, *, packed=None, order="<", **fields) -> Path:
    """Write a file, packed if its name says so or `packed` does; a pair beside a name that ends in .hdr or .img."""
    content = np.asarray(values).astype(values.dtype.newbyteorder(order)).tobytes(order="F")
    plain = path.name.removesuffix(".gz")
    is_pair = plain.endswith((".hdr", ".img"))
    fields = ({"magic": b"ni1", "vox_offset": 0} if is_pair else {}) | fields
    head = header(values, order=order, **fields).tobytes()
    packed = path.name.endswith(".gz") if packed is None else packed
    pack = gzip.compress if packed else bytes
    if is_pair:
        for suffix, part in ((".hdr", head), (".img", content)):
            path.with_name(plain[:-4] + suffix + (".gz" if packed else "")).write_bytes(pack(part))
    else:
        path.write_bytes(pack(head + bytes(4) + content))
    return path


def check_refused(folder: Path, *said: str, name="x.nii", **fields) -> None:
    path = write(folder / name, **fields)
    refused(lambda: read_volume(path), str(path), *said)


def wrong(*said: str, **fields):
    return partial(lambda folder, **given: check_refused(folder, *said, **given), **fields)

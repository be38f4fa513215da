"""NIfTI files: damage."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import numpy as np
from table import Row, refused

from SPRCore.geometry import Volume
from SPRCore.io import read_volume, write_volume

IMAGE = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
DAMAGE = "NIfTI: damage"


def check_bytes(name: str, content: bytes, said: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    refused(lambda: read_volume(path), str(path), said)


def check_cut(name: str, folder: Path) -> None:
    path = folder / name
    write_volume(Volume(IMAGE, np.eye(4)), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(lambda: read_volume(path), str(path), "cannot be read")


ROWS = [
    Row(DAMAGE, "a file of no bytes", "refused", partial(check_bytes, "x.nii.gz", b"", "cannot be read")),
    Row(DAMAGE, "text named `.nii`", "refused", partial(check_bytes, "x.nii", b"hello", "cannot be read")),
    Row(DAMAGE, "gzip of nothing", "refused", partial(check_bytes, "x.nii.gz", gzip.compress(b""), "cannot be read")),
    Row(DAMAGE, "a `.nii` of which the second half is missing", "refused", partial(check_cut, "x.nii")),
    Row(DAMAGE, "a `.nii.gz` of which the second half is missing", "refused", partial(check_cut, "x.nii.gz")),
]

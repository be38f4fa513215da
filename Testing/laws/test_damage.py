"""Whatever bytes of a file are changed, cut or lost: it is read, or refused in one line, and nothing else happens."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from SPRCore.errors import SPRError
from SPRCore.geometry import Volume
from SPRCore.io import read_volume, write_volume

pytest.importorskip("pydicom")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inputs"))

from dicom_files import enhanced, save, straight, write_slices
from nifti_files import write

PLANES = np.random.default_rng(0).integers(0, 1000, (5, 4, 5)).astype(np.int16)


def made(kind, folder):
    """The path that is read, and the file of it that is damaged."""
    if kind in (".nii", ".nii.gz"):
        path = write(folder / f"x{kind}")
        return path, path
    if kind == ".hdr":
        return write(folder / "x.img"), folder / "x.hdr"
    if kind in (".nrrd", ".mha"):
        write_volume(Volume(PLANES, np.eye(4)), folder / f"x{kind}")
        return folder / f"x{kind}", folder / f"x{kind}"
    if kind == "enhanced":
        path = save(enhanced(PLANES, straight(5)), folder / "x.dcm")
        return path, path
    write_slices(folder / "s", PLANES, straight(5))
    return folder / "s", folder / "s" / "002.dcm"


def damaged(content, kind, place, values):
    content, start = bytearray(content), int(place * min(len(content), 2500))
    if kind == "changed":
        content[start : start + len(values)] = values
    elif kind == "cut":
        del content[start:]
    else:
        del content[start : start + len(values)]
    return bytes(content)


@settings(max_examples=150)
@given(
    kind=st.sampled_from([".nii", ".nii.gz", ".hdr", ".nrrd", ".mha", "slices", "enhanced"]),
    how=st.sampled_from(["changed", "changed", "lost", "cut"]),
    place=st.floats(0, 1, exclude_max=True),
    values=st.binary(min_size=1, max_size=8),
)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, how, place, values):
    with tempfile.TemporaryDirectory() as name:
        path, file = made(kind, Path(name))
        file.write_bytes(damaged(file.read_bytes(), how, place, values))
        try:
            volume = read_volume(path)
        except SPRError as error:
            message = str(error)
        else:
            event("read")
            assert volume.array.ndim == 3
            return
    event("refused")
    assert name in message, "the file is named"
    message = message.replace(name, "")  # a random name, which may well hold "0x"
    assert not [part for part in ("\n", "0x", "ERROR", ".cxx", ".hxx", "Traceback") if part in message], message

"""Any header of NRRD or MetaImage: voxels lie where ITK puts them; a sheared grid becomes the upright one over it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal, voxel_to_ras
from SPRCore.io import count_frames, read_volume, write_volume

sitk = pytest.importorskip("SimpleITK")

NRRD_TYPES = {"u1": "uint8", "i1": "int8", "u2": "ushort", "i2": "short", "i4": "int", "f4": "float", "f8": "double"}
META_TYPES = {"u1": "UCHAR", "i1": "CHAR", "u2": "USHORT", "i2": "SHORT", "i4": "INT", "f4": "FLOAT", "f8": "DOUBLE"}

HEADERS = st.fixed_dictionaries(
    {
        "shape": st.tuples(*(st.integers(2, 5) for _ in range(3))),
        "frames": st.sampled_from([1, 1, 2]),
        "dtype": st.sampled_from(sorted(NRRD_TYPES)),
        "order": st.sampled_from("<>"),
        "space": st.sampled_from(["left-posterior-superior", "right-anterior-superior", "left-anterior-superior"]),
        "spacing": st.tuples(*(st.floats(0.3, 5) for _ in range(3))),
        "shear": st.sampled_from([0, 0, 0.2, -0.5]),
        "mirrored": st.booleans(),
        "seed": st.integers(0, 2**32 - 1),
    }
)


def content_of(drawn):
    """Columns of the directions with their spacing, origin and values (X, Y, Z, frames) of a case."""
    random = np.random.default_rng(drawn["seed"])
    turn = Rotation.random(random_state=int(random.integers(2**31))).as_matrix()
    turn = turn * [-1 if drawn["mirrored"] else 1, 1, 1]
    axes = turn @ np.array([[1, drawn["shear"], 0], [0, 1, 0], [0, drawn["shear"], 1]])
    axes = axes / np.linalg.norm(axes, axis=0) * drawn["spacing"]
    shape = (*drawn["shape"], drawn["frames"])
    if drawn["dtype"][0] == "f":
        values = random.normal(size=shape)
    else:
        limits = np.iinfo(drawn["dtype"])
        values = random.integers(limits.min, limits.max, shape, drawn["dtype"], endpoint=True)
    return axes, random.uniform(-200, 200, 3), values.astype(drawn["order"] + drawn["dtype"])


def words(numbers):
    return ",".join(f"{number:.17g}" for number in numbers)


def write_nrrd(path, drawn):
    axes, origin, values = content_of(drawn)
    many = drawn["frames"] > 1
    lines = [
        "NRRD0004",
        f"type: {NRRD_TYPES[drawn['dtype']]}",
        f"dimension: {4 if many else 3}",
        f"space: {drawn['space']}",
        f"sizes: {' '.join(map(str, values.shape[: 4 if many else 3]))}",
        f"space directions: {' '.join(f'({words(axis)})' for axis in axes.T)}{' none' if many else ''}",
        f"kinds: domain domain domain{' list' if many else ''}",
        f"endian: {'little' if drawn['order'] == '<' else 'big'}",
        "encoding: raw",
        f"space origin: ({words(origin)})",
    ]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + values.tobytes(order="F"))
    return values


def write_meta(path, drawn):
    axes, origin, values = content_of({**drawn, "frames": 1})
    spacing = np.linalg.norm(axes, axis=0)
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        f"BinaryDataByteOrderMSB = {drawn['order'] == '>'}",
        f"TransformMatrix = {words((axes / spacing).T.ravel()).replace(',', ' ')}",
        f"Offset = {words(origin).replace(',', ' ')}",
        f"ElementSpacing = {words(spacing).replace(',', ' ')}",
        f"DimSize = {' '.join(map(str, values.shape[:3]))}",
        f"ElementType = MET_{META_TYPES[drawn['dtype']]}",
        "ElementDataFile = LOCAL",
    ]
    path.write_bytes("\n".join([*lines, ""]).encode() + values.tobytes(order="F"))
    return values


@settings(max_examples=60)
@given(drawn=HEADERS, suffix=st.sampled_from([".nrrd", ".mha"]))
def test_place_and_values(drawn, suffix):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"image{suffix}"
        values = write_nrrd(path, drawn) if suffix == ".nrrd" else write_meta(path, drawn)
        frames = values.shape[3]
        assert count_frames(path) == frames
        image = sitk.ReadImage(str(path))
        affine = affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        true = Volume(values[..., frames - 1].astype(values.dtype.newbyteorder("=")), affine)
        ours = read_volume(f"{path}#{frames - 1}" if frames > 1 else path)
        assert is_sheared(affine) == bool(drawn["shear"])
        expected = orthogonal(true)
        assert ours.shape == expected.shape
        corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(ours.shape) - 1)
        np.testing.assert_allclose(
            voxel_to_ras(corners, ours.affine), voxel_to_ras(corners, expected.affine), atol=1e-5
        )
        np.testing.assert_allclose(ours.array, expected.array.astype(ours.array.dtype), rtol=1e-6)
        write_volume(ours, Path(name) / "out.nii.gz")
        again = sitk.ReadImage(str(Path(name) / "out.nii.gz"))
        assert again.GetSize() == ours.shape, "whatever is read can be written so that ITK opens it"

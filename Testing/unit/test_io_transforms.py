"""Affine transforms in ITK's files."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import flip_lps_ras, transform_points
from SPRCore.io import read_affine_tfm, write_affine_tfm

sitk = pytest.importorskip("SimpleITK")


def test_the_file_is_itk_s_text_in_lps(tmp_path):
    matrix = np.array([[1, 2, 3, 10], [4, 5, 6, 20], [7, 8, 10, 30], [0, 0, 0, 1.0]])
    write_affine_tfm(matrix, tmp_path / "affine.tfm")
    assert (tmp_path / "affine.tfm").read_text().splitlines() == [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        "Parameters: 1.0 2.0 -3.0 4.0 5.0 -6.0 -7.0 -8.0 10.0 -10.0 -20.0 30.0",
        "FixedParameters: 0 0 0",
    ]


def chain():
    transform = sitk.CompositeTransform(3)
    transform.AddTransform(sitk.TranslationTransform(3, (1, 2, 3)))
    transform.AddTransform(sitk.Euler3DTransform((10, 20, 30), 0.1, 0.2, 0.3, (1, 2, 3)))
    return transform


@pytest.mark.parametrize(
    "transform",
    [
        sitk.TranslationTransform(3, (1, 2, 3)),
        sitk.Euler3DTransform((10, 20, 30), 0.1, 0.2, 0.3, (1, 2, 3)),
        sitk.Similarity3DTransform(1.2, (0, 0, 1), 0.4, (1, 2, 3), (4, 5, 6)),
        sitk.AffineTransform([1, 0.1, 0, 0.2, 1, 0, 0, 0, 0.9], (1, 2, 3), (4, 5, 6)),
        chain(),
    ],
    ids=lambda transform: transform.GetName(),
)
@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5"])
def test_every_linear_transform_is_read(tmp_path, transform, suffix):
    sitk.WriteTransform(transform, tmp_path / f"linear{suffix}")
    matrix = read_affine_tfm(tmp_path / f"linear{suffix}")
    point = np.array([11.0, -7.0, 5.0])
    theirs = flip_lps_ras(np.array(transform.TransformPoint(flip_lps_ras(point).tolist())))
    np.testing.assert_allclose(transform_points(point, matrix), theirs, atol=1e-9)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"hello", "cannot be read"),
        (b"", "cannot be read"),
        (
            b"#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n",
            "ends within a transform",
        ),
        (
            b"#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: 1 0",
            "ends within",
        ),
    ],
)
def test_what_is_no_transform_is_refused_in_one_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / "affine.tfm").write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_affine_tfm(tmp_path / "affine.tfm")
    assert not any(part in str(caught.value) for part in ("\n", "0x", "ERROR", ".cxx"))


def test_a_folder_is_no_transform(tmp_path):
    (tmp_path / "affine.tfm").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_affine_tfm(tmp_path / "affine.tfm")


@pytest.mark.parametrize("transform", [sitk.AffineTransform(2), sitk.BSplineTransform(3)], ids=lambda t: t.GetName())
def test_what_is_no_linear_map_of_space_is_refused(tmp_path, transform):
    sitk.WriteTransform(transform, tmp_path / "other.tfm")
    with pytest.raises(InputError, match="linear 3-D transform"):
        read_affine_tfm(tmp_path / "other.tfm")

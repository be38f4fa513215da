"""NIfTI, Analyze and FreeSurfer files: geometry."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from nifti_files import IMAGE, SFORM, SHEARED, write, wrong
from table import Row, refused, warned

from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal
from SPRCore.io import read_labels, read_volume, write_volume

GEOMETRY = "NIfTI: geometry"
WITH_NAN = np.array([[0, -2.0, 0, 10], [np.nan, 0, 0, 20], [0, 0, 4.0, 30]])
TURNED = (0.0, 0.0, np.sin(np.radians(12.5)))  # 25 degrees about z
NO_FORM = {"sform_code": 0, "qform_code": 0}


def itk_affine(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ReadImage(str(path))
    sitk.ProcessObject.SetGlobalWarningDisplay(before)
    return affine_from_itk(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def check_as_itk(folder: Path, *said: str, name="x.nii", **fields) -> None:
    """Read where SimpleITK puts it, with these warnings, and not where a plain sform would."""
    path = write(folder / name, **fields)
    with warned(*said):
        volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-5, rtol=1e-6)
    np.testing.assert_array_equal(volume.array, IMAGE)


def as_itk(*said: str, **fields):
    return partial(lambda folder, **given: check_as_itk(folder, *said, **given), **fields)


def check_sheared(folder: Path) -> None:
    path = write(folder / "x.nii", sform=SHEARED)
    with warned("not at right angles"):
        volume = read_volume(path)
    assert not is_sheared(volume.affine)
    itk_affine_of_output(volume, folder)
    expected = orthogonal(Volume(IMAGE, np.vstack([SHEARED, [0, 0, 0, 1]])))
    np.testing.assert_allclose(volume.array, expected.array, atol=1e-3)
    assert volume.array.min() == IMAGE.min(), "what lies outside holds the lowest value"


def itk_affine_of_output(volume: Volume, folder: Path) -> None:
    write_volume(volume, folder / "out.nii.gz")
    np.testing.assert_allclose(itk_affine(folder / "out.nii.gz"), volume.affine, atol=1e-4)


def check_sheared_labels(folder: Path) -> None:
    path = write(folder / "x.nii", IMAGE % 3, sform=SHEARED)
    with warned("not at right angles"):
        labels = read_labels(path)
    assert set(np.unique(labels.array)) == {0, 1, 2}
    assert labels.array.dtype == np.int16


def check_refused_sheared_output(folder: Path) -> None:
    volume = Volume(IMAGE, np.vstack([SHEARED, [0, 0, 0, 1]]))
    refused(lambda: write_volume(volume, folder / "x.nii.gz"), "not at right angles", "geometry.orthogonal")
    assert not list(folder.iterdir())


def check_pair(folder: Path) -> None:
    fields = {"sform_code": 2, "qform_code": 1, "quaternion": TURNED}
    single, pair = write(folder / "a.nii", **fields), write(folder / "b.img", **fields)
    with warned("qform is used", "qform is used", "qform is used"):
        first, *others = (read_volume(path) for path in (single, pair, folder / "b.hdr"))
    for other in others:
        np.testing.assert_array_equal(first.affine, other.affine)
        np.testing.assert_array_equal(first.array, other.array)


def check_analyze(folder: Path) -> None:
    path = write(folder / "x.img", magic=b"\0\0\0", **NO_FORM)
    with warned("no orientation"):
        volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, np.diag([-3.0, -2.0, 4.0, 1.0]))
    np.testing.assert_allclose(volume.affine, itk_affine(path), atol=1e-6)


def check_lone_header(folder: Path) -> None:
    path = write(folder / "x.hdr")
    (folder / "x.img").unlink()
    refused(lambda: read_volume(path), str(path), "no x.img beside it", "both files of a pair")


def check_nifti_2(folder: Path) -> None:
    import nibabel

    affine = np.vstack([SFORM, [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti2Image(IMAGE, affine), folder / "x.nii")
    np.testing.assert_allclose(read_volume(folder / "x.nii").affine, affine, atol=1e-6)


def check_freesurfer(name: str, folder: Path) -> None:
    import nibabel

    affine = np.vstack([SFORM, [0, 0, 0, 1]])
    nibabel.save(nibabel.MGHImage(IMAGE.astype(np.int32), affine), folder / name)
    volume = read_volume(folder / name)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array, IMAGE)


SHEAR_AND_QFORM = {"sform": SHEARED, "sform_code": 1, "qform_code": 1, "quaternion": TURNED}

ROWS = [
    Row(GEOMETRY, "lengths in micrometers (`xyzt_units` 3)", "read in mm, as ITK does", as_itk(xyzt_units=3)),
    Row(GEOMETRY, "lengths in meters (`xyzt_units` 1)", "read in mm, as ITK does", as_itk(xyzt_units=1)),
    Row(
        GEOMETRY,
        "lengths in micrometers, placed by the qform",
        "read in mm, offsets too",
        as_itk(xyzt_units=3, sform_code=0, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "lengths in micrometers, times in seconds", "read in mm", as_itk(xyzt_units=3 + 8)),
    Row(GEOMETRY, "no unit, or one that the standard does not know", "taken as mm", as_itk(xyzt_units=4)),
    Row(GEOMETRY, "sform alone", "the sform is used", as_itk()),
    Row(
        GEOMETRY,
        "qform alone",
        "the qform is used",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "neither sform nor qform",
        "first voxel at the origin, axes to the left, posterior and superior, as ITK does; a warning",
        as_itk("no orientation", **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 1 (scanner)",
        "the sform is used, as ITK does; a warning",
        as_itk("its sform is used", qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 2 (aligned)",
        "the qform is used, as ITK does; a warning",
        as_itk("its qform is used", sform_code=2, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two different forms, the sform of code 4 (MNI)",
        "the qform is used, as ITK does; a warning",
        as_itk("its qform is used", sform_code=4, qform_code=1, quaternion=TURNED),
    ),
    Row(
        GEOMETRY,
        "two forms that mirror each other about one origin, the sform of code 2",
        "as the installed ITK decides; a warning",
        as_itk(
            "two different orientations",
            sform=np.array([[-3.0, 0, 0, 1], [0, 2.0, 0, 2], [0, 0, 4.0, 3]]),
            sform_code=2,
            qform_code=1,
        ),
    ),
    Row(
        GEOMETRY,
        "an sform of code 1 filled with zeros, and a qform",
        "the qform is used, as ITK does; a warning",
        as_itk("sform that is zero", sform=SFORM * 0, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "an sform of code 1 filled with zeros, no qform", "refused", wrong("spacing", sform=SFORM * 0)),
    Row(
        GEOMETRY,
        "an sform with NaN, and a qform",
        "the qform is used, as ITK does; a warning",
        as_itk("sform that is not finite", sform=WITH_NAN, qform_code=1, quaternion=TURNED),
    ),
    Row(GEOMETRY, "an sform with NaN, no qform", "refused", wrong("finite numbers", sform=SFORM * np.nan)),
    Row(
        GEOMETRY,
        "a sheared sform, no qform (ITK refuses it)",
        "resampled to axes at right angles that cover it, in a grid that ITK opens; a warning",
        check_sheared,
    ),
    Row(GEOMETRY, "the same, a label map", "nearest voxels, type kept, 0 outside; a warning", check_sheared_labels),
    Row(
        GEOMETRY,
        "a sheared sform and a qform",
        "the qform is used, as ITK and 3D Slicer do; a warning",
        as_itk("sform that is sheared", **SHEAR_AND_QFORM),
    ),
    Row(
        GEOMETRY,
        "axes almost in one plane",
        "refused",
        wrong("right angles", sform=np.array([[3.0, 1.99, 0, 0], [0, 0.05, 0, 0], [0, 0, 4.0, 0]])),
    ),
    Row(
        GEOMETRY,
        "writing a volume on a sheared grid, in Python",
        "refused: ITK and 3D Slicer could not open it; nothing is written",
        check_refused_sheared_output,
    ),
    Row(
        GEOMETRY,
        "a quaternion longer than 1 by rounding (b² + c² + d² = 1.000004)",
        "read, as ITK does (nibabel refuses it)",
        as_itk(sform_code=0, qform_code=1, quaternion=np.array([0.6, 0.8, 0.002])),
    ),
    Row(
        GEOMETRY,
        "a quaternion of length 3",
        "brought to length 1, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=(2, 2, 1)),
    ),
    Row(
        GEOMETRY,
        "a quaternion with NaN",
        "NaN taken as 0, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=(np.nan, 0, 0.3)),
    ),
    Row(
        GEOMETRY,
        "`qfac` -1 (left-handed)",
        "the third axis is turned round",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(-1, 3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "`qfac` 0",
        "taken as 1",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(0, 3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, qform",
        "the axis is turned round, as ITK does",
        as_itk(sform_code=0, qform_code=1, quaternion=TURNED, pixdim=(1, -3, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, sform",
        "the axis is turned round, as ITK does",
        as_itk(pixdim=(1, 3, -2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "negative `pixdim`, neither form",
        "the axis is turned round, as ITK does; a warning",
        as_itk("no orientation", pixdim=(1, -3, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "spacing 0 in `pixdim`",
        "refused",
        wrong("spacing above 0", pixdim=(1, 0, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "spacing 0 in `pixdim` beside a whole sform",
        "refused: programs read it differently",
        wrong("spacing above 0", pixdim=(1, 0, 2, 4, 1, 1, 1, 1)),
    ),
    Row(
        GEOMETRY,
        "NaN in `pixdim`",
        "refused",
        wrong("finite spacing", pixdim=(1, np.nan, 2, 4, 1, 1, 1, 1), **NO_FORM),
    ),
    Row(
        GEOMETRY,
        "another spacing in `pixdim` than in the sform",
        "that of `pixdim`, as ITK does; a warning",
        as_itk("pixdim is used", pixdim=(1, 1, 1, 1, 1, 1, 1, 1)),
    ),
    Row(GEOMETRY, "an sform of a code that the standard does not know (9)", "used", as_itk(sform_code=9)),
    Row(
        GEOMETRY,
        "negative form codes",
        "as if there were no form; a warning",
        as_itk("no orientation", sform_code=-1, qform_code=-1),
    ),
    Row(
        GEOMETRY,
        "a left-handed sform",
        "read as it is",
        as_itk(sform=SFORM * [[-1], [1], [1]]),
    ),
    Row(GEOMETRY, "a pair `.hdr` and `.img`, either named", "lies where the `.nii` with that header does", check_pair),
    Row(GEOMETRY, "a packed pair `.hdr.gz` and `.img.gz`", "read", as_itk(name="x.img.gz")),
    Row(GEOMETRY, "Analyze 7.5", "as without a form: ITK's place; a warning", check_analyze),
    Row(GEOMETRY, "a `.hdr` without its `.img`", "refused: names the file that is missing", check_lone_header),
    Row(GEOMETRY, "NIfTI-2 (which ITK does not read)", "read by the same rules", check_nifti_2),
    Row(GEOMETRY, "FreeSurfer `.mgz`", "read where nibabel puts it", partial(check_freesurfer, "x.mgz")),
    Row(GEOMETRY, "FreeSurfer `.mgh`", "read where nibabel puts it", partial(check_freesurfer, "x.mgh")),
]

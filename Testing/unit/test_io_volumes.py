"""Reading images and labels: formats, headers, DICOM folders, and everything that is refused."""

from __future__ import annotations

import gzip
import logging
import zlib

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, orthogonal
from SPRCore.io import read_labels, read_volume, write_volume

nibabel = pytest.importorskip("nibabel")
sitk = pytest.importorskip("SimpleITK")

IMAGE = np.random.default_rng(0).normal(size=(20, 21, 22)).astype(np.float32)


def nifti(array=IMAGE, affine=None):
    return nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine, dtype=array.dtype)


def by_nifti(array):
    def make(path):
        path = path.with_name("bad.nii.gz")
        nibabel.save(nifti(array), path)
        return path

    return make


def by_itk(suffix, image):
    def make(path):
        path = path.with_name(f"bad{suffix}")
        sitk.WriteImage(image, path)
        return path

    return make


def by_bytes(name, content):
    def make(path):
        path.with_name(name).write_bytes(content)
        return path.with_name(name)

    return make


def cut(name):
    """A file of which the second half is missing."""

    def make(path):
        path = path.with_name(name)
        write_volume(Volume(IMAGE, np.eye(4)), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return make


def by_header(*changes):
    """A NIfTI file whose header is changed afterwards, (byte, type, value): nibabel itself would mend or refuse it."""

    def make(path):
        path = path.with_name("bad.nii")
        nibabel.save(nifti(), path)
        content = bytearray(path.read_bytes())
        for start, dtype, value in changes:
            written = np.array(value, dtype).tobytes()
            content[start : start + len(written)] = written
        path.write_bytes(content)
        return path

    return make


PIXDIM_1, SFORM_CODE, SROW_X = 80, 254, 280


MHA_WITHOUT_SPACING = (
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = False\nElementSpacing = 0 1 1\n"
    b"DimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n12345678"
)
RGB = np.zeros((5, 5, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])

REFUSED = {
    "missing": (lambda path: path, "no such file"),
    "folder without DICOM": (lambda path: path.parent, "folder without DICOM"),
    "text named nii.gz": (by_bytes("bad.nii.gz", b"hello"), "cannot be read"),
    "text named nii": (by_bytes("bad.nii", b"hello"), "cannot be read"),
    "text named nrrd": (by_bytes("bad.nrrd", b"hello"), "no known image format"),
    "text": (by_bytes("bad.txt", b"hello"), "no known image format"),
    "empty": (by_bytes("bad.nii.gz", b""), "cannot be read"),
    "gzip of nothing": (by_bytes("bad.nii.gz", gzip.compress(b"")), "cannot be read"),
    "gzip of zeros": (by_bytes("bad.nii.gz", gzip.compress(bytes(1000))), "cannot be read"),
    "cut nii.gz": (cut("bad.nii.gz"), "cannot be read"),
    "cut nii": (cut("bad.nii"), "cannot be read"),
    "cut nrrd": (cut("bad.nrrd"), "cannot be read"),
    "cut mha": (cut("bad.mha"), "cannot be read"),
    "2-D NIfTI": (by_nifti(IMAGE[0]), "2-D"),
    "2-D picture": (by_itk(".png", sitk.Image(5, 5, sitk.sitkUInt8)), "2-D"),
    "4-D NIfTI": (
        by_nifti(IMAGE[..., None].repeat(3, -1)),
        r"4-D image of shape \(20, 21, 22, 3\), 3 frames.*bad.nii.gz#0 to bad.nii.gz#2",
    ),
    "4-D NRRD": (by_itk(".nrrd", sitk.Image([5, 5, 5, 2], sitk.sitkFloat32)), r"4-D image of shape \(5, 5, 5, 2\)"),
    "colors in NIfTI": (by_nifti(RGB), "one real number per voxel"),
    "colors in NRRD": (by_itk(".nrrd", sitk.Image([5, 5, 5], sitk.sitkVectorUInt8, 3)), "one value per voxel"),
    "complex NIfTI": (by_nifti(IMAGE.astype(np.complex64)), "complex64"),
    "singular sform": (by_header((SROW_X, "<f4", [0, 0, 0, 1])), "spacing above 0"),
    "NaN in sform": (by_header((SROW_X, "<f4", [1, np.nan, 0, 1])), "finite"),
    "no spacing in NIfTI": (by_header((PIXDIM_1, "<f4", 0), (SFORM_CODE, "<i2", 0)), "spacing above 0"),
    "NaN spacing in NIfTI": (by_header((PIXDIM_1, "<f4", np.nan), (SFORM_CODE, "<i2", 0)), "finite|cannot be read"),
    "an absurd size": (by_header((42, "<i2", [32767, 32767, 32767])), "cannot be read"),
    "no voxels": (by_header((42, "<i2", [5, 0, 5])), "cannot be read|at least one"),
    "no spacing in MetaImage": (by_bytes("bad.mha", MHA_WITHOUT_SPACING), "Zero-valued spacing"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("read", [read_volume, read_labels])
def test_what_is_no_image_is_refused_in_one_line(tmp_path, case, read):
    make, said = REFUSED[case]
    path = make(tmp_path / "bad.nii.gz")
    with pytest.raises(InputError, match=said) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert not any(part in message for part in ("\n", "0x", "ERROR", ".cxx", ".hxx"))


def test_text_and_path_are_both_taken(tmp_path):
    write_volume(Volume(IMAGE, np.eye(4)), str(tmp_path / "image.nii.gz"))
    np.testing.assert_array_equal(read_volume(str(tmp_path / "image.nii.gz")).array, IMAGE)


@pytest.mark.parametrize("name", ["IMAGE.NII.GZ", "IMAGE.NII", "IMAGE.NRRD"])
def test_capital_suffixes(tmp_path, name):
    write_volume(Volume(IMAGE, np.eye(4)), tmp_path / name)
    np.testing.assert_array_equal(read_volume(tmp_path / name).array, IMAGE)


@pytest.mark.parametrize("shape", [(20, 21, 22, 1), (20, 21, 22, 1, 1)])
def test_trailing_axes_of_one_are_dropped(tmp_path, shape):
    nibabel.save(nifti(IMAGE.reshape(shape)), tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nii.gz").array, IMAGE)


def test_a_trailing_axis_of_one_is_dropped_in_nrrd(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(IMAGE.T[None], isVector=False), tmp_path / "image.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nrrd").array, IMAGE)


def test_a_single_slice_is_an_image_file_like_any_other(tmp_path):
    write_volume(Volume(IMAGE[:, :, :1], np.eye(4)), tmp_path / "slice.nii.gz")
    assert read_volume(tmp_path / "slice.nii.gz").shape == (20, 21, 1)


def test_slope_and_intercept_are_applied(tmp_path):
    image = nifti(np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "scaled.nii")
    stored = np.asarray(nibabel.load(tmp_path / "scaled.nii").dataobj.get_unscaled())
    assert stored.dtype == np.int16
    result = read_volume(tmp_path / "scaled.nii").array
    np.testing.assert_allclose(result, stored * 0.5 + 10)
    assert result.dtype == np.float32


def test_a_big_endian_file_becomes_native(tmp_path):
    values = np.arange(64, dtype=">i2").reshape(4, 4, 4)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), header), tmp_path / "image.nii")
    assert (tmp_path / "image.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"
    result = read_volume(tmp_path / "image.nii").array
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, values)


ROTATED = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
SHIFTED = np.diag([3.0, 2.0, 4.0, 1.0])


@pytest.mark.parametrize(("sform_code", "qform_code", "expected"), [(1, 1, ROTATED), (2, 0, ROTATED), (0, 1, SHIFTED)])
def test_the_sform_goes_before_the_qform(tmp_path, caplog, sform_code, qform_code, expected):
    image = nifti()
    image.set_sform(ROTATED, sform_code)
    image.set_qform(SHIFTED, qform_code)
    nibabel.save(image, tmp_path / "image.nii.gz")
    with caplog.at_level(logging.WARNING, logger="SPRCore"):
        np.testing.assert_allclose(read_volume(tmp_path / "image.nii.gz").affine, expected, atol=1e-5)
    assert ("two different orientations" in caplog.text) == (sform_code and qform_code)


def test_a_file_without_orientation_lies_where_itk_puts_it(tmp_path, caplog):
    image = nifti(affine=np.diag([2.0, 3.0, 4.0, 1.0]))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "image.nii.gz")
    with caplog.at_level(logging.WARNING, logger="SPRCore"):
        ours = read_volume(tmp_path / "image.nii.gz")
    write_volume(Volume(IMAGE, ours.affine), tmp_path / "placed.nii.gz")
    theirs, placed = sitk.ReadImage(tmp_path / "image.nii.gz"), sitk.ReadImage(tmp_path / "placed.nii.gz")
    for point in ([0, 0, 0], [5, 6, 7]):
        np.testing.assert_allclose(
            theirs.TransformIndexToPhysicalPoint(point), placed.TransformIndexToPhysicalPoint(point)
        )
    assert "no orientation" in caplog.text


def test_a_packed_file_is_one_plain_gzip_stream_that_is_the_same_every_time(tmp_path):
    names = ("first.nii.gz", "second.nii.gz", "plain.nii")
    for name in names:
        write_volume(Volume(IMAGE, np.eye(4)), tmp_path / name)
    first, second, plain = ((tmp_path / name).read_bytes() for name in names)
    assert first == second
    assert first[:4] == b"\x1f\x8b\x08\0"  # deflated, no name in the header
    assert first[4:8] == bytes(4)  # no time either
    stream = zlib.decompressobj(31)
    assert stream.decompress(first) == plain
    assert stream.eof
    assert not stream.unused_data


def test_written_files_have_both_forms_and_millimeters(tmp_path):
    write_volume(Volume(IMAGE, ROTATED), tmp_path / "image.nii.gz")
    image = nibabel.load(tmp_path / "image.nii.gz")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_sform(), image.get_qform(), atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_sheared_grid_is_not_written(tmp_path, suffix):
    sheared = np.array([[1, 0.3, 0, 5], [0, 1, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]])
    with pytest.raises(InputError, match=r"not at right angles.*SPRCore.geometry.orthogonal"):
        write_volume(Volume(IMAGE, sheared), tmp_path / f"image{suffix}")
    write_volume(orthogonal(Volume(IMAGE, sheared)), tmp_path / f"image{suffix}")
    assert sitk.ReadImage(tmp_path / f"image{suffix}").GetSize() == (28, 21, 22)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize(("dtype", "stored"), [("?", "u1"), ("f2", "f4"), ("f8", "f4"), ("i8", "i4"), ("u8", "i4")])
def test_types_that_files_lack_are_stored_in_others(tmp_path, suffix, dtype, stored):
    values = np.eye(4)[None].repeat(4, 0).astype(dtype)
    write_volume(Volume(values, np.eye(4)), tmp_path / f"image{suffix}")
    result = read_volume(tmp_path / f"image{suffix}").array
    np.testing.assert_array_equal(result, values)
    assert result.dtype == np.dtype(stored)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_labels_beyond_32_bits_are_kept(tmp_path, suffix):
    values = np.arange(64, dtype=np.int64).reshape(4, 4, 4) + 2**60
    write_volume(Volume(values, np.eye(4)), tmp_path / f"labels{suffix}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"labels{suffix}").array, values)


@pytest.mark.parametrize("top", [7.0, 2.0**24, 2.0**40])
def test_labels_stored_as_real_numbers_become_integers(tmp_path, top):
    values = np.zeros((4, 4, 4))
    values[1, 2, 3], values[0, 0, 0] = top, -1
    nibabel.save(nifti(values), tmp_path / "labels.nii.gz")
    result = read_labels(tmp_path / "labels.nii.gz").array
    np.testing.assert_array_equal(result, values)
    assert result.dtype == (np.int32 if top < 2**31 else np.int64)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e20])
def test_an_image_is_no_label_map(tmp_path, value):
    values = np.ones((4, 4, 4))
    values[1, 2, 3] = value
    nibabel.save(nifti(values), tmp_path / "labels.nii.gz")
    with pytest.raises(InputError, match="1 of 64 values that are not whole numbers"):
        read_labels(tmp_path / "labels.nii.gz")


def write_series(folder, uid, slices, number):
    """Write axial slices (z, values) of 12 x 10 voxels as a DICOM series of a patient with a name."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for count, (z, values) in enumerate(slices):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((1.5, 1.2))
        for tag, text in {
            "0008|0018": f"{uid}.{count}",
            "0008|0060": "MR",
            "0010|0010": "Doe^Jane",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0011": str(number),
            "0020|0013": str(count + 1),
            "0020|0032": f"-20\\-30\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(tag, text)
        writer.SetFileName(folder / f"{uid}-{count:03}.dcm")
        writer.Execute(image)


@pytest.fixture
def slices():
    values = np.random.default_rng(0).integers(0, 1000, (6, 10, 12)).astype(np.int16)
    return [(2.5 * k, values[k]) for k in range(6)]


def test_a_dicom_folder_is_one_volume(tmp_path, slices):
    write_series(tmp_path / "series", "1.2.3.4", slices[::-1], 1)
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(volume.array, np.stack([values.T for _, values in slices], axis=-1))
    expected = np.diag([-1.5, -1.2, 2.5, 1.0])
    expected[:3, 3] = 20, 30, 0
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)


def test_of_several_series_the_largest_is_read_and_named_without_the_patient(tmp_path, slices, caplog):
    write_series(tmp_path / "exam", "1.2.3.4", slices[:3], 201)
    write_series(tmp_path / "exam", "1.2.3.5", slices, 301)
    with caplog.at_level(logging.DEBUG, logger="SPRCore"):
        assert read_volume(tmp_path / "exam").shape == (12, 10, 6)
    assert "2 DICOM series; reading series number 301" in caplog.text
    assert "Doe" not in caplog.text
    assert "1.2.3" not in caplog.text


@pytest.mark.parametrize("keep", [[0, 1, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 2, 3, 3, 4, 5]], ids=str)
def test_missing_and_repeated_slices_are_refused(tmp_path, slices, keep, capfd):
    write_series(tmp_path / "series", "1.2.3.4", [slices[k] for k in keep], 1)
    with pytest.raises(InputError, match=f"{len(keep)} DICOM slices at uneven distances"):
        read_volume(tmp_path / "series")
    assert capfd.readouterr().err == "", "the warnings of ITK stay inside"


def test_one_dicom_file_is_a_volume_of_one_slice(tmp_path, slices):
    write_series(tmp_path / "series", "1.2.3.4", slices[:1], 1)
    (file,) = (tmp_path / "series").iterdir()
    assert read_volume(file).shape == (12, 10, 1)


@pytest.mark.shared_data
@pytest.mark.parametrize("pattern", ["acdc/patient003/*.nii.gz", "lung_h1mri_lobes/0004*.nii.gz", "prostate*/*.nii.gz"])
def test_real_volumes_lie_where_itk_puts_them(shared_data, pattern):
    paths = sorted(shared_data.glob(pattern))
    assert paths
    for path in paths:
        ours, theirs = read_volume(path), sitk.ReadImage(path)
        assert ours.shape == theirs.GetSize()
        corner = [size - 1 for size in ours.shape]
        expected = np.array(theirs.TransformIndexToPhysicalPoint(corner)) * [-1, -1, 1]
        np.testing.assert_allclose(ours.affine[:3, :3] @ corner + ours.affine[:3, 3], expected, atol=1e-2)
        np.testing.assert_allclose(ours.array, sitk.GetArrayFromImage(theirs).T, rtol=1e-5)

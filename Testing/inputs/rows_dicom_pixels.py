"""DICOM folders and files: values."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from dicom_files import (
    COUNT,
    PLANES,
    POSITIONS,
    dataset,
    number,
    same,
    save,
    save_enhanced,
    true,
    write_slices,
)
from table import Row, refused

from SPRCore.io import read_volume

VALUES = "DICOM: values"


SLOPES = np.array([1.0, 4e-4, 2e-3, 0.5, 7e-4, 3e-4])


def check_slopes(folder: Path) -> None:
    planes = PLANES[:COUNT].copy()
    planes[0] = 0
    each = {"RescaleSlope": [number(value) for value in SLOPES], "RescaleIntercept": "0", "Modality": "PT"}
    write_slices(folder / "s", planes, POSITIONS, **each)
    volume = read_volume(folder / "s")
    assert volume.array.dtype == np.float32
    same(volume, true(planes * SLOPES[:, None, None]), rtol=1e-5)


def check_ct(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT].astype(np.uint16), POSITIONS, RescaleSlope="1", RescaleIntercept="-1024")
    volume = read_volume(folder / "s")
    assert volume.array.dtype == np.int16
    same(volume, true(PLANES[:COUNT].astype(int) - 1024))


def check_intercepts(folder: Path) -> None:
    values = [str(-10 * k) for k in range(COUNT)]
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS, RescaleSlope="1", RescaleIntercept=values)
    same(read_volume(folder / "s"), true(PLANES[:COUNT] - 10 * np.arange(COUNT)[:, None, None]))


def check_type(dtype: str, folder: Path) -> None:
    planes = PLANES[:COUNT].astype(dtype)
    write_slices(folder / "s", planes, POSITIONS)
    volume = read_volume(folder / "s")
    np.testing.assert_array_equal(volume.array, true(planes).array)
    assert volume.array.dtype == np.dtype(dtype)


def check_compressed(folder: Path) -> None:
    """By SimpleITK's own writer, each slice with its slope: JPEG 2000 and JPEG lossless."""
    import SimpleITK as sitk

    large = np.kron(PLANES[:COUNT], np.ones((1, 16, 16), np.int16))  # GDCM writes no smaller JPEG 2000
    for kind in ("JPEG2000", "JPEG"):
        for k in range(COUNT):
            image = sitk.GetImageFromArray(large[k].astype(np.uint16))
            image.SetSpacing((1.5, 1.2))
            tags = {
                "0008|0018": f"1.2.9.{k}",
                "0020|000e": "1.2.3.4",
                "0020|0032": "\\".join(number(value) for value in POSITIONS[k]),
                "0020|0037": "1\\0\\0\\0\\1\\0",
                "0008|0060": "PT",
            }
            for tag, text in tags.items():
                image.SetMetaData(tag, text)
            writer = sitk.ImageFileWriter()
            writer.KeepOriginalImageUIDOn()
            writer.UseCompressionOn()
            writer.SetCompressor(kind)
            (folder / kind).mkdir(exist_ok=True)
            writer.SetFileName(str(folder / kind / f"{k}.dcm"))
            writer.Execute(image)
        same(read_volume(folder / kind), true(large))


def check_corrupt(folder: Path) -> None:
    """An end of image in the midst of a JPEG stream, of which GDCM makes pixels and a line on the standard error."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16))
    tags = {"0020|0032": "0\\0\\0", "0020|0037": "1\\0\\0\\0\\1\\0", "0008|0060": "CT"}
    for tag, text in tags.items():
        image.SetMetaData(tag, text)
    writer = sitk.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    path = folder / "x.dcm"
    writer.SetFileName(str(path))
    writer.Execute(image)
    assert read_volume(path).shape == (64, 64, 1)
    content = bytearray(path.read_bytes())
    middle = len(content) * 2 // 3
    content[middle : middle + 2] = b"\xff\xd9"
    path.write_bytes(content)
    refused(lambda: read_volume(path), str(path), "DICOM pixels that cannot be read (Corrupt JPEG data")


def check_rle(folder: Path) -> None:
    import pydicom

    for k in range(COUNT):
        image = dataset(
            PLANES[k],
            ImagePositionPatient=[number(value) for value in POSITIONS[k]],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1.2, 1.5],
            RescaleSlope="0.5",
            RescaleIntercept="0",
        )
        image.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        save(image, folder / "s" / f"{k}.dcm")
    same(read_volume(folder / "s"), true(PLANES[:COUNT] * 0.5))


def check_big_endian(folder: Path) -> None:
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

    write_slices(folder / "big", PLANES[:COUNT].astype(">i2"), POSITIONS, syntax=ExplicitVRBigEndian)
    write_slices(folder / "old", PLANES[:COUNT], POSITIONS, syntax=ImplicitVRLittleEndian)
    for name in ("big", "old"):
        volume = read_volume(folder / name)
        same(volume, true())
        assert volume.array.dtype.isnative


def check_cut(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    file = folder / "s" / "003.dcm"
    file.write_bytes(file.read_bytes()[:-9])
    refused(lambda: read_volume(folder / "s"), str(file), "DICOM pixels that cannot be read")


def check_enhanced_slopes(folder: Path) -> None:
    scaling = np.stack([SLOPES, np.arange(COUNT)], axis=1)
    path = save_enhanced(folder, PLANES[:COUNT], POSITIONS, scaling=scaling)
    same(read_volume(path), true(PLANES[:COUNT] * SLOPES[:, None, None] + np.arange(COUNT)[:, None, None]), rtol=1e-5)


def check_one_file(expected: tuple[str, ...], folder: Path, **attributes) -> None:
    path = save(dataset(attributes.pop("plane", PLANES[0]), **attributes), folder / "x.dcm")
    refused(lambda: read_volume(path), str(path), *expected)


def one_file(*expected: str, **attributes):
    return partial(lambda folder, **given: check_one_file(expected, folder, **given), **attributes)


ROWS = [
    Row(VALUES, "PET: a slope for each slice", "each slice scaled by its own, in 32-bit real numbers", check_slopes),
    Row(VALUES, "CT: slope 1, intercept -1024", "integers", check_ct),
    Row(VALUES, "intercepts that differ from slice to slice", "each applied", check_intercepts),
    Row(VALUES, "enhanced multi-frame, a slope for each frame", "each applied", check_enhanced_slopes),
    Row(VALUES, "8-bit pixels", "type kept", partial(check_type, "u1")),
    Row(VALUES, "16-bit unsigned pixels", "type kept", partial(check_type, "u2")),
    Row(VALUES, "32-bit pixels", "type kept", partial(check_type, "i4")),
    Row(VALUES, "big-endian and implicit files", "read", check_big_endian),
    Row(VALUES, "JPEG 2000 and JPEG, lossless", "decoded by GDCM", check_compressed),
    Row(VALUES, "run-length encoded, with a slope", "decoded and scaled", check_rle),
    Row(
        VALUES,
        "colors (RGB)",
        "refused",
        one_file("in colors (RGB)", plane=PLANES[0].astype("u1"), PhotometricInterpretation="RGB", SamplesPerPixel=3),
    ),
    Row(VALUES, "palette colors", "refused", one_file("in colors (PALETTE", PhotometricInterpretation="PALETTE COLOR")),
    Row(
        VALUES,
        "a segmentation object",
        "refused: export it as a label map",
        one_file(
            "a DICOM segmentation object",
            "export the segmentation as a label map",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        ),
    ),
    Row(
        VALUES,
        "a Siemens mosaic",
        "refused: convert it",
        one_file("a Siemens mosaic", "dcm2niix", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]),
    ),
    Row(VALUES, "a damaged JPEG stream", "refused: names the file and the cause", check_corrupt),
    Row(VALUES, "pixels cut short", "refused: names the file", check_cut),
]

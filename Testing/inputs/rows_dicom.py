"""DICOM folders and files: geometry, values, frames, and what makes no volume."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from dicom_files import dataset, enhanced, number, save, straight, write_slices
from table import Row, refused, warned

from SPRCore.geometry import Volume, affine_from_itk, is_sheared, orthogonal
from SPRCore.io import count_frames, read_labels, read_volume, write_volume

GEOMETRY, VALUES, MISSING = "DICOM: geometry", "DICOM: values", "DICOM: slices that are missing or too many"
FRAMES, FOLDERS = "DICOM: frames", "DICOM: folders and files"
COUNT = 6
PLANES = np.random.default_rng(0).integers(0, 1000, (24, 4, 5)).astype(np.int16)
POSITIONS = straight(COUNT)
STEP = 2.5
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


def true(planes=PLANES[:COUNT], positions=POSITIONS, axes=(1, 0, 0, 0, 1, 0), spacing=(1.2, 1.5)) -> Volume:
    """The volume that slices in the order of their positions make up."""
    step = positions[1] - positions[0]
    length = np.linalg.norm(step)
    direction = np.stack([axes[:3], axes[3:], step / length], axis=1)
    affine = affine_from_itk((spacing[1], spacing[0], length), positions[0], direction.ravel())
    return Volume(np.asarray(planes).transpose(2, 1, 0), affine)


def same(found: Volume, expected: Volume, rtol=1e-6) -> None:
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-5)
    np.testing.assert_allclose(found.array, expected.array, rtol=rtol, atol=1e-4)


def check_read(folder: Path, *said: str, order=range(COUNT), expected=None, positions=POSITIONS, **each) -> None:
    """A folder of slices in a given order is the volume `expected`, with these warnings."""
    order = list(order)
    write_slices(folder / "s", PLANES[order], positions[order], **each)
    with warned(*said):
        volume = read_volume(folder / "s")
    same(volume, true(positions=positions) if expected is None else expected)


def reads(*said: str, **given):
    return partial(lambda folder, **rest: check_read(folder, *said, **rest), **given)


def check_refused(folder: Path, *said: str, order=range(COUNT), positions=POSITIONS, **each) -> None:
    order = list(order)
    write_slices(folder / "s", PLANES[order], positions[order], **each)
    refused(lambda: read_volume(folder / "s"), str(folder / "s"), *said)  # the folder, or a file of it


def wrong(*said: str, **given):
    return partial(lambda folder, **rest: check_refused(folder, *said, **rest), **given)


def check_oblique(axes, folder: Path) -> None:
    normal = np.cross(axes[:3], axes[3:])
    positions = straight(COUNT, along=normal)
    write_slices(folder / "s", PLANES[:COUNT][::-1], positions[::-1], axes=axes)
    same(read_volume(folder / "s"), true(positions=positions, axes=axes))


TILTED = straight(COUNT, along=(0.0, np.tan(np.radians(20)), 1.0))


def check_tilt(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], TILTED, GantryDetectorTilt="20")
    with warned("not at right angles (a tilted gantry"):
        volume = read_volume(folder / "s")
    sheared = true(positions=TILTED)
    same(volume, orthogonal(sheared.with_array(sheared.array.astype(np.float32))))
    assert not is_sheared(volume.affine)
    write_volume(volume, folder / "out.nii.gz")
    np.testing.assert_allclose(read_volume(folder / "out.nii.gz").affine, volume.affine, atol=1e-4)


def check_tilt_labels(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT] % 3, TILTED)
    with warned("not at right angles"):
        labels = read_labels(folder / "s")
    assert set(np.unique(labels.array)) == {0, 1, 2}


def check_rounded(folder: Path) -> None:
    positions = np.round(straight(COUNT, step=1.0 / 3), 2)
    write_slices(folder / "s", PLANES[:COUNT], positions)
    volume = read_volume(folder / "s")
    np.testing.assert_allclose(volume.spacing, (1.5, 1.2, positions[-1, 2] / 5), atol=1e-6)
    assert not is_sheared(volume.affine)


def check_small_drift(folder: Path) -> None:
    positions = POSITIONS + np.linspace(0, 0.1, COUNT)[:, None] * [1, 0, 0]
    write_slices(folder / "s", PLANES[:COUNT], positions)
    with warned():
        assert not is_sheared(read_volume(folder / "s").affine)


UNEVEN = np.array([0.0, 2.5, 5.0, 7.5, 13.5, 19.5, 25.5, 31.5])


def check_uneven(folder: Path) -> None:
    positions = np.array([-20.0, -30.0, 0.0]) + UNEVEN[:, None] * [0, 0, 1]
    planes = (100 * UNEVEN)[:, None, None] + np.zeros((1, 4, 5))
    write_slices(folder / "s", planes.astype(np.int16), positions)
    with warned("8 slices at uneven distances, from 2.5 to 6 mm; 14 slices 2.5 mm apart are interpolated"):
        volume = read_volume(folder / "s")
    heights = np.minimum(np.arange(14) * 2.5, 31.5)
    np.testing.assert_allclose(volume.array[0, 0], 100 * heights, rtol=1e-5)
    assert volume.spacing[2] == 2.5
    with warned("at uneven distances"):
        labels = read_labels(folder / "s")
    assert set(np.unique(labels.array)) <= set((100 * UNEVEN).astype(int))


def check_bad_series_number(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS, SeriesNumber=77)
    for file in (folder / "s").iterdir():
        file.write_bytes(file.read_bytes().replace(b"IS\x02\x0077", b"IS\x02\0.5"))
    write_slices(folder / "s", PLANES[:3], POSITIONS[:3], SeriesInstanceUID="1.2.3.9", name="b{}.dcm")
    with warned("2 DICOM series"):
        same(read_volume(folder / "s"), true())


def check_bad_count(folder: Path) -> None:
    path = save(dataset(PLANES[0], NumberOfFrames="1"), folder / "s" / "x.dcm")
    path.write_bytes(path.read_bytes().replace(b"\x28\0\x08\0IS\x02\x001 ", b"\x28\0\x08\0IS\x02\0x "))
    refused(lambda: read_volume(path), str(path))
    refused(lambda: read_volume(folder / "s"), "without a position")


def check_single(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:1], POSITIONS[:1], SliceThickness="4")
    (file,) = (folder / "s").iterdir()
    for place, said in ((folder / "s", ()), (file, ("is a single slice; for the whole series give its folder",))):
        with warned(*said):
            volume = read_volume(place)
        assert volume.shape == (5, 4, 1)
        np.testing.assert_allclose(volume.spacing, (1.5, 1.2, 4))


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


def check_copies(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    shutil.copy(folder / "s" / "002.dcm", folder / "s" / "002 (copy).dcm")
    with warned("1 copies of DICOM slices"):
        same(read_volume(folder / "s"), true())


SERIES_4D = [*range(12)]
POSITIONS_4D = np.concatenate([straight(4)] * 3)


def check_frames(folder: Path, **each) -> None:
    """Twelve slices at four positions: three frames told apart by an attribute, written in a mixed order."""
    order = np.random.default_rng(1).permutation(12)
    mixed = {key: [value[k] for k in order] for key, value in each.items()}
    write_slices(folder / "s", PLANES[order], POSITIONS_4D[order], **mixed)
    path = folder / "s"
    said = ("4-D image of shape (5, 4, 4, 3), 3 frames", "from s#0 to s#2")
    refused(lambda: read_volume(path), str(path), *said)
    assert count_frames(path) == 3
    for frame in range(3):
        expected = true(PLANES[4 * frame : 4 * frame + 4], straight(4))
        same(read_volume(f"{path}#{frame}"), expected)
    refused(lambda: read_volume(f"{path}#3"), "frame 3", "from 0 to 2")


def frames(**each):
    return lambda folder: check_frames(folder, **each)


NUMBERS = [k // 4 for k in range(12)]
TIMES = [f"{10 + k // 4:02}0000.{k:02}" for k in range(12)]


def check_unequal_frames(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:11], POSITIONS_4D[:11], TemporalPositionIdentifier=[k + 1 for k in NUMBERS[:11]])
    refused(lambda: read_volume(folder / "s"), "1 of 4 positions hold more or fewer than 3", "export the series again")


def check_shifted_frames(folder: Path) -> None:
    """Two stacks, the second with one position more at its end and one less at its start."""
    positions = np.concatenate([straight(4), straight(4, start=(-20.0, -30.0, 2.5))])
    write_slices(folder / "s", PLANES[:8], positions, AcquisitionNumber=[1 + k // 4 for k in range(8)])
    assert count_frames(folder / "s") == 2
    same(read_volume(f"{folder / 's'}#1"), true(PLANES[4:8], positions[4:]))


def save_enhanced(folder: Path, planes, positions, **given) -> Path:
    return save(enhanced(planes, positions, **given), folder / "enhanced.dcm")


def check_enhanced(folder: Path) -> None:
    order = [3, 0, 5, 1, 4, 2]
    path = save_enhanced(folder, PLANES[order], POSITIONS[order])
    same(read_volume(path), true())
    same(read_volume(folder), true())


def check_enhanced_slopes(folder: Path) -> None:
    scaling = np.stack([SLOPES, np.arange(COUNT)], axis=1)
    path = save_enhanced(folder, PLANES[:COUNT], POSITIONS, scaling=scaling)
    same(read_volume(path), true(PLANES[:COUNT] * SLOPES[:, None, None] + np.arange(COUNT)[:, None, None]), rtol=1e-5)


def check_enhanced_frames(folder: Path) -> None:
    order = np.random.default_rng(1).permutation(12)
    path = save_enhanced(folder, PLANES[order], POSITIONS_4D[order], index=[NUMBERS[k] + 1 for k in order])
    refused(lambda: read_volume(path), "3 frames", "enhanced.dcm#0")
    same(read_volume(f"{path}#2"), true(PLANES[8:12], straight(4)))


def check_enhanced_tilt(folder: Path) -> None:
    path = save_enhanced(folder, PLANES[:COUNT], TILTED)
    with warned("not at right angles"):
        assert not is_sheared(read_volume(path).affine)


def check_enhanced_gap(folder: Path) -> None:
    keep = [0, 1, 3, 4, 5]
    path = save_enhanced(folder, PLANES[keep], POSITIONS[keep])
    refused(lambda: read_volume(path), "5 DICOM slices at uneven distances: 1 missing")


def check_enhanced_short(folder: Path) -> None:
    image = enhanced(PLANES[:COUNT], POSITIONS)
    del image.PerFrameFunctionalGroupsSequence[-1]
    path = save(image, folder / "x.dcm")
    message = refused(lambda: read_volume(path), "6 frames and what belongs to 5")
    assert "cannot be read" not in message


def check_dose(folder: Path) -> None:
    image = dataset(
        PLANES[:COUNT].astype(np.uint16),
        NumberOfFrames=COUNT,
        ImagePositionPatient=[-20, -30, 0],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[1.2, 1.5],
        GridFrameOffsetVector=[STEP * k for k in range(COUNT)],
        DoseGridScaling="0.01",
        Modality="RTDOSE",
    )
    same(read_volume(save(image, folder / "dose.dcm")), true(PLANES[:COUNT] * 0.01), rtol=1e-5)


def check_nuclear(folder: Path) -> None:
    from dicom_files import group

    image = dataset(
        PLANES[:COUNT].astype(np.uint16),
        NumberOfFrames=COUNT,
        PixelSpacing=[1.2, 1.5],
        SpacingBetweenSlices="2.5",
        SliceVector=[k + 1 for k in range(COUNT)],
        Modality="NM",
    )
    place = {"ImagePositionPatient": [-20, -30, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    image.DetectorInformationSequence = group(DetectorInformationSequence=place).DetectorInformationSequence
    same(read_volume(save(image, folder / "spect.dcm")), true())


def check_film(folder: Path) -> None:
    image = dataset(PLANES[:COUNT].astype(np.uint8), NumberOfFrames=COUNT, Modality="US")
    path = save(image, folder / "film.dcm")
    refused(lambda: read_volume(path), str(path), "6 frames without their positions")


def check_one_file(expected: tuple[str, ...], folder: Path, **attributes) -> None:
    path = save(dataset(attributes.pop("plane", PLANES[0]), **attributes), folder / "x.dcm")
    refused(lambda: read_volume(path), str(path), *expected)


def one_file(*expected: str, **attributes):
    return partial(lambda folder, **given: check_one_file(expected, folder, **given), **attributes)


def check_several_series(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS, SeriesNumber=301)
    write_slices(folder / "s", PLANES[:3], POSITIONS[:3], SeriesNumber=201, SeriesInstanceUID="1.2.3.9", name="a{}.dcm")
    said = "2 DICOM series; reading series number 301 (6 slices), the largest; for another (201 (3 slices))"
    with warned(said) as lines:
        same(read_volume(folder / "s"), true())
    assert "Doe" not in lines[0]
    assert "1.2.3" not in lines[0]


def check_scouts(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    scout = {"ImageType": [["ORIGINAL", "PRIMARY", "LOCALIZER"]], "axes": CORONAL, "name": "scout{}.dcm"}
    write_slices(folder / "s", PLANES[:1], POSITIONS[:1], **scout)
    with warned("1 localizer slices, which are left out"):
        same(read_volume(folder / "s"), true())


def check_orientations(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:4], POSITIONS[:4])
    write_slices(folder / "s", PLANES[:2], POSITIONS[:2], axes=CORONAL, name="c{}.dcm")
    said = ("slices of 2 orientations", "4 x axial, 2 x coronal", "export the series again")
    refused(lambda: read_volume(folder / "s"), *said)


def check_sizes(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:4], POSITIONS[:4])
    write_slices(folder / "s", PLANES[4:6, :3], POSITIONS[4:], name="b{}.dcm")
    refused(lambda: read_volume(folder / "s"), "slices of 2 sizes", "4 of 5 x 4 pixels", "2 of 5 x 3 pixels")


def check_spacings(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:4], POSITIONS[:4])
    write_slices(folder / "s", PLANES[4:6], POSITIONS[4:], spacing=(1, 1), name="b{}.dcm")
    refused(lambda: read_volume(folder / "s"), "slices of 2 sizes", "1.5 x 1.2 mm", "1 x 1 mm")


def check_nested(folder: Path) -> None:
    write_slices(folder / "exam" / "a" / "s", PLANES[:COUNT], POSITIONS)
    with warned("holds no DICOM images itself; those in"):
        same(read_volume(folder / "exam"), true())


def check_nested_twice(folder: Path) -> None:
    for name in ("a", "b"):
        write_slices(folder / "exam" / name, PLANES[:COUNT], POSITIONS)
    said = ("DICOM images are in 2 folders below it (a, b)", "give one of them")
    refused(lambda: read_volume(folder / "exam"), str(folder / "exam"), *said)


def check_empty(folder: Path) -> None:
    refused(lambda: read_volume(folder), str(folder), "a folder without DICOM images", "give an image file")


def check_foreign(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    for name, text in (("readme.txt", "hello"), (".hidden", ""), ("film.mp4", "x" * 200), ("table.csv", "a,b\n")):
        (folder / "s" / name).write_text(text)
    with warned():
        same(read_volume(folder / "s"), true())


def check_text_only(folder: Path) -> None:
    (folder / "notes.txt").write_text("slices")
    refused(lambda: read_volume(folder), "a folder without DICOM images")


def check_no_suffix(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS, name="IM{:04}")
    same(read_volume(folder / "s"), true())


def check_no_preamble(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    for file in (folder / "s").iterdir():
        file.write_bytes(file.read_bytes()[132:])
    same(read_volume(folder / "s"), true())


def check_structures(folder: Path) -> None:
    image = dataset(PLANES[0], Rows=None, Columns=None, PixelData=None, Modality="RTSTRUCT", SOPClassUID=STRUCTURES)
    path = save(image, folder / "s" / "x.dcm")
    refused(lambda: read_volume(path), "a DICOM file without pixels (RTSTRUCT)", "the series of images")
    refused(lambda: read_volume(folder / "s"), "a folder without DICOM images, only RTSTRUCT")


def check_structures_beside(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    image = dataset(
        PLANES[0],
        Rows=None,
        Columns=None,
        PixelData=None,
        Modality="RTSTRUCT",
        SOPClassUID=STRUCTURES,
        SeriesInstanceUID="1.9",
    )
    save(image, folder / "s" / "x.dcm")
    with warned():
        same(read_volume(folder / "s"), true())


def check_garbage(folder: Path) -> None:
    path = folder / "x.dcm"
    path.write_bytes(bytes(128) + b"DICM" + np.random.default_rng(0).bytes(500))
    refused(lambda: read_volume(path), str(path), "a damaged DICOM file")
    write_slices(folder, PLANES[:COUNT], POSITIONS)
    refused(lambda: read_volume(folder), str(path), "a damaged DICOM file")


def check_cut_header(folder: Path) -> None:
    """The last slice, which nothing would miss."""
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    file = folder / "s" / "005.dcm"
    content = file.read_bytes()
    for length in (content.index(b"PN"), content.index(b"\x28\0\x02\0"), 0):
        file.write_bytes(content[:length])
        refused(lambda: read_volume(folder / "s"), str(file), "a damaged DICOM file", "copy or export")


def check_dicomdir(folder: Path) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    image = dataset(PLANES[0], SOPClassUID="1.2.840.10008.1.3.10", Rows=None, PixelData=None)
    image.DirectoryRecordSequence = Sequence([Dataset()])
    path = save(image, folder / "DICOMDIR")
    refused(lambda: read_volume(path), str(path), "lists others (DICOMDIR)", "give the folder of one series")


def check_large_garbage(folder: Path) -> None:
    """A large file of zeros is a chain of empty elements, which pydicom would walk through."""
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    with (folder / "s" / "film").open("wb") as stream:
        stream.truncate(2**28)
    same(read_volume(folder / "s"), true())


def check_bad_number(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    file = folder / "s" / "000.dcm"
    file.write_bytes(file.read_bytes().replace(b"1.2\\1.5", b"a.b\\1.5"))
    refused(lambda: read_volume(folder / "s"), str(file), "a DICOM header that cannot be read")


def check_frame_of_folder_name(folder: Path) -> None:
    write_slices(folder / "s#1", PLANES[:COUNT], POSITIONS)
    same(read_volume(folder / "s#1"), true())


MOVED = POSITIONS + np.eye(COUNT)[2][:, None] * [4.0, 0, 0]
BENT = POSITIONS + (np.linspace(-1, 1, COUNT)[:, None] ** 2) * [3.0, 0, 0]
TWICE = np.array([0, 1, 2, 3, 3, 4, 5])
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
NO_PLACE = {"ImagePositionPatient": None}

ROWS = [
    Row(GEOMETRY, "slices in any order of files", "sorted by position", reads(order=[3, 0, 5, 1, 4, 2])),
    Row(
        GEOMETRY,
        "slices numbered against their positions",
        "sorted by position",
        reads(InstanceNumber=[6, 5, 4, 3, 2, 1]),
    ),
    Row(GEOMETRY, "coronal slices", "read where they lie", partial(check_oblique, CORONAL)),
    Row(GEOMETRY, "oblique slices", "read where they lie", partial(check_oblique, OBLIQUE)),
    Row(
        GEOMETRY,
        "a tilted gantry: positions that shift against the normal",
        "resampled with the true shear to axes at right angles that cover it; a warning",
        check_tilt,
    ),
    Row(GEOMETRY, "the same, a label map", "nearest voxels; a warning", check_tilt_labels),
    Row(GEOMETRY, "positions rounded to 0.01 mm", "one even distance", check_rounded),
    Row(GEOMETRY, "a drift below a tenth of a pixel over all slices", "taken as straight", check_small_drift),
    Row(GEOMETRY, "one slice moved sideways", "refused: how far it is off", wrong("straight line", positions=MOVED)),
    Row(GEOMETRY, "slices along a bent line", "refused: how far they are off", wrong("straight line", positions=BENT)),
    Row(
        GEOMETRY,
        "thin slices and thick ones in one series",
        "interpolated at the smaller distance (labels: nearest slice); a warning",
        check_uneven,
    ),
    Row(GEOMETRY, "no positions", "refused", wrong("6 of 6 DICOM slices without a position", **NO_PLACE)),
    Row(
        GEOMETRY,
        "one slice without a position",
        "refused",
        wrong("1 of 6", ImagePositionPatient=[*[[number(value) for value in place] for place in POSITIONS[:5]], None]),
    ),
    Row(
        GEOMETRY,
        "no orientation",
        "refused",
        wrong("6 of 6 DICOM", "without an orientation", ImageOrientationPatient=None),
    ),
    Row(GEOMETRY, "an orientation of zeros", "refused", wrong("without an orientation", axes=[0] * 6)),
    Row(GEOMETRY, "row and column not at right angles", "refused", wrong("a right angle", axes=(1, 0, 0, 0.3, 1, 0))),
    Row(GEOMETRY, "no pixel spacing", "refused", wrong("without a pixel spacing", PixelSpacing=None)),
    Row(GEOMETRY, "a pixel spacing of 0", "refused", wrong("without a pixel spacing", spacing=(0, 1))),
    Row(
        GEOMETRY,
        "a single slice",
        "one voxel in depth; a warning for a file",
        check_single,
    ),
    Row(GEOMETRY, "enhanced multi-frame, frames in any order", "sorted by the position of each frame", check_enhanced),
    Row(GEOMETRY, "enhanced multi-frame with a tilt", "resampled; a warning", check_enhanced_tilt),
    Row(GEOMETRY, "enhanced multi-frame with a frame missing", "refused", check_enhanced_gap),
    Row(GEOMETRY, "enhanced multi-frame, frames and their groups differ in number", "refused", check_enhanced_short),
    Row(GEOMETRY, "a dose grid (offsets of frames)", "read, scaled to dose", check_dose),
    Row(GEOMETRY, "nuclear medicine: a stack in one file", "read where the detector was", check_nuclear),
    Row(GEOMETRY, "a film in time (ultrasound)", "refused: it does not say where frames lie", check_film),
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
    Row(
        MISSING,
        "a slice missing",
        "refused",
        wrong("5 DICOM slices at uneven", "1 missing", order=[0, 1, 3, 4, 5]),
    ),
    Row(MISSING, "two slices missing at one place", "refused", wrong("2 missing", order=[0, 1, 4, 5])),
    Row(
        MISSING,
        "a position with two different slices",
        "refused",
        wrong("1 of 6 positions hold more or fewer than 1", order=TWICE),
    ),
    Row(MISSING, "a copy of a file beside it", "taken once; a warning", check_copies),
    Row(MISSING, "4-D with one slice missing", "refused", check_unequal_frames),
    Row(
        FRAMES,
        "time points",
        "refused with their number; `PATH#1` is the second",
        frames(TemporalPositionIdentifier=[k + 1 for k in NUMBERS]),
    ),
    Row(FRAMES, "echoes", "frames in the order of echo times", frames(EchoTime=[str(5 + k) for k in NUMBERS])),
    Row(FRAMES, "b-values", "frames in the order of b-values", frames(DiffusionBValue=[500.0 * k for k in NUMBERS])),
    Row(
        FRAMES,
        "heart phases (trigger times)",
        "frames in the order of time",
        frames(TriggerTime=[str(100 * (k // 4) + k % 4) for k in range(12)]),
    ),
    Row(
        FRAMES,
        "repetitions told apart by acquisition number",
        "frames in its order",
        frames(AcquisitionNumber=[k + 1 for k in NUMBERS]),
    ),
    Row(FRAMES, "repetitions told apart by time alone", "frames in the order of time", frames(AcquisitionTime=TIMES)),
    Row(
        FRAMES,
        "repetitions told apart by instance number alone",
        "frames in its order",
        frames(InstanceNumber=[k + 1 for k in range(12)]),
    ),
    Row(
        FRAMES,
        "magnitude, phase and real part in one series",
        "frames by image type",
        frames(ImageType=[["ORIGINAL", "PRIMARY", "MPR"[k]] for k in (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)]),
    ),
    Row(FRAMES, "stacks of one series at positions of their own", "frames by acquisition number", check_shifted_frames),
    Row(
        FRAMES,
        "enhanced multi-frame with time points",
        "refused with their number; `FILE#2` is the third",
        check_enhanced_frames,
    ),
    Row(FRAMES, "a folder whose name ends in `#1`", "that folder", check_frame_of_folder_name),
    Row(
        FOLDERS,
        "several series in one folder",
        "the largest; a warning lists all by number",
        check_several_series,
    ),
    Row(FOLDERS, "localizers among the slices", "left out; a warning", check_scouts),
    Row(FOLDERS, "slices of several orientations", "refused: says which", check_orientations),
    Row(FOLDERS, "slices of several sizes", "refused: says which", check_sizes),
    Row(FOLDERS, "slices of several pixel spacings", "refused: says which", check_spacings),
    Row(FOLDERS, "a folder with one folder of images below it", "that one is read; a warning", check_nested),
    Row(FOLDERS, "a folder with several folders of images below it", "refused: says which", check_nested_twice),
    Row(FOLDERS, "an empty folder", "refused", check_empty),
    Row(FOLDERS, "a folder with a text file", "refused", check_text_only),
    Row(FOLDERS, "other files beside the slices", "left out", check_foreign),
    Row(FOLDERS, "files without a suffix", "read", check_no_suffix),
    Row(FOLDERS, "files without the 128 bytes before `DICM`", "read", check_no_preamble),
    Row(FOLDERS, "structures (RTSTRUCT) alone", "refused: no pixels", check_structures),
    Row(FOLDERS, "structures beside the slices", "left out", check_structures_beside),
    Row(FOLDERS, "a damaged DICOM file, alone or among slices", "refused: names the file", check_garbage),
    Row(FOLDERS, "a header whose numbers are no numbers", "refused: names the file", check_bad_number),
    Row(FOLDERS, "a slice cut within its header, or empty", "refused: names the file", check_cut_header),
    Row(FOLDERS, "a `DICOMDIR`", "refused: give the folder of one series", check_dicomdir),
    Row(FOLDERS, "a large file of zeros among the slices", "left out, and not walked through", check_large_garbage),
    Row(FOLDERS, "a number of frames that is no number", "taken as one slice", check_bad_count),
    Row(FOLDERS, "a series number that is no whole number", "read all the same", check_bad_series_number),
]

"""DICOM series: what is missing or too many, frames, and what else lies in a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from dicom_files import (
    CORONAL,
    COUNT,
    PLANES,
    POSITIONS,
    dataset,
    same,
    save,
    save_enhanced,
    straight,
    true,
    write_slices,
    wrong,
)
from table import Row, refused, warned

from SPRCore.io import count_frames, read_volume

MISSING, FRAMES, FOLDERS = (
    "DICOM: slices that are missing or too many",
    "DICOM: frames",
    "DICOM: folders and files",
)


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


def check_copies(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:COUNT], POSITIONS)
    shutil.copy(folder / "s" / "002.dcm", folder / "s" / "002 (copy).dcm")
    with warned("1 copies of DICOM slices"):
        same(read_volume(folder / "s"), true())


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


def check_enhanced_frames(folder: Path) -> None:
    order = np.random.default_rng(1).permutation(12)
    path = save_enhanced(folder, PLANES[order], POSITIONS_4D[order], index=[NUMBERS[k] + 1 for k in order])
    refused(lambda: read_volume(path), "3 frames", "enhanced.dcm#0")
    same(read_volume(f"{path}#2"), true(PLANES[8:12], straight(4)))


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


TWICE = np.array([0, 1, 2, 3, 3, 4, 5])
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"

ROWS = [
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

"""DICOM folders and files: geometry."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from dicom_files import (
    CORONAL,
    COUNT,
    PLANES,
    POSITIONS,
    dataset,
    enhanced,
    number,
    same,
    save,
    save_enhanced,
    straight,
    true,
    write_slices,
    wrong,
)
from table import Row, refused, warned

from SPRCore.geometry import is_sheared, orthogonal
from SPRCore.io import read_labels, read_volume, write_volume

GEOMETRY = "DICOM: geometry"


STEP = 2.5
OBLIQUE = (0.8, 0.6, 0.0, -0.48, 0.64, 0.6)


def check_read(folder: Path, *said: str, order=range(COUNT), expected=None, positions=POSITIONS, **each) -> None:
    """A folder of slices in a given order is the volume `expected`, with these warnings."""
    order = list(order)
    write_slices(folder / "s", PLANES[order], positions[order], **each)
    with warned(*said):
        volume = read_volume(folder / "s")
    same(volume, true(positions=positions) if expected is None else expected)


def reads(*said: str, **given):
    return partial(lambda folder, **rest: check_read(folder, *said, **rest), **given)


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


def check_single(folder: Path) -> None:
    write_slices(folder / "s", PLANES[:1], POSITIONS[:1], SliceThickness="4")
    (file,) = (folder / "s").iterdir()
    for place, said in ((folder / "s", ()), (file, ("is a single slice; for the whole series give its folder",))):
        with warned(*said):
            volume = read_volume(place)
        assert volume.shape == (5, 4, 1)
        np.testing.assert_allclose(volume.spacing, (1.5, 1.2, 4))


def check_enhanced(folder: Path) -> None:
    order = [3, 0, 5, 1, 4, 2]
    path = save_enhanced(folder, PLANES[order], POSITIONS[order])
    same(read_volume(path), true())
    same(read_volume(folder), true())


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


MOVED = POSITIONS + np.eye(COUNT)[2][:, None] * [4.0, 0, 0]
BENT = POSITIONS + (np.linspace(-1, 1, COUNT)[:, None] ** 2) * [3.0, 0, 0]
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
]

"""Images that hold data in a part only, extreme values, places that do not fit, and what got worse."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from table import Row, refused, warned

import SPRCore
from SPRCore import Annotations, RegistrationOptions, Volume
from SPRCore.geometry import MaskedVolume
from SPRCore.registration import InstanceConfig, prealign

DATA, ALIGNED, WORSE = "No data and extreme values", "Alignment beforehand", "What got worse, or cannot be measured"
SHAPE = (20, 18, 16)
NOISE = gaussian_filter(np.random.default_rng(0).standard_normal((20, 18, 16)), 1.5)
ARRAY = (100.0 + 40.0 * NOISE / NOISE.std()).astype(np.float32)
AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
IMAGE = Volume(ARRAY, AFFINE)
X, Y, Z = np.meshgrid(*(np.arange(size) for size in SHAPE), indexing="ij")
QUICK = {"init": "none", "config": InstanceConfig.refining(2), "device": "cpu"}


def run(fixed: Volume = IMAGE, moving: Volume = IMAGE, **given: Any) -> SPRCore.registration.RegistrationResult:
    given = QUICK | given
    options = {field.name: given.pop(field.name) for field in fields(RegistrationOptions) if field.name in given}
    annotations = {field.name: given.pop(field.name) for field in fields(Annotations) if field.name in given}
    options = RegistrationOptions(**options)
    return SPRCore.register(fixed, moving, options=options, annotations=annotations, **given)


def changed(where: np.ndarray | tuple[int, ...], value: float) -> Volume:
    array = ARRAY.copy()
    array[where] = value
    return IMAGE.with_array(array)


def check_left_out(where: np.ndarray, value: float, warnings: tuple[str, ...], folder: Path) -> None:
    """The voxels are no data, by whatever value they are told, and nothing of them reaches the result."""
    with warned(*warnings):
        result = run(moving=changed(where, value))
    share = 100.0 * (1.0 - where.mean())
    assert abs(result.report["inputs"]["moving"]["data_percent"] - share) < 1e-6
    assert np.isfinite(result.warped.array).all()
    assert np.abs(result.displacement.array).max() < 0.5  # the rest of the two images is one and the same


def check_kept(moving: Volume, folder: Path) -> None:
    assert "data_percent" not in run(moving=moving).report["inputs"]["moving"]


def check_spike(value: float, folder: Path) -> None:
    result = run(moving=changed((3, 4, 5), value))
    assert np.abs(result.displacement.array).max() < 2.0


def check_mask(folder: Path) -> None:
    mask = IMAGE.with_array((X < 12).astype(np.uint8))
    with warned("288 voxels are NaN or infinite"):
        result = run(fixed=changed(X == 15, np.nan), fixed_mask=mask)
    assert result.report["inputs"]["fixed"]["data_percent"] == 60.0


def check_moving_mask(folder: Path) -> None:
    """A mask on a grid of its own, of any values."""
    coarse = np.zeros((10, 9, 8), dtype=np.int16)
    coarse[5:] = -7
    mask = Volume(coarse, AFFINE @ np.diag([2.0, 2.0, 2.0, 1.0]))
    result = run(moving_mask=mask)
    assert 40.0 < result.report["inputs"]["moving"]["data_percent"] < 60.0


def check_apart(folder: Path) -> None:
    left, right = changed(X < 11, -3000.0), changed(X > 8, -3000.0)
    with warned("only 0 % of the fixed image has a counterpart"):
        result = run(left, right)
    assert "lncc" not in result.report["metrics"]["before"]
    assert np.abs(result.displacement.array).max() < 1e-3


def moved(shift: tuple[float, float, float], unit: float = 1.0) -> Volume:
    affine = AFFINE.copy()
    affine[:3, 3] = shift
    affine[:3] *= unit
    return Volume(ARRAY, affine)


def alignment(fixed: Volume, moving: Volume, mode: str) -> Any:
    return prealign(MaskedVolume.of(fixed, "fixed image"), MaskedVolume.of(moving, "moving image"), mode)


def check_found(shift: tuple[float, float, float], unit: float, folder: Path) -> None:
    found = alignment(moved((0.0, 0.0, 0.0), unit), moved(shift, unit), "auto")
    np.testing.assert_allclose(found.affine_ras[:3, 3], unit * np.array(shift), atol=2.0 * unit)


def check_no_overlap(folder: Path) -> None:
    refused(lambda: run(moving=moved((900.0, 0.0, 0.0))), "no overlap in the world", "--init")


def check_headers_kept(folder: Path) -> None:
    assert alignment(IMAGE, IMAGE, "affine").reason == "no alignment beats the headers"


def check_thin(folder: Path) -> None:
    thin = Volume(ARRAY[:, :, :4], np.diag([1.0, 1.0, 0.1, 1.0]))
    shifted = thin.affine.copy()
    shifted[0, 3] = 0.5
    alignment(thin, Volume(thin.array, shifted), "auto")


def check_said(said: tuple[str, ...], given: dict[str, Any], folder: Path) -> None:
    with warned(*said):
        result = run(**given)
    assert [part in line for part, line in zip(said, result.report["warnings"], strict=True)] == [True] * len(said)


LABELS = IMAGE.with_array((ARRAY > 120).astype(np.uint8))
POINTS = np.array([[10.0, 10.0, 10.0], [20.0, 14.0, 22.0], [6.0, 20.0, 30.0]])
FAR = Volume(LABELS.array, AFFINE + np.eye(4, k=3) * 20.0)
SHIFTED = np.roll(LABELS.array, 3, axis=0)


def data(what: str, happens: str, check: Any) -> Row:
    return Row(DATA, what, happens, check)


CIRCLE = (X - 9.5) ** 2 + (Y - 8.5) ** 2 > 8.0**2
ROWS = [
    *(
        data(
            f"a constant of {value:g} outside a reconstruction circle",
            "these voxels are no data: they pull nowhere and are not compared",
            partial(check_left_out, CIRCLE, value, ()),
        )
        for value in (-3024.0, 0.0, 100.0, 1e6)
    ),
    data("half of the slices filled with a constant", "no data", partial(check_left_out, Z < 8, -1.0, ())),
    data("a strip of padding along one side", "no data", partial(check_left_out, Y > 14, 65535.0, ())),
    data(
        "a box cut out of a larger scan, the rest a constant",
        "no data",
        partial(check_left_out, (X < 4) | (Y > 13) | (Z < 2), 7.0, ()),
    ),
    data("a sheared field of view in a constant", "no data", partial(check_left_out, Y - 0.5 * Z < 0, -9.0, ())),
    data(
        "some voxels NaN",
        "no data, with a warning that counts them",
        partial(check_left_out, (X == 5) & (Y > 9), np.nan, ("moving image: 128 voxels are NaN or infinite",)),
    ),
    data(
        "some voxels infinite",
        "no data, with a warning that counts them",
        partial(check_left_out, (X == 5) & (Y > 9), -np.inf, ("moving image: 128 voxels are NaN or infinite",)),
    ),
    data("NaN where the fixed mask is 0", "registered within the mask", check_mask),
    data(
        "every voxel NaN",
        "refused: there are no data",
        lambda folder: refused(
            lambda: run(moving=IMAGE.with_array(ARRAY * np.nan)), "moving image", "no voxel with data"
        ),
    ),
    data(
        "one value everywhere else but NaN",
        "refused: it has no contrast",
        lambda folder: refused(
            lambda: run(moving=IMAGE.with_array(np.where(X < 5, np.nan, 4.0))), "moving image", "the same intensity 4"
        ),
    ),
    data("a moving mask on another grid, of values other than 0 and 1", "what is not 0 counts", check_moving_mask),
    data(
        "a moving mask that misses its image",
        "refused: no voxel of it lies inside",
        lambda folder: refused(
            lambda: run(moving_mask=Volume(LABELS.array, AFFINE + np.eye(4, k=3) * 900.0)),
            "moving mask",
            "no voxel set",
        ),
    ),
    data("two images that have data in different places only", "nothing moves, and a warning says so", check_apart),
    data(
        "a brain on a cleared background",
        "the background is data: its outline counts",
        partial(
            check_kept,
            IMAGE.with_array(np.where((X - 9.5) ** 2 + (Y - 8.5) ** 2 + (Z - 7.5) ** 2 + 8 * NOISE < 45, ARRAY, 0.0)),
        ),
    ),
    *(
        data(f"one voxel of {value:g}", "it does not decide the scale of the others", partial(check_spike, value))
        for value in (1e7, -1e6, 1e30, 6e5)
    ),
    Row(ALIGNED, "headers 700 mm apart", "aligned from the centers", partial(check_found, (700.0, -90.0, 40.0), 1.0)),
    Row(ALIGNED, "voxels of 2 micrometers", "aligned as any other", partial(check_found, (9.0, -6.0, 4.0), 1e-3)),
    Row(ALIGNED, "voxels of 2 meters", "aligned as any other", partial(check_found, (9.0, -6.0, 4.0), 1e3)),
    Row(ALIGNED, "headers apart and `--init none`", "refused: no overlap; how to align is told", check_no_overlap),
    Row(ALIGNED, "`--init affine` of images that fit", "the headers are kept, and it is said", check_headers_kept),
    Row(ALIGNED, "4 slices of 0.1 mm", "aligned, or left as they are", check_thin),
    Row(
        WORSE,
        "labels that are 0 everywhere",
        "a warning: they measure nothing",
        partial(
            check_said,
            ("the moving labels are 0 everywhere",),
            {"fixed_labels": LABELS, "moving_labels": LABELS.with_array(0 * LABELS.array)},
        ),
    ),
    Row(
        WORSE,
        "moving labels 20 mm beside their image",
        "a warning with the part that lies outside",
        partial(
            check_said,
            ("of the moving labels are outside of the moving image",),
            {"fixed_labels": LABELS, "moving_labels": FAR},
        ),
    ),
    Row(
        WORSE,
        "labels of two images without a common number",
        "a warning: their overlap is 0",
        partial(
            check_said,
            ("no number in common",),
            {"fixed_labels": LABELS, "moving_labels": LABELS.with_array(5 * LABELS.array)},
        ),
    ),
    Row(
        WORSE,
        "landmarks outside of the image, such as in another coordinate system",
        "a warning with their number and distance",
        partial(
            check_said,
            ("3 of 3 fixed landmarks are outside", "3 of 3 moving landmarks are outside"),
            {"fixed_points": POINTS - 500.0, "moving_points": POINTS - 500.0},
        ),
    ),
    Row(
        WORSE,
        "landmarks that are farther apart after the registration than before",
        "a warning with both numbers, in the report and on the screen",
        partial(
            check_said,
            ("the mean landmark error rose from 0.00 mm to",),
            {
                "moving": IMAGE.with_array(np.roll(ARRAY, 1, axis=0)),
                "fixed_points": POINTS,
                "moving_points": POINTS,
                "config": InstanceConfig(),
            },
        ),
    ),
    Row(
        WORSE,
        "labels that overlap less after the registration than before",
        "a warning with both numbers",
        partial(
            check_said,
            ("the mean Dice of the labels fell from 1.000 to",),
            {
                "moving": IMAGE.with_array(np.roll(ARRAY, 1, axis=0)),
                "fixed_labels": LABELS,
                "moving_labels": LABELS,
                "config": InstanceConfig(),
            },
        ),
    ),
]

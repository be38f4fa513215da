"""Cuts for pictures: which side is where, whatever the orientation of the grid."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from SPRCore.analysis.planes import PLANES, SliceExtractor, bounding_box, center_mm, foreground
from SPRCore.geometry import Grid, Volume, resample

AXIAL, CORONAL, SAGITTAL = PLANES
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
AFFINE[:3, 3] = (-11.0, 7.0, 5.0)
SHAPE = (8, 7, 6)


def reoriented(order: tuple[int, ...], signs: tuple[int, ...]) -> Grid:
    """The same voxels in the same places, counted in another order and direction."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        matrix[source, axis] = sign
        matrix[source, 3] += 0 if sign > 0 else SHAPE[source] - 1
    return Grid(tuple(SHAPE[source] for source in order), AFFINE @ matrix)


@pytest.fixture(scope="module")
def image() -> Volume:
    return Volume(np.random.default_rng(0).random(SHAPE, dtype=np.float32), AFFINE)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_every_orientation_gives_the_same_pictures(image, order, signs):
    grid = reoriented(order, signs)
    same = resample(image, grid)
    point = center_mm(np.ones(SHAPE, dtype=bool), AFFINE) + 0.1
    box_mm = np.array([[1, 2, 0], [6, 5, 4]]) @ AFFINE[:3, :3] + AFFINE[:3, 3]
    for plane in PLANES:
        straight = SliceExtractor(image.grid, point, np.array([[1, 6], [2, 5], [0, 4]]))
        index = np.rint((box_mm - grid.affine[:3, 3]) @ np.linalg.inv(grid.affine[:3, :3]).T).astype(int)
        turned = SliceExtractor(grid, point, np.sort(index.T, axis=1))
        np.testing.assert_allclose(turned.extract(same.array, plane), straight.extract(image.array, plane), atol=1e-6)
        assert turned.size_mm(plane) == pytest.approx(straight.size_mm(plane))


def test_the_right_side_is_on_the_left_and_the_head_is_up(image):
    point = center_mm(np.ones(SHAPE, dtype=bool), AFFINE)
    for world_axis, bright, places in (
        (0, "right", {AXIAL: "left", CORONAL: "left"}),
        (1, "anterior", {AXIAL: "top", SAGITTAL: "left"}),
        (2, "superior", {CORONAL: "top", SAGITTAL: "top"}),
    ):
        array = np.zeros(SHAPE)
        array[(slice(None),) * world_axis + (-1,)] = 1  # the affine is positive: the last voxel is R, A or S
        for plane, place in places.items():
            cut = SliceExtractor(image.grid, point).extract(array, plane)
            edge = cut[:, 0] if place == "left" else cut[-1]
            assert edge.all(), (bright, plane.name)
            assert cut.sum() == edge.size


def test_marks_name_the_edges():
    assert AXIAL.marks == ("R", "L", "A", "P")
    assert CORONAL.marks == ("R", "L", "S", "I")
    assert SAGITTAL.marks == ("A", "P", "S", "I")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_coordinates_follow_the_patient(order, signs):
    """A constant displacement of 5 mm to the right and 3 mm to the head shifts the lines by just that."""
    grid = reoriented(order, signs)
    extractor = SliceExtractor(grid, center_mm(np.ones(grid.shape, dtype=bool), grid.affine))
    moved_mm = np.broadcast_to([5.0, 0.0, 3.0], (*grid.shape, 3))
    for plane, across_mm, up_mm in ((AXIAL, 5.0, 0.0), (CORONAL, 5.0, 3.0), (SAGITTAL, 0.0, 3.0)):
        still = extractor.coordinates(np.zeros((*grid.shape, 3)), plane)
        moved = extractor.coordinates(moved_mm, plane)
        np.testing.assert_allclose(moved[0] - still[0], across_mm, atol=1e-9)
        np.testing.assert_allclose(moved[1] - still[1], up_mm, atol=1e-9)
        assert (np.diff(still[0], axis=1) < 0).all()  # to the right of the picture is to the left of the patient
        assert (np.diff(still[1], axis=0) > 0).all()


def test_a_point_outside_is_moved_inside(image):
    extractor = SliceExtractor(image.grid, np.array([1e4, -1e4, 1e4]))
    np.testing.assert_array_equal(extractor.extract(image.array, SAGITTAL), image.array[-1].T[:, ::-1])


def test_foreground_and_its_box():
    array = np.zeros((20, 20, 20), np.float32)
    array[5:15, 4:10, 12:18] = 1
    mask = foreground(Volume(array, np.eye(4)))
    np.testing.assert_array_equal(mask, array > 0)
    np.testing.assert_array_equal(bounding_box(mask), [[4, 15], [3, 10], [11, 18]])
    np.testing.assert_allclose(center_mm(mask, np.eye(4)), [9.5, 6.5, 14.5])

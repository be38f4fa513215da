"""Laws of sliding: what is no slide, and what is one, at walls of any direction and on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from SPRCore.geometry import Field, Volume
from SPRCore.metrics.sliding import segment_sliding

SHAPE = (30, 28, 26)
numbers = st.floats(-1.0, 1.0)
directions = st.tuples(numbers, numbers, numbers).filter(lambda v: 0.3 < np.linalg.norm(v))
few = settings(max_examples=3)


def affine_of(spacing, angle=0.0):
    """A grid turned about the third axis."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing
    affine[:3, 3] = (-20.0, 5.0, 30.0)
    return affine


def positions(affine):
    index = np.indices(SHAPE).reshape(3, -1).T
    return (index @ affine[:3, :3].T + affine[:3, 3]).reshape(*SHAPE, 3)


def wall(affine, normal):
    """Labels 2 below and 1 above a plane through the middle of the grid, and the unit normal."""
    here = positions(affine)
    normal = np.asarray(normal) / np.linalg.norm(normal)
    height = (here - here.reshape(-1, 3).mean(axis=0)) @ normal
    return Volume(np.where(height < 0, 2, 1).astype(np.uint8), affine), normal


def measured(labels, field):
    found = segment_sliding(Field(field.astype(np.float32), labels.affine), labels)["2"]
    known = np.isfinite(found.jump.slide)
    assert known.mean() > 0.3
    return found.jump.slide[known], found.jump.opening[known], found


@few
@given(normal=directions, angle=numbers, strain=st.lists(st.floats(-0.2, 0.2), min_size=9, max_size=9))
def test_rigid_motion_and_linear_strain_are_no_slide_and_no_opening(normal, angle, strain):
    affine = affine_of((1.5, 1.5, 3.0), angle)
    labels, _ = wall(affine, normal)
    field = positions(affine) @ np.reshape(strain, (3, 3)) + [3.0, -40.0, 7.0]
    slide, opening, found = measured(labels, field)
    assert slide.max() < 1e-3
    assert np.abs(opening).max() < 1e-3
    assert found.summary()["sliding_percent"] == pytest.approx(0.0) or slide.max() < 1e-3


@few
@given(normal=directions, angle=numbers, size=st.floats(2.0, 15.0), part=st.floats(0.0, np.pi))
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.5, 3.0)])
def test_a_jump_is_measured_with_its_direction_at_any_wall(spacing, normal, angle, size, part):
    affine = affine_of(spacing, angle)
    labels, normal = wall(affine, normal)
    along = np.cross(normal, [0.3, 1.0, -0.2])
    along /= np.linalg.norm(along)
    jump = size * (np.cos(part) * normal + np.sin(part) * along)
    strained = positions(affine) @ np.diag([0.1, -0.05, 0.02]) + [1.0, 2.0, 3.0]
    field = strained + np.where(labels.array[..., None] == 1, jump, 0.0)
    slide, opening, found = measured(labels, field)
    assert np.median(np.hypot(slide, opening)) == pytest.approx(size, rel=0.06)
    # Steps of a shallow wall in thick slices turn its normals by up to 9 degrees.
    turned = 0.06 if len(set(spacing)) == 1 else 0.2
    assert np.median(slide) == pytest.approx(size * np.sin(part), abs=turned * size)
    assert np.median(opening) == pytest.approx(size * np.cos(part), abs=turned * size)
    assert found.summary()["sliding_percent"] > 95


@few
@given(normal=directions, size=st.floats(4.0, 12.0), sigma=st.floats(0.5, 2.0))
def test_a_smeared_jump_is_measured_in_full(normal, size, sigma):
    affine = affine_of((2.0, 2.0, 2.0))
    labels, normal = wall(affine, normal)
    along = np.cross(normal, [0.3, 1.0, -0.2])
    along *= size / np.linalg.norm(along)
    sharp = np.where(labels.array[..., None] == 1, along, 0.0)
    slide, opening, _ = measured(labels, gaussian_filter(sharp, (sigma, sigma, sigma, 0), mode="nearest"))
    assert np.median(slide) == pytest.approx(size, rel=0.1)
    assert np.abs(np.median(opening)) < 0.05 * size


@few
@given(normal=directions, period=st.floats(45.0, 90.0), phase=st.floats(0.0, 6.0))
def test_a_strain_that_varies_over_some_voxels_is_no_slide(normal, period, phase):
    affine = affine_of((2.0, 2.0, 2.0))
    labels, normal = wall(affine, normal)
    along = np.cross(normal, [0.3, 1.0, -0.2])
    wave = np.sin(2 * np.pi * positions(affine) @ normal / period + phase)
    slide, opening, _ = measured(labels, 5.0 * wave[..., None] * along / np.linalg.norm(along))
    assert max(slide.mean(), np.abs(opening).mean()) < 0.3 * 2.0  # voxels


def test_both_sides_of_a_wall_report_the_same_slide_and_opening():
    affine = affine_of((2.0, 2.0, 2.0))
    labels, _normal = wall(affine, (1.0, 0.4, 0.2))
    field = np.where(labels.array[..., None] == 1, [3.0, 1.0, 5.0], 0.0)
    found = segment_sliding(Field(field.astype(np.float32), affine), labels)
    first, second = (found[name].summary() for name in ("1", "2"))
    for part, key in (("slide", "mean"), ("opening", "mean")):
        assert first[part][key] == pytest.approx(second[part][key], rel=0.02)

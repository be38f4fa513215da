"""Starts of the affine pre-alignment for any field of view and unit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, Volume, resample
from SPRCore.registration import prealign, reduced
from SPRCore.registration.reduced import ReducedPair

TRUTH = np.eye(4)
TRUTH[:3, 3] = (3.0, -2.0, 2.5)


def scan(shape=(40, 36, 44), spacing=2.0, seed=0):
    """Anatomy that reaches beyond the field of view."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    return Volume((100.0 + 40.0 * noise / noise.std()).astype(np.float32), np.diag([spacing] * 3 + [1.0]))


def moved(volume, matrix=TRUTH):
    return resample(volume, volume.grid, affine_ras=np.linalg.inv(matrix), continued=True)


def aligned(fixed, moving, mode="rigid"):
    images = (MaskedVolume.of(image, what) for image, what in ((fixed, "fixed image"), (moving, "moving image")))
    return prealign(*images, mode)


def error_mm(found, truth, volume):
    matrix = np.eye(4) if found.affine_ras is None else found.affine_ras
    index = np.argwhere(np.ones((2, 2, 2))) * (np.array(volume.shape) - 1)
    points = np.c_[index, np.ones(8)] @ volume.affine.T
    return np.linalg.norm((points @ matrix.T - points @ truth.T)[:, :3], axis=1).max()


def repeated(spacing=2.0):
    """A body of four like segments, one above the other, as vertebrae are."""
    one = scan((32, 32, 24), spacing, seed=3).array
    other = gaussian_filter(np.random.default_rng(4).standard_normal((32, 32, 96)), 2.0)
    return Volume(np.concatenate([one] * 4, axis=2) + 4.0 * other / other.std(), np.diag([spacing] * 3 + [1.0]))


@pytest.mark.parametrize("segment", [0, 1, 3])
def test_headers_that_are_right_are_kept_where_anatomy_repeats(segment):
    body = repeated()
    affine = body.affine.copy()
    affine[:3, 3] = body.affine[:3, :3] @ (0, 0, 24 * segment)
    part = Volume(body.array[:, :, 24 * segment : 24 * segment + 24], affine)
    shift = np.eye(4)
    shift[:3, 3] = (2.0, -1.0, 1.5)
    found = aligned(part, moved(body, shift), "auto")
    assert error_mm(found, shift, part) < 4.0


@pytest.mark.parametrize("keep", [0.35, 0.6])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_partial_field_of_view_is_aligned(keep, axis):
    fixed = scan()
    moving = moved(fixed)
    part = [slice(None)] * 3
    part[axis] = slice(0, round(keep * fixed.shape[axis]))
    assert error_mm(aligned(fixed, Volume(moving.array[tuple(part)], moving.affine)), TRUTH, fixed) < 2.0


@pytest.mark.parametrize("value", [-3024.0, 100.0, 1e5])
def test_padding_takes_no_part(value):
    fixed, moving = scan(), moved(scan())
    x, y = np.meshgrid(np.arange(40), np.arange(36), indexing="ij")
    array = moving.array.copy()
    array[(x - 19.5) ** 2 + (y - 17.5) ** 2 > 15**2] = value
    assert error_mm(aligned(fixed, moving.with_array(array)), TRUTH, fixed) < 2.0


@pytest.mark.parametrize("unit", [1e-3, 0.05, 1.0, 1e3])
def test_the_unit_of_length_does_not_matter(unit):
    """Voxels of 2 micrometers to 2 meters."""
    shift = TRUTH.copy()
    shift[:3, 3] *= unit
    fixed = scan(spacing=2.0 * unit)
    assert error_mm(aligned(fixed, moved(fixed, shift)), shift, fixed) < 2.0 * unit


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 0.1), (0.5, 0.5, 0.5), (0.3, 0.3, 8.0)])
@pytest.mark.parametrize("slices", [4, 6])
def test_thin_volumes_are_aligned_or_left_alone(spacing, slices):
    wide = scan((48, 44, slices))
    fixed = Volume(wide.array, np.diag([*spacing, 1.0]))
    shift = np.eye(4)
    shift[:2, 3] = 3.0 * np.array(spacing[:2])
    found = aligned(fixed, moved(fixed, shift), "auto" if slices == 4 else "rigid")
    assert error_mm(found, shift, fixed) <= max(np.linalg.norm(shift[:3, 3]), 2.0 * max(spacing[:2])) + 1e-9


@pytest.mark.parametrize("spike", [1e7, -1e6])
def test_a_spike_does_not_rule(spike):
    fixed, moving = scan(), moved(scan())
    array = moving.array.copy()
    array[3, 4, 5] = spike
    assert error_mm(aligned(fixed, moving.with_array(array), "affine"), TRUTH, fixed) < 2.0


def test_another_contrast_is_aligned():
    fixed = scan()
    other = moved(fixed).array
    assert error_mm(aligned(fixed, Volume(np.abs(other - 90.0), fixed.affine)), TRUTH, fixed) < 2.0


def test_volumes_far_apart_are_brought_together_by_their_centers():
    fixed = scan()
    far = fixed.affine.copy()
    far[:3, 3] += (700.0, -300.0, 1500.0)
    truth = np.eye(4)
    truth[:3, 3] = (700.0, -300.0, 1500.0)
    found = aligned(fixed, Volume(fixed.array, far), "auto")
    assert error_mm(found, truth, fixed) < 2.0
    assert "fields of view" in found.reason or "centers of mass" in found.reason


def test_an_alignment_that_does_not_beat_the_headers_is_not_kept():
    fixed, other = scan(seed=1), scan(seed=2)  # nothing in common
    shifted = other.affine.copy()
    shifted[:3, 3] = (1.0, 1.0, 1.0)
    pair = [MaskedVolume.of(image, "image") for image in (fixed, Volume(other.array, shifted))]
    found = prealign(*pair, "affine")
    reduced_pair = ReducedPair.of(*pair)
    matrix = np.eye(4) if found.affine_ras is None else found.affine_ras
    assert reduced_pair.score(matrix) >= reduced_pair.score(np.eye(4))
    same = prealign(pair[0], pair[0], "affine")
    assert same.affine_ras is None
    assert "no alignment beats the headers" in same.reason


def test_an_optimisation_that_fails_is_told_and_the_best_start_stays(monkeypatch, caplog):
    def fail(self, start, kind):
        raise reduced.AlignmentFailure("All samples map outside moving image buffer")

    monkeypatch.setattr(ReducedPair, "optimised", fail)
    fixed = scan()
    far = fixed.affine.copy()
    far[:3, 3] += 500.0
    found = aligned(fixed, Volume(fixed.array, far), "affine")
    np.testing.assert_allclose(found.affine_ras[:3, 3], 500.0, atol=2.0)
    assert "All samples map outside" in caplog.text


def test_images_that_share_nothing_are_refused(monkeypatch):
    monkeypatch.setattr(ReducedPair, "score", lambda self, matrix: 0.0)
    with pytest.raises(InputError, match="nothing in common, by their headers, centers of mass or fields of view"):
        aligned(scan(), scan(), "affine")


def test_the_score_prefers_the_overlap_and_knows_chance():
    fixed = scan((48, 48, 48))
    noise = Volume(np.random.default_rng(0).normal(0, 1, (48, 48, 48)), fixed.affine)
    images = [MaskedVolume.of(image, "image") for image in (fixed, noise)]
    alike, chance = ReducedPair.of(images[0], images[0]), ReducedPair.of(*images)
    half = np.eye(4)
    half[0, 3] = 48.0
    assert chance.score(np.eye(4)) < 0.02 < 0.5 < alike.score(np.eye(4))
    assert alike.score(half) < 0.3 * alike.score(np.eye(4))
    away = np.eye(4)
    away[0, 3] = 1e4
    assert alike.score(away) == 0.0


def test_the_same_pair_gives_the_same_bits():
    fixed = scan((44, 40, 36), 1.0)
    moving = Volume(zoom(moved(fixed).array, (0.9, 1.0, 1.0), order=1), np.diag([1 / 0.9, 1.0, 1.0, 1.0]))
    first, second = (aligned(fixed, moving, "affine").affine_ras for _ in range(2))
    np.testing.assert_array_equal(first, second)

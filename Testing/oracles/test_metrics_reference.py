"""Metrics against brute force written from the definitions, and against SimpleITK."""

import itertools

import numpy as np
import pytest

from SPRCore import metrics
from SPRCore.geometry import Field, voxel_to_ras


@pytest.fixture(scope="module")
def rough_field():
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    u_vox = np.random.default_rng(3).normal(0, 0.7, (6, 5, 7, 3))
    return Field(u_vox * [1.5, 2.0, 3.0], affine), u_vox


def test_ndv_against_ten_determinants_per_voxel(rough_field):
    field, u_vox = rough_field
    position = np.stack(np.indices(u_vox.shape[:3]), axis=-1) + u_vox
    stars = (((-1, -1, 0), (-1, 0, -1), (0, -1, -1)), ((1, 1, 0), (0, 1, 1), (1, 0, 1)))
    inner = [np.array(p) for p in itertools.product(*(range(1, n - 1) for n in u_vox.shape[:3]))]
    total = 0.0
    for p in inner:
        tetrahedra = []
        for signs in itertools.product((1, -1), repeat=3):
            edges = [
                s * (position[tuple(p + s * e)] - position[tuple(p)])
                for s, e in zip(signs, np.eye(3, dtype=int), strict=True)
            ]
            tetrahedra.append(np.linalg.det(edges))
        for star in stars:
            tetrahedra.append(np.linalg.det([position[tuple(p + e)] - position[tuple(p)] for e in np.array(star)]))
        total += sum(max(0.0, -j) for j in tetrahedra) / 12
    assert total > 0
    assert metrics.ndv_percent(field) == pytest.approx(100 * total / len(inner), rel=1e-4)


def test_the_two_cuts_of_a_cube_fill_it():
    """Corners (+++ of one cube) and stars are tetrahedra of two cuts whose volumes add up to the cube twice."""
    field = Field(np.zeros((4, 4, 4, 3)), np.diag([-1.0, 1, 1, 1]))
    assert metrics.ndv_percent(field) == 0.0
    turned = Field(np.stack(np.indices((4, 4, 4)), axis=-1) * np.array([-2.0, 0, 0]), np.eye(4))
    assert metrics.ndv_percent(turned) == pytest.approx(100.0)


def test_determinant_against_sitk(rough_field):
    sitk = pytest.importorskip("SimpleITK")
    field, _ = rough_field
    image = sitk.GetImageFromArray(field.array.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
    image.SetSpacing((1.5, 2.0, 3.0))
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose(2, 1, 0)
    np.testing.assert_allclose(metrics.determinant_map(field), theirs[1:-1, 1:-1, 1:-1], atol=1e-4)
    share = 100 * np.mean(theirs[1:-1, 1:-1, 1:-1] <= 0)
    assert share > 0
    assert metrics.folding_percent(field) == pytest.approx(share)


def blobs(seed, shape=(14, 15, 12), labels=4):
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(labels, *shape))
    return np.argmax([gaussian_filter(n, 2) for n in noise], axis=0).astype(np.int16)


@pytest.mark.parametrize("seed", range(3))
def test_hd95_and_dice_against_brute_force(seed):
    a, b, spacing = blobs(seed), blobs(seed + 100), np.array([1.0, 1.5, 3.0])

    def surface(labels, k):
        out = []
        for p in np.argwhere(labels == k):
            neighbors = [p + s * e for s in (1, -1) for e in np.eye(3, dtype=int)]
            if any((q < 0).any() or (q >= labels.shape).any() or labels[tuple(q)] != k for q in neighbors):
                out.append(p * spacing)
        return np.array(out)

    ours = metrics.hd95_mm(a, b, spacing)
    for k in (1, 2, 3):
        distance = np.linalg.norm(surface(a, k)[:, None] - surface(b, k)[None], axis=-1)
        truth = max(np.percentile(distance.min(axis=1), 95), np.percentile(distance.min(axis=0), 95))
        assert ours[k] == pytest.approx(truth)
        both, one, other = np.sum((a == k) & (b == k)), np.sum(a == k), np.sum(b == k)
        assert metrics.dice(a, b)[k] == pytest.approx(2 * both / (one + other))


def test_dice_against_sitk():
    sitk = pytest.importorskip("SimpleITK")
    a, b = blobs(5), blobs(6)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.GetImageFromArray(a), sitk.GetImageFromArray(b))
    assert metrics.dice(a, b) == pytest.approx({k: overlap.GetDiceCoefficient(k) for k in (1, 2, 3)})


def test_inverse_consistency_against_a_loop(rough_field):
    from scipy.ndimage import map_coordinates

    field, _ = rough_field
    other = Field(np.random.default_rng(4).normal(0, 1, (5, 6, 5, 3)), np.diag([2.0, 1.7, 3.5, 1.0]))
    residuals = []
    for a, b in ((field, other), (other, field)):
        for p in np.ndindex(a.array.shape[:3]):
            x = voxel_to_ras(np.array(p, dtype=float), a.affine)
            q = np.linalg.inv(b.affine)[:3, :3] @ (x + a.array[p])
            if (q >= 0).all() and (q <= np.array(b.array.shape[:3]) - 1).all():
                back = [map_coordinates(b.array[..., c].astype(float), q[:, None], order=1)[0] for c in range(3)]
                residuals.append(np.linalg.norm(a.array[p] + back))
    ours = metrics.inverse_consistency_mm(field, other)
    assert ours["mean"] == pytest.approx(np.mean(residuals), rel=1e-3)
    assert ours["p95"] == pytest.approx(np.percentile(residuals, 95), rel=1e-2)

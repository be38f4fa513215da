import json
import math

import numpy as np
import pytest
import torch

from SPRCore import metrics
from SPRCore.errors import InputError
from SPRCore.geometry import Annotations, Field, Grid, MaskedVolume, Volume, affine_field
from SPRCore.metrics.report import evaluate

OBLIQUE = np.array([[0.0, -1.9, 0.3, 5.0], [1.2, 0.1, 0.0, -7.0], [0.1, 0.2, 2.5, 3.0], [0, 0, 0, 1.0]])


def box(shape, low, high, label=1):
    labels = np.zeros(shape, dtype=np.uint8)
    labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    return labels


def test_dice_counts_every_label_of_either_map_and_leaves_background_out():
    a = box((6, 6, 6), (0, 0, 0), (4, 2, 2)) + box((6, 6, 6), (0, 4, 4), (2, 6, 6), 5)
    b = box((6, 6, 6), (2, 0, 0), (6, 2, 2)) + box((6, 6, 6), (4, 4, 4), (6, 6, 6), 7)
    scores = metrics.dice(a, b)
    assert scores == {1: pytest.approx(2 * 8 / 32), 5: 0.0, 7: 0.0}
    assert metrics.dice_mean(scores) == pytest.approx(0.5 / 3)
    assert math.isnan(metrics.dice_mean(metrics.dice(0 * a, 0 * b)))


@pytest.mark.parametrize("label", [3, 70_000, -4])
def test_any_whole_number_is_a_label(label):
    a = box((5, 5, 5), (1, 1, 1), (3, 3, 3)).astype(np.int64) * label
    assert metrics.dice(a, a.astype(float)) == {label: 1.0}
    assert metrics.hd95_mm(a, a, (1, 1, 1)) == {label: 0.0}


def test_labels_must_be_whole_and_on_one_grid():
    a = np.ones((4, 4, 4))
    with pytest.raises(InputError, match="whole"):
        metrics.dice(a, a * 0.5)
    with pytest.raises(InputError, match="shape"):
        metrics.dice(a, a[1:])
    with pytest.raises(InputError, match="grid"):
        metrics.dice(Volume(a, np.eye(4)), Volume(a, np.diag([2, 2, 2, 1.0])))
    with pytest.raises(InputError, match="spacing"):
        metrics.hd95_mm(a, a)


def test_hd95_of_a_shifted_box_is_the_shift_and_of_a_missing_label_nan():
    a, b = box((20, 20, 20), (3, 3, 3), (9, 9, 9)), box((20, 20, 20), (3, 3, 8), (9, 9, 14))
    result = metrics.hd95_mm(Volume(a, np.diag([1, 1, 2.5, 1])), Volume(b, np.diag([1, 1, 2.5, 1])))
    assert result[1] == pytest.approx(5 * 2.5)
    b[b == 1] = 2
    assert all(math.isnan(v) for v in metrics.hd95_mm(a, b, (1, 1, 1)).values())


def test_tre_reads_an_affine_field_exactly_and_knows_before():
    matrix = np.eye(4)
    matrix[:3] += np.array([[0.1, 0.02, 0, 4], [0, -0.05, 0.03, -2], [0.04, 0, 0.08, 1]])
    field = affine_field(Grid((9, 10, 11), OBLIQUE), matrix)
    points = np.random.default_rng(0).uniform(0, 8, (20, 3)) @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(metrics.tre_mm(points, moved, field), 0, atol=2e-5)
    before = metrics.tre_mm(points, moved)
    np.testing.assert_allclose(before, np.linalg.norm(moved - points, axis=1))
    assert metrics.summarize(before)["n"] == 20
    assert metrics.summarize(before)["p95"] == pytest.approx(np.percentile(before, 95))
    assert metrics.summarize(before[:0]) == {}
    with pytest.raises(InputError, match="landmarks"):
        metrics.tre_mm(points, moved[:-1], field)


def test_determinant_of_an_affine_map_on_an_oblique_grid():
    matrix = np.eye(4)
    matrix[:3, :3] += np.array([[0.2, 0.1, 0], [0, -0.3, 0.2], [0.1, 0, 0.05]])
    field = affine_field(Grid((7, 8, 9), OBLIQUE), matrix)
    truth = np.linalg.det(matrix[:3, :3])
    assert metrics.determinant_map(field).shape == (5, 6, 7)
    assert metrics.jacobian_summary(field) == pytest.approx(
        dict.fromkeys(("min", "p01", "median", "p99", "max"), truth), abs=1e-4
    )
    assert metrics.folding_percent(field) == metrics.ndv_percent(field) == 0.0


def test_a_mirror_folds_everything_and_its_ndv_is_the_volume_it_turns_over():
    mirror = np.diag([-1, 1, 1, 1.0])
    field = affine_field(Grid((6, 7, 8), np.eye(4)), mirror)
    assert metrics.folding_percent(field) == 100.0
    # Eight corner tetrahedra of 1/6 and two central ones of 2/6, each counted by a half.
    assert metrics.ndv_percent(field) == pytest.approx(100.0)


def test_ndv_sees_the_lone_voxel_that_central_differences_miss():
    u = np.zeros((5, 5, 5, 3), dtype=np.float32)
    u[2, 2, 2, 0] = 2.5
    field = Field(u, np.eye(4))
    middle = np.zeros((5, 5, 5), dtype=bool)
    middle[2, 2, 2] = True
    assert metrics.folding_percent(field, middle) == 0.0
    # Four corner Jacobians with the forward x edge are 1 - 2.5 = -1.5, the forward star is 2 - 2.5 = -0.5.
    assert metrics.ndv_percent(field, middle) == pytest.approx(100 * (4 * 1.5 + 0.5) / 12)


def test_masks_choose_voxels_and_must_fit():
    u = np.zeros((8, 8, 8, 3), dtype=np.float32)
    u[..., 0] = np.where(np.arange(8) < 4, 0, -3 * (np.arange(8) - 4))[:, None, None]
    field = Field(u, np.eye(4))
    still, all_voxels = np.zeros((8, 8, 8)), np.ones((8, 8, 8))
    still[:4] = 1
    assert metrics.folding_percent(field, still) == metrics.ndv_percent(field, still) == 0.0
    assert metrics.folding_percent(field, all_voxels) == metrics.folding_percent(field) > 40
    assert metrics.displacement_summary(field, still)["max"] == 0.0
    for bad in (np.ones((8, 8, 7)), np.zeros((8, 8, 8))):
        for metric in (metrics.folding_percent, metrics.ndv_percent, metrics.displacement_summary):
            with pytest.raises(InputError, match="mask"):
                metric(field, bad)
    with pytest.raises(InputError, match="3 voxels"):
        metrics.ndv_percent(Field(np.zeros((8, 2, 8, 3)), np.eye(4)))


def test_slabs_leave_no_seam():
    """Of a field that repeats along the first axis every repeat gives the same, whichever slabs it falls into."""
    period = np.random.default_rng(1).normal(0, 0.6, (6, 32, 32, 3)).astype(np.float32)
    fields = {count: Field(np.concatenate([period] * count), OBLIQUE) for count in (3, 4, 30)}
    determinants = metrics.determinant_map(fields[30])
    for start in range(6, 6 * 29, 6):
        np.testing.assert_allclose(determinants[start : start + 6], determinants[6:12], atol=1e-5)
    volume = {count: metrics.ndv_percent(field) * (6 * count - 2) for count, field in fields.items()}
    assert volume[4] > volume[3] > 0
    assert volume[30] - volume[3] == pytest.approx(27 * (volume[4] - volume[3]), rel=1e-4)
    period[..., 0] = 0.0  # no point leaves the grid at the ends of the first axis
    apart = []
    for count in (3, 30):
        field = Field(np.concatenate([period] * count), np.eye(4))
        apart.append(metrics.inverse_consistency_mm(field, Field(np.zeros_like(field.array), np.eye(4))))
    assert apart[1] == pytest.approx(apart[0], rel=1e-5)


def test_inverse_consistency_of_affine_maps_on_different_grids():
    matrix = np.eye(4)
    matrix[:3] = [[1.05, 0.02, 0, 1], [0, 0.97, 0.01, -1], [0.02, 0, 1.02, 0.5], [0, 0, 0, 1]][:3]
    other = np.diag([1.5, 2, 2.5, 1.0])
    other[:3, 3] = (-25, -20, -10)
    forward = affine_field(Grid((12, 13, 14), OBLIQUE), matrix)
    backward = affine_field(Grid((20, 18, 20), other), np.linalg.inv(matrix))
    assert metrics.inverse_consistency_mm(forward, backward)["p95"] < 1e-4
    shifted = Field(backward.array + np.float32([3, 0, 4]), other)
    residual = metrics.inverse_consistency_mm(forward, shifted)
    assert residual["mean"] == pytest.approx(5, rel=0.05)
    away = Field(np.full((4, 4, 4, 3), 1e3), np.eye(4))
    assert math.isnan(metrics.inverse_consistency_mm(away, away)["mean"])


def test_displacement_summary_is_the_length_in_mm():
    field = Field(np.broadcast_to(np.float32([3, 0, 4]), (4, 5, 6, 3)), OBLIQUE)
    assert metrics.displacement_summary(field) == {"mean": 5.0, "p95": 5.0, "max": 5.0}


def test_local_correlation_ignores_a_linear_change_of_gray_values():
    image = Volume(np.random.default_rng(0).random((16, 16, 16)).astype(np.float32), np.eye(4))
    other = image.with_array(1000 - 300 * image.array)
    assert metrics.local_correlation(image, other) == pytest.approx(1, abs=1e-3)
    noise = image.with_array(np.random.default_rng(1).random((16, 16, 16)).astype(np.float32))
    assert metrics.local_correlation(image, noise, mask=np.ones((16, 16, 16))) < 0.1
    with pytest.raises(InputError, match="grid"):
        metrics.local_correlation(image, Volume(noise.array[1:], np.eye(4)))


def test_report_holds_exactly_what_was_given():
    grid = Grid((12, 12, 12), np.diag([2, 2, 2, 1.0]))
    labels = Volume(box(grid.shape, (3, 3, 3), (9, 9, 9)), grid.affine)
    moved = labels.with_array(np.roll(labels.array, 1, axis=0) + box(grid.shape, (0, 0, 0), (1, 1, 1), 4))
    shift = np.eye(4)
    shift[0, 3] = 2.0
    field, back = affine_field(grid, shift), affine_field(grid, np.linalg.inv(shift))
    points = np.array([[8.0, 8, 8], [10, 12, 9]])
    still = MaskedVolume.whole(labels)
    assert evaluate() == {}
    assert set(evaluate(displacement=field)) == {"after"}
    assert set(evaluate(annotations=Annotations(fixed_labels=labels, moving_labels=moved))) == {"before"}
    result = evaluate(
        displacement=field,
        inverse=back,
        fixed=still,
        moving=MaskedVolume.whole(moved),
        annotations=Annotations(
            fixed_labels=labels, moving_labels=moved, fixed_points=points, moving_points=points + np.array([2, 0, 0])
        ),
    )
    similarity = {"dice_mean", "dice", "hd95_mm", "tre_mm", "lncc", "overlap_percent"}
    regularity = {"folding_percent", "ndv_percent", "jacobian", "displacement_mm", "inverse_consistency_mm"}
    assert set(result["before"]) == similarity
    assert set(result["after"]) == similarity | regularity
    assert result["before"]["dice"] == {"1": pytest.approx(5 / 6), "4": 0.0}
    assert result["before"]["hd95_mm"]["4"] is None
    assert result["after"]["dice"]["1"] == 1.0
    assert result["before"]["tre_mm"]["mean"] == pytest.approx(2)
    assert result["after"]["tre_mm"]["mean"] == pytest.approx(0, abs=1e-5)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["before"]["overlap_percent"] == 100.0
    assert result["after"]["overlap_percent"] == pytest.approx(100 * 11 / 12)  # a plane has left the moving image
    given = evaluate(fixed=still, warped=labels, annotations=Annotations(fixed_labels=labels))
    assert given["after"]["lncc"] == pytest.approx(1.0)
    assert "before" not in given


def test_report_of_a_thin_field_has_no_jacobian():
    after = evaluate(displacement=Field(np.zeros((8, 8, 2, 3)), np.eye(4)))["after"]
    assert set(after) == {"displacement_mm"}


@pytest.mark.gpu
def test_a_gpu_measures_what_the_cpu_measures():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = np.random.default_rng(0)
    shape = (20, 24, 28)
    fixed, moving = (MaskedVolume.whole(Volume(rng.normal(size=shape).astype(np.float32), OBLIQUE)) for _ in range(2))
    fields = [Field(rng.normal(scale=2.0, size=(*shape, 3)), OBLIQUE) for _ in range(2)]
    given = {"displacement": fields[0], "inverse": fields[1], "fixed": fixed, "moving": moving}
    for mask in (None, Volume(box(shape, (2, 2, 2), (15, 20, 20)), OBLIQUE)):
        annotations = Annotations(fixed_mask=mask)
        on_cpu, on_gpu = (
            evaluate(**given, annotations=annotations, device=torch.device(name))["after"] for name in ("cpu", "cuda")
        )
        assert on_cpu.keys() == on_gpu.keys()
        for name, value in on_cpu.items():
            parts = value if isinstance(value, dict) else {"": value}
            found = on_gpu[name] if isinstance(value, dict) else {"": on_gpu[name]}
            assert found == {key: pytest.approx(part, rel=1e-4, abs=1e-5) for key, part in parts.items()}, name

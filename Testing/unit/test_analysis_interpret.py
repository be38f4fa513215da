"""What maps tell, on displacements and weights that were made to tell it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from SPRCore.analysis.interpret import (
    boundary_jumps,
    gradient_map,
    interpret,
    likely_weight,
    rank_correlation,
    variance_map,
)
from SPRCore.analysis.rows import BenchmarkRow
from SPRCore.analysis.structures import correlation_table, structure_table
from SPRCore.geometry import Field, Volume
from SPRCore.regularization import BetaPrior

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
SHAPE = (16, 12, 8)


@pytest.fixture
def sliding():
    """Two halves of an image that slide along each other by 4 mm, and a weight that is low between them."""
    displacement, labels, weight = (
        np.zeros((*SHAPE, 3), np.float32),
        np.ones(SHAPE, np.uint8),
        np.ones(SHAPE, np.float32),
    )
    displacement[8:, ..., 1] = 4.0
    labels[8:] = 2
    weight[7:9] = 0.25
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32) + 0.5
    return Field(displacement, AFFINE), Volume(labels, AFFINE), Volume(weight, AFFINE), Volume(image, AFFINE)


def test_a_jump_is_found_where_it_is(sliding):
    field, labels, weight, _ = sliding
    found = boundary_jumps(field, labels, weight)
    assert found["across"] == pytest.approx(4.0 / 2.0)  # mm of displacement per mm of distance
    assert found["within"] == 0
    assert found["weight_across"] == pytest.approx(0.25)
    assert found["weight_within"] > 0.8
    assert boundary_jumps(field, labels.with_array(np.ones(SHAPE, np.uint8))) == {}


def test_the_change_per_mm_is_that_of_the_energy(sliding):
    change = gradient_map(sliding[0])
    # One of nine derivatives is 2 over the edge, which both of its voxels share.
    np.testing.assert_allclose(change[7:9], np.sqrt(4.0 / 9 / 2), rtol=1e-5)
    assert not change[:7].any()
    assert not change[9:].any()


def test_the_local_variance_by_hand(sliding):
    variance = variance_map(sliding[0], radius=1)
    # A window of three planes across the wall holds two of one side: 16 * (2/3) * (1/3).
    np.testing.assert_allclose(variance[7, 1:-1, 1:-1], 16 * 2 / 9, rtol=1e-5)
    np.testing.assert_allclose(variance[2], 0, atol=1e-6)


def test_the_weight_goes_with_the_deformation(sliding):
    field, labels, weight, image = sliding
    found = interpret(field, weight, image, labels, BetaPrior(alpha=0.1, lambda_max=1.0))
    assert found["correlation"]["gradient"] < -0.8
    assert found["correlation"]["variance"] < -0.4
    assert found["structures"]["2"]["displacement_mm"]["mean"] == pytest.approx(4.0)
    assert found["structures"]["1"]["jacobian"]["median"] == pytest.approx(1.0)
    assert found["structures"]["1"]["voxels"] == np.prod(SHAPE) // 2
    assert found["weight"]["mean"] == pytest.approx(0.25 * 2 / 16 + 14 / 16, abs=0.02)
    exact = interpret(
        field, Volume(likely_weight(field, BetaPrior(alpha=0.1)), AFFINE), image, None, BetaPrior(alpha=0.1)
    )
    assert exact["weight"]["map_gap"] == 0
    assert "structures" not in exact


def test_a_method_without_a_weight_still_has_structures(sliding):
    field, labels, _, image = sliding
    found = interpret(field, None, image, labels)
    assert set(found) == {"structures", "boundary"}
    assert "weight" not in found["structures"]["1"]


def test_thin_images_have_no_jacobian(sliding):
    field, labels, _, image = sliding
    thin = [Volume(v.array[..., :2], AFFINE) for v in (labels, image)]
    found = interpret(Field(field.array[..., :2, :], AFFINE), None, thin[1], thin[0])
    assert "jacobian" not in found["structures"]["1"]


def test_rank_correlation():
    values = np.arange(100.0)
    assert rank_correlation(values, values**3) == pytest.approx(1.0)
    assert rank_correlation(values, np.exp(-values / 20)) == pytest.approx(-1.0)
    assert rank_correlation(values, np.ones(100)) is None
    many = np.random.default_rng(0).random((2, 200_000))
    assert abs(rank_correlation(*many)) < 0.03


def test_tables_over_subjects(sliding):
    field, labels, weight, image = sliding
    maps = interpret(field, weight, image, labels, BetaPrior())
    row = BenchmarkRow(pair="1", subject="a", method="spr", maps=maps)
    rows = [row, replace(row, pair="2"), replace(row, pair="3", subject="b")]
    structures = structure_table(rows, {"1": "left", "2": "right"})
    assert structures.header == ("method", "quantity", "left", "right")
    assert [cell.text for cell in structures.body[1]] == [
        "spr",
        "mean displacement, mm",
        "0.000 ± 0.000",
        "4.000 ± 0.000",
    ]
    related = correlation_table(rows)
    assert related.body[0][0].text == "spr"
    assert "jumps across boundaries over within" in related.header
    assert correlation_table([replace(row, maps={})]) is None
    assert structure_table([replace(row, maps={})]) is None

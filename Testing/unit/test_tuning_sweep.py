"""Grids, and what a sweep measures: the same as a whole registration, in less time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from SPRCore.analysis.methods import parse_methods
from SPRCore.analysis.rows import SurfacePoint
from SPRCore.cli.sweep import best_words
from SPRCore.errors import InputError
from SPRCore.geometry import Field, MaskedVolume, Volume, compose_affine
from SPRCore.geometry.annotations import Annotations
from SPRCore.io import write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.io.pairs import LoadedPair
from SPRCore.metrics import evaluate, folding_percent, ndv_percent
from SPRCore.registration import LoadedModel, register_network
from SPRCore.synthetic import beating_heart
from SPRCore.tuning.axes import RANGES, STEPS, Axis, grid, grid_axes, trained_ends
from SPRCore.tuning.evaluator import Evaluator, LabelOverlap
from SPRCore.tuning.ready import ready, setting_prior
from SPRCore.tuning.regularity import MAX_DIFFERENCE, folding_and_ndv

CPU = torch.device("cpu")


@pytest.fixture
def hyper(tmp_path, tiny_network, card_for):
    """A hyper model of alpha and lambda_max: its method, and the model itself."""
    network = tiny_network("hyper-vxm-spr-small")
    card = card_for(
        network,
        name="tiny",
        defaults={"alpha": 0.1, "lambda_max": 1.0},
        ranges={"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)},
    )
    path = tmp_path / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    return parse_methods([str(path)])[0], LoadedModel.read(path, CPU)


@pytest.fixture(scope="module", params=[(0.0, 0.0, 0.0), (2.0, -1.5, 1.0)], ids=["one grid", "two grids"])
def phantom(request):
    """A small heart with labels and landmarks, the moving image perhaps on a grid of its own."""
    made = beating_heart(shape=(28, 24, 20), spacing=(5.0, 5.5, 6.0))
    shifted = made.moving.affine.copy()
    shifted[:3, 3] += request.param
    parts = {name: Volume(getattr(made, name).array, shifted) for name in ("moving", "moving_labels")}
    marked = Annotations(
        fixed_labels=made.fixed_labels,
        moving_labels=parts["moving_labels"],
        fixed_points=made.fixed_points,
        moving_points=made.moving_points,
    )
    images = {"fixed": made.fixed, "moving": parts["moving"]}
    return LoadedPair(**{name: MaskedVolume.whole(image) for name, image in images.items()}, annotations=marked)


def test_a_sweep_measures_what_a_registration_measures(hyper, phantom):
    method, model = hyper
    pair = ready(phantom, method, model, "none", CPU)
    evaluator = Evaluator(pair, phantom.annotations)
    for setting in ({"alpha": 0.0, "lambda_max": 0.0}, {"alpha": 0.4, "lambda_max": 2.5}):
        prior = setting_prior(method, setting)
        found = evaluator.measure(pair.solve(prior), prior)
        whole = register_network(phantom.fixed, phantom.moving, model.network, model.card, prior=prior)
        after = evaluate(
            displacement=whole.displacement, fixed=phantom.fixed, moving=phantom.moving, annotations=phantom.annotations
        )["after"]
        assert found["dice"] == pytest.approx(after["dice"], abs=0.003)
        assert found["dice_mean"] == pytest.approx(after["dice_mean"], abs=0.002)
        assert found["tre_mm"] == pytest.approx(after["tre_mm"]["mean"], abs=1e-3)
        if phantom.moving.grid.matches(phantom.fixed.grid):  # else the moving image is interpolated once more
            assert found["lncc"] == pytest.approx(after["lncc"], abs=1e-3)
        assert found["folding_percent"] == pytest.approx(after["folding_percent"], abs=1e-6)
        assert found["ndv_percent"] == pytest.approx(after["ndv_percent"], abs=1e-5)
        assert found["weight_mean"] == pytest.approx(whole.weight.array.mean(), abs=1e-5)
        assert found["map_gap"] > 0


def test_labels_are_read_after_the_alignment(hyper, phantom):
    method, model = hyper
    pair = ready(phantom, method, model, "center", CPU)
    assert pair.affine_ras is not None
    prior = setting_prior(method, {"alpha": 0.2})
    found = Evaluator(pair, phantom.annotations).measure(pair.solve(prior), prior)
    whole = register_network(
        phantom.fixed, phantom.moving, model.network, model.card, prior=prior, affine_ras=pair.affine_ras
    )
    total = compose_affine(whole.displacement, pair.affine_ras)
    after = evaluate(displacement=total, annotations=phantom.annotations)["after"]
    assert found["dice_mean"] == pytest.approx(after["dice_mean"], abs=0.002)
    assert found["tre_mm"] == pytest.approx(after["tre_mm"]["mean"], abs=1e-3)


@pytest.mark.parametrize("align", ["none", "center"])
@pytest.mark.parametrize("length", [0.01, 1.5, 12.0])
def test_labels_outside_of_the_box_that_is_looked_at_do_not_count(
    hyper, phantom, random_displacement, monkeypatch, align, length
):
    pair = ready(phantom, *hyper, align, CPU)
    displacement = random_displacement(pair.grid.shape, length=length, dtype=torch.float32)
    labels = LabelOverlap.of(pair, phantom.annotations)
    box = labels.region(displacement)
    found = labels.overlap(displacement)
    monkeypatch.setattr(LabelOverlap, "region", lambda *_: (slice(None),) * 3)
    assert found == labels.overlap(displacement)
    if length < 3:
        assert np.prod([part.stop - part.start for part in box]) < np.prod(pair.grid.shape)


def test_without_any_label_there_is_no_overlap(hyper, phantom):
    pair = ready(phantom, *hyper, "none", CPU)
    empty = Volume(np.zeros_like(phantom.annotations.fixed_labels.array), pair.grid.affine)
    labels = LabelOverlap.of(pair, Annotations(fixed_labels=empty, moving_labels=empty))
    assert labels.overlap(torch.zeros(1, 3, *pair.grid.shape)) == {}


def test_the_instance_solver_is_ready_too(phantom):
    method = parse_methods(["instance"])[0]
    pair = ready(phantom, method, None, "none", CPU)
    evaluator = Evaluator(pair, phantom.annotations)
    priors = (setting_prior(method, {"alpha": 0.1, "lambda_max": value}) for value in (1, 500))
    soft, stiff = (evaluator.measure(pair.solve(prior), prior) for prior in priors)
    assert soft["lncc"] > stiff["lncc"]
    assert soft["dice_mean"] > stiff["dice_mean"]
    assert soft["map_gap"] is None
    assert 0 < soft["weight_mean"] <= 1


@pytest.mark.parametrize("start", [1, 14, 20])
@pytest.mark.parametrize("length", [0.5, 3.0, 9.0])
def test_regularity_is_that_of_the_metrics(random_displacement, length, start):
    displacement = random_displacement((24, 20, 16), seed=3, length=length, sigma=2.0, dtype=torch.float32)
    displacement[:, :, :start] *= 0.02  # a calm part
    field = Field.from_tensor_vox(displacement, np.eye(4))
    assert folding_and_ndv(displacement) == pytest.approx((folding_percent(field), ndv_percent(field)), rel=1e-3)


def test_what_is_calm_cannot_fold(random_displacement):
    displacement = random_displacement((16, 16, 16), seed=5, sigma=0.5, dtype=torch.float32)
    steps = [torch.diff(displacement[0], dim=axis + 1).norm(dim=0).max() for axis in range(3)]
    calm = displacement * (0.999 * MAX_DIFFERENCE / max(steps))
    field = Field.from_tensor_vox(calm, np.eye(4))
    assert folding_and_ndv(calm) == (0.0, 0.0)
    assert (folding_percent(field), ndv_percent(field)) == (0.0, 0.0)


def test_regularity_within_a_mask(random_displacement):
    displacement = random_displacement((16, 14, 12), seed=4, length=6.0, sigma=1.5, dtype=torch.float32)
    inside = np.zeros((16, 14, 12), dtype=np.uint8)
    inside[4:9, 3:8, 2:9] = 1
    field, mask = Field.from_tensor_vox(displacement, np.eye(4)), Volume(inside, np.eye(4))
    assert folding_and_ndv(displacement, mask) == (folding_percent(field, mask), ndv_percent(field, mask))


def test_axes(hyper):
    method, _ = hyper
    alpha, lambda_max = grid_axes(method, {}, None, 4)
    assert alpha.values == (0.0, 0.24, 0.48, 0.72)  # to 1.2 times the maxima of the training
    assert lambda_max.values == (0.0, 1.2, 2.4, 3.6)
    assert grid([alpha, lambda_max])[1] == {"alpha": 0.0, "lambda_max": 1.2}
    alpha, lambda_max = grid_axes(method, {}, "heart", 4)
    assert (len(alpha.values), len(lambda_max.values)) == (61, 61)  # the paper's 0.012 and 0.06, 51 to the maxima
    assert alpha.values[:3] == (0.0, 0.012, 0.024)
    assert STEPS["brain"] == {"alpha": 0.004, "lambda_max": 0.1, "lambda": 0.01}
    written = grid_axes(method, {"alpha": "0.1:0.3:0.1", "lambda_max": "1.5"}, None, 4)
    assert [axis.values for axis in written] == [(0.1, 0.2, 0.3), (1.5,)]
    assert grid_axes(method, {"alpha": "0:0.3"}, None, 4)[0].values == (0.0, 0.1, 0.2, 0.3)


def test_the_best_setting_says_if_it_is_beyond_training(hyper):
    method, _ = hyper
    assert trained_ends(method) == {"alpha": 0.6, "lambda_max": 3.0}
    settings = ({"alpha": 0.1, "lambda_max": 3.0}, {"alpha": 0.1, "lambda_max": 3.6})
    points = [
        SurfacePoint(pair="p", subject="s", method="m", model="", setting=setting, dice_mean=0.7 + 0.1 * place)
        for place, setting in enumerate(settings)
    ]
    words = best_words(points, trained_ends(method))
    assert words == "best mean Dice: 0.8000 at alpha 0.1, lambda_max 3.6 (beyond training, which ended at lambda_max 3)"
    assert "beyond" not in best_words(points[:1], trained_ends(method))
    assert "beyond" not in best_words(points)
    assert trained_ends(parse_methods(["instance"])[0]) == {}


def test_axes_of_the_instance_solver():
    instance, uniform = (parse_methods([text])[0] for text in ("instance", "uniform"))
    assert grid_axes(instance, {}, "heart", 5)[0].values[-1] == RANGES["heart"]["alpha"][1]
    assert len(grid_axes(uniform, {}, "heart", 5)[0].values) == 101
    assert [axis.name for axis in grid_axes(instance, {"lambda_max": "1:2:0.5"}, None, 5)] == ["lambda_max"]
    with pytest.raises(InputError, match="nothing to vary"):
        grid_axes(instance, {}, None, 5)
    # The paper has neither ranges nor steps of the total-variation prior.
    (variation,) = parse_methods(["instance@tv=0.3"])
    tv, lambda_max = grid_axes(variation, {}, "heart", 5)
    assert (tv.values[0], tv.values[-1], len(tv.values)) == (0.02, 2.0, 5)
    assert (lambda_max.values[0], lambda_max.values[-1], len(lambda_max.values)) == (1.0, 100.0, 5)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"sigma": "0:1"}, "got 'sigma'"),
        ({"alpha": "a:b"}, "got 'a:b'"),
        ({"alpha": "1:0:0.1"}, "rising"),
        ({"alpha": "0:1:1e-9"}, "larger step"),
        ({"alpha": "0:1:2:3"}, "LOW:HIGH:STEP"),
    ],
)
def test_what_is_no_axis(hyper, written, words):
    with pytest.raises(InputError, match=words):
        grid_axes(hyper[0], written, None, 4)


def test_values_are_those_that_one_would_write():
    assert Axis.stepped("alpha", 0.0, 0.6, 0.1).values == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def test_a_model_of_one_setting_has_no_grid(tmp_path, tiny_network, card_for):
    network = tiny_network("vxm-spr-small")
    path = tmp_path / "one.sprmodel.safetensors"
    write_bundle(Bundle(card=card_for(network, name="one"), tensors=dict(network.state_dict())), path)
    with pytest.raises(InputError, match="one setting"):
        grid_axes(parse_methods([str(path)])[0], {}, None, 4)

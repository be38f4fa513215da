"""Figures of a report from stored numbers: what they show, and that nothing lies over anything."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from SPRCore.analysis.figures import save_figure
from SPRCore.analysis.optima import optima_table
from SPRCore.analysis.pair_figures import boundary_figure, likely_weight_figure, methods_figure, weight_figure
from SPRCore.analysis.plots import dice_figure, weights_figure
from SPRCore.analysis.prior_figures import rows_prior_figure
from SPRCore.analysis.report import PAGE, write_figures, write_page, write_tables
from SPRCore.analysis.rows import BenchmarkRow, SurfacePoint
from SPRCore.analysis.saved_pairs import SavedPair, SavedResult
from SPRCore.analysis.settings_figure import settings_figure
from SPRCore.analysis.studies import study_figure
from SPRCore.analysis.surfaces import surface_of, sweep_figure
from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume


def point(pair="a", value=0.7, method="hyper", **setting):
    dice = {"1": value + 0.1, "2": value - 0.1}
    fields = {"dice": dice, "dice_mean": value, "lncc": 0.5, "folding_percent": 0.1}
    return SurfacePoint(pair=pair, subject=pair, method=method, setting=setting, **fields)


def surface_points(alphas=(0.0, 0.1, 0.2, 0.3), strengths=(0.5, 1.0, 2.0)):
    """Points of two pairs that are best at alpha 0.2 and lambda_max 1."""
    return [
        point(pair, 0.8 - (a - 0.2) ** 2 - 0.1 * (s - 1) ** 2 - 0.1 * (pair == "b"), alpha=a, lambda_max=s)
        for pair in "ab"
        for a in alphas
        for s in strengths
    ]


def texts(figure):
    """All that a figure says."""
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
        found += [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return found


def check(figure, path):
    """A figure can be saved, and no two of its panels overlap."""
    save_figure(figure, path)
    assert path.stat().st_size > 10_000
    boxes = [axes.get_window_extent() for axes in figure.axes if axes.axison]
    for place, box in enumerate(boxes):
        for other in boxes[place + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            up = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(across, up) <= 1


def test_a_surface_is_the_mean_over_pairs():
    surface = surface_of(surface_points())
    assert surface.names == ("alpha", "lambda_max")
    assert surface.values.shape == (4, 3)
    assert surface.best == (2, 1)
    assert surface.values[2, 1] == pytest.approx(0.75)
    assert surface.pairs == 2


def test_a_setting_that_some_pairs_lack_is_no_mean():
    surface = surface_of(surface_points()[:-1])
    assert np.isnan(surface.values[3, 2])
    assert surface.best == (2, 1)


def test_lower_is_better_for_folding():
    points = [point(alpha=a, lambda_max=1.0) for a in (0.0, 1.0)]
    points = [SurfacePoint(**{**vars(p), "folding_percent": f}) for p, f in zip(points, (0.3, 0.1), strict=True)]
    surface = surface_of(points, "folding_percent")
    assert surface.names == ("alpha",)
    assert surface.best == (1,)
    assert surface_of(points, "tre_mm") is None


def test_points_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match="several models"):
        surface_of([point(alpha=0.1), point(alpha=0.1, method="other")])


def test_surfaces(tmp_path):
    figure = sweep_figure(surface_points())
    check(figure, tmp_path / "f.png")
    assert any("best mean Dice 0.750" in text for text in texts(figure))
    assert any("outlined" in text for text in texts(figure))
    assert "folded voxels, %: 0.1 everywhere" in figure.get_suptitle()
    assert not any(axes.get_title() == "folded voxels, %" for axes in figure.axes)
    flat = sweep_figure([point(value=0.7 + 0.001 * a, alpha=a, lambda_max=s) for a in (0.0, 1.0) for s in (1.0, 2.0)])
    assert any("all within 0.005 of the best" in text for text in texts(flat))


def test_settings_beyond_the_training_are_marked(tmp_path):
    inside, beyond = ([dataclasses.replace(p, trained={"alpha": top}) for p in surface_points()] for top in (0.3, 0.15))
    assert "dashed" not in sweep_figure(inside).get_suptitle()
    figure = sweep_figure(beyond)
    check(figure, tmp_path / "f.png")
    assert "dashed: maximum of the training" in figure.get_suptitle()
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in dashed] == [[0.15, 0.15]]
    curve = [dataclasses.replace(point(**{"lambda": x}), trained={"lambda": 1.0}) for x in (0.5, 1.0, 1.2)]
    assert "dashed: maximum of the training" in sweep_figure(curve).get_suptitle()


def test_curves(tmp_path):
    points = [point(p, 0.7 - (x - 0.6) ** 2, **{"lambda": x}) for p in "ab" for x in np.linspace(0, 1, 11).tolist()]
    figure = sweep_figure(points, {"1": "RV", "2": "LV"})
    check(figure, tmp_path / "f.png")
    dice = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in dice.lines}
    np.testing.assert_allclose(lines["RV"][6], 0.8)
    np.testing.assert_allclose(lines["mean"][0], 0.7 - 0.36)


def test_a_sweep_without_a_point_has_no_figure():
    assert sweep_figure([]) is None


def trial(number, value, state="complete", **params):
    return {"number": number, "params": params, "value": value, "state": state}


def test_infeasible_trials_are_marked_and_not_the_best(tmp_path):
    trials = [trial(n, 0.7 + 0.01 * n, alpha=0.1 * n, lambda_max=1.0 + n % 3) | {"infeasible": n > 3} for n in range(6)]
    figure = study_figure({"trials": trials, "objective": "dice", "direction": "maximize"})
    check(figure, tmp_path / "f.png")
    assert "best Dice 0.7300" in figure.get_suptitle()
    assert "folds too much" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    none = study_figure({"trials": [one | {"infeasible": True} for one in trials], "objective": "dice"})
    assert "none below the folding limit" in none.get_suptitle()


def test_a_study(tmp_path):
    trials = [trial(n, 0.7 + 0.01 * n, alpha=0.1 * n, lambda_max=1.0 + n) for n in range(5)]
    trials += [trial(5, None, "pruned", alpha=0.3, lambda_max=2.0), trial(6, None, "failed", alpha=0.2, lambda_max=1.0)]
    study = {
        "trials": trials,
        "objective": "dice",
        "direction": "maximize",
        "importances": {"alpha": 0.8, "lambda_max": 0.2},
    }
    figure = study_figure(study | {"tolerance": {"alpha": [0.3, 0.4], "lambda_max": [4.0, 5.0]}})
    check(figure, tmp_path / "f.png")
    assert "7 trials: best Dice 0.7400" in figure.get_suptitle()
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert {"pruned", "failed", "completed", "best"} <= set(legend)
    assert any("80 %" in text for text in texts(figure))


def test_trials_have_a_surface_and_wide_ranges_a_logarithmic_axis(tmp_path):
    rng = np.random.default_rng(0)
    trials = [
        trial(n, float(rng.random()), alpha=float(10 ** -(3 * rng.random())), lambda_max=1.0 + n) for n in range(8)
    ]
    ranges = {"alpha": [0.001, 1.0], "lambda_max": [0.8, 10.0]}
    figure = study_figure({"trials": trials, "direction": "maximize", "objective": "dice", "ranges": ranges})
    check(figure, tmp_path / "f.png")
    panel = figure.axes[0]
    assert (panel.get_xscale(), panel.get_yscale()) == ("log", "linear")
    shown = next(part for part in panel.collections if isinstance(part, QuadMesh)).get_array()
    values = [each["value"] for each in trials]
    assert min(values) <= shown.min() < shown.max() <= max(values)
    assert 0.1 < shown.mask.mean() < 0.9  # nothing is said beyond the trials
    corner = min(trials, key=lambda each: each["params"]["lambda_max"])
    np.testing.assert_allclose(shown[0].compressed(), corner["value"], atol=0.02)
    one_line = [each | {"params": {"alpha": 0.1, "lambda_max": each["params"]["lambda_max"]}} for each in trials]
    assert not any(isinstance(part, QuadMesh) for part in study_figure({"trials": one_line}).axes[0].collections)


def test_a_study_that_minimizes_one_parameter(tmp_path):
    trials = [trial(n, 3.0 - n, **{"lambda": float(n)}) for n in range(3)]
    figure = study_figure({"trials": trials, "direction": "minimize", "objective": "tre"})
    check(figure, tmp_path / "f.png")
    assert "landmark error, mm 1.0000" in figure.get_suptitle()


def test_a_study_without_a_trial_is_refused():
    with pytest.raises(InputError, match="no trial"):
        study_figure({"trials": [trial(0, None, "pruned", alpha=0.1)]})


def rows(labels=3, methods=("spr", "uniform")):
    rng = np.random.default_rng(0)
    names = [str(label) for label in range(1, labels + 1)]

    def dice():
        return {name: float(rng.uniform(0.4, 0.9)) for name in names}

    part = {key: {"mean": 1.0, "median": 1.0} for key in ("weight", "displacement_mm", "jacobian")}
    maps = {"structures": {name: part for name in ("0", *names)}}
    return [
        BenchmarkRow(pair=str(n), subject=str(n), method=m, before={"dice": dice()}, after={"dice": dice()}, maps=maps)
        for m in methods
        for n in range(6)
    ]


@pytest.mark.parametrize("labels", [1, 40])
def test_boxes(tmp_path, labels):
    figure = dice_figure(rows(labels), {"1": "RV"})
    check(figure, tmp_path / "f.png")
    assert "RV" in texts(figure)
    handles = [text.get_text() for text in figure.legends[0].get_texts()]
    assert handles == ["before", "spr", "uniform"]
    check(weights_figure(rows(labels)), tmp_path / "w.png")


def test_the_boxes_hold_the_numbers():
    found = rows(1, ("spr",))
    medians = {
        float(line.get_ydata()[0]) for line in dice_figure(found).axes[0].lines if len(set(line.get_ydata())) == 1
    }
    assert any(np.isclose(np.median([row.after["dice"]["1"] for row in found]), value) for value in medians)


def test_rows_without_labels_have_no_boxes():
    bare = [BenchmarkRow(pair="1", subject="1", method="m", after={"lncc": 0.5})]
    assert dice_figure(bare) is None
    assert weights_figure(bare) is None


@pytest.fixture(params=[(20, 18, 16), (30, 24, 3)])
def kept(request):
    """A pair with labels, and what a method with a weight and one without made of it."""
    rng, affine = np.random.default_rng(0), np.diag([2.0, 2.0, 3.0, 1.0])

    def image(**options):
        return Volume(rng.random(request.param, dtype=np.float32) + 0.2, affine)

    labels = Volume((image().array > 0.8).astype(np.uint8), affine)
    shared = {"metrics": {"before": {}, "after": {"dice_mean": 0.75, "folding_percent": 0.0}}, "warped_labels": labels}

    def method(name, weight, setting):
        field = Field(rng.standard_normal((*request.param, 3)).astype(np.float32), affine)
        return SavedResult(method=name, setting=setting, warped=image(), displacement=field, weight=weight, **shared)

    weight = Volume(rng.random(request.param, dtype=np.float32), affine)
    methods = (method("spr", weight, {"prior": "beta", "alpha": 0.1, "lambda_max": 1.0}), method("demons", None, {}))
    images = {"fixed": image(), "moving": image(), "fixed_labels": labels, "moving_labels": labels}
    return SavedPair(pair="one, there", **images, methods=methods)


def test_figures_of_a_pair(kept, tmp_path):
    for name, figure in (
        ("methods", methods_figure(kept)),
        ("boundaries", boundary_figure(kept)),
        ("weight", weight_figure(kept, kept.methods[0])),
    ):
        check(figure, tmp_path / f"{name}.png")
    assert any("Dice 0.750" in text for text in texts(methods_figure(kept)))
    assert "no weight" in texts(boundary_figure(kept))
    save_figure(likely_weight_figure(kept, kept.methods[0]), tmp_path / "likely.png")


def test_the_weight_lies_over_deformation_and_spread(kept):
    figure = weight_figure(kept, kept.methods[0])
    titles = [axes.get_title().strip() for axes in figure.axes if axes.images]
    assert len(titles) == 6
    assert titles[3:] == ["weight", "weight on deformation", "weight on spread"]
    over = figure.axes[4]
    weight = figure.axes[3].images[-1].get_array()
    np.testing.assert_array_equal(over.images[-1].get_array(), weight)
    assert over.collections  # the lines of the grid


def test_the_priors_of_the_methods(tmp_path):
    settings = {
        "a": {"prior": "beta", "alpha": 0.5, "lambda_max": 1.0},
        "b": {"prior": "beta", "alpha": 0.5, "lambda_max": 3.0},
        "c": {"prior": "gaussian", "sigma": 1.0, "lambda_mean": 2.0},
        "d": {"prior": "uniform", "lambda": 1.0},
        "e": {"metric": "CC"},
    }
    made = [BenchmarkRow(pair="1", subject="1", method=name, setting=setting) for name, setting in settings.items()]
    figure = rows_prior_figure(made)
    check(figure, tmp_path / "f.png")
    beta, gaussian, log_beta, _ = figure.axes
    (curve,) = beta.lines  # both methods have this setting
    assert curve.get_label().splitlines()[1:] == ["a", "b"]
    weight, density = curve.get_data()
    np.testing.assert_allclose(density, 1.5 * np.sqrt(weight), rtol=1e-6)  # (alpha' + 1) w^alpha'
    np.testing.assert_allclose(log_beta.lines[0].get_ydata(), np.log(density))
    assert gaussian.lines[0].get_label().endswith("c")
    assert rows_prior_figure(made[3:]) is None


def test_a_figure_of_a_weight_that_is_not_there(kept):
    with pytest.raises(ValueError, match="demons has no weight"):
        weight_figure(kept, kept.methods[1])


@pytest.mark.parametrize("kept", [(20, 18, 16)], indirect=True)
def test_a_page_shows_every_figure(kept, tmp_path):
    figures = write_figures(tmp_path, rows=rows(), kept=[kept], points=surface_points(), names={"1": "RV"})
    write_page(tmp_path, figures, "spr report")
    page = (tmp_path / PAGE).read_text()
    assert [path for path, _ in figures] == [
        "figures/dice.png",
        "figures/structures.png",
        "figures/one-there-methods.png",
        "figures/one-there-boundaries.png",
        "figures/one-there-spr-weight.png",
        "figures/one-there-spr-likely.png",
        "figures/sweep-hyper.png",
    ]
    assert all((tmp_path / path).is_file() and f"({path})" in page for path, _ in figures)


def test_the_figure_of_settings(kept, tmp_path):
    one, size = kept.methods[0], kept.fixed.shape
    weights = {
        (a, s): Volume(np.full(size, a + 0.1 * s, np.float32), kept.fixed.affine) for a in (0, 0.5) for s in (1, 2)
    }
    methods = tuple(
        dataclasses.replace(one, weight=weight, setting={"prior": "beta", "alpha": a, "lambda_max": s})
        for (a, s), weight in weights.items()
        if (a, s) != (0.5, 2)  # one of them was not computed
    )
    figure = settings_figure(dataclasses.replace(kept, methods=methods))
    check(figure, tmp_path / "f.png")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 2 * 3
    said = " ".join(texts(figure))
    for words in ("mean 0.10", "mean 0.60", "mean 0.20", "Dice 0.750", "spatial coherence", "strength", "mm apart"):
        assert words in said
    assert "beyond" not in said
    marked = settings_figure(dataclasses.replace(kept, methods=methods), trained={"alpha": 0.5, "lambda_max": 1.5})
    assert "beyond the training" in marked.get_suptitle()
    labels = [axes.get_ylabel() for axes in marked.axes if axes.get_ylabel()]
    assert sum("\N{DAGGER}" in label for label in labels) == 1  # lambda_max 2 alone
    boxes = {axes.get_title(): axes.get_window_extent() for axes in shown if "mean" in axes.get_title()}
    assert boxes["mean 0.60"].x0 > boxes["mean 0.10"].x0, "alpha rises to the right"
    assert boxes["mean 0.20"].y0 > boxes["mean 0.10"].y0, "lambda_max rises upward"


def test_the_figure_of_settings_without_a_weight(kept, tmp_path):
    demons = kept.methods[1]
    methods = tuple(dataclasses.replace(demons, setting={"lambda": value}) for value in (1e-6, 1.0, 2.0))
    figure = settings_figure(dataclasses.replace(kept, methods=methods))
    check(figure, tmp_path / "f.png")
    assert len([axes for axes in figure.axes if axes.images]) == 3
    assert any(axes.get_xlabel().startswith(r"$\lambda$ 0" + "\n") for axes in figure.axes)
    with pytest.raises(InputError, match="0 hyperparameters that vary"):
        settings_figure(dataclasses.replace(kept, methods=methods[:1]))
    with pytest.raises(InputError, match="2 methods"):
        settings_figure(kept)


def test_the_table_of_optima(tmp_path):
    study = {
        "name": "s",
        "target": "instance",
        "objective": "dice",
        "best": 1,
        "trials": [
            trial(0, 0.7, alpha=0.1, lambda_max=1.0),
            trial(1, 0.8, alpha=0.25, lambda_max=2.0),
            trial(2, None, "pruned", alpha=0.3, lambda_max=2.0),
        ],
        "importances": {"alpha": 0.8, "lambda_max": 0.2},
        "tolerance": {"alpha": [0.2, 0.3]},
    }
    points = [*surface_points(), *(point(value=0.5 + x, method="u", **{"lambda": x}) for x in (0.1, 0.102, 0.2))]
    table = optima_table([study, study | {"best": None}], points)
    lines = [dict(zip(table.header, (cell.text for cell in line), strict=True)) for line in table.body]
    assert [line["tuned"] for line in lines] == ["instance", "hyper", "u"]
    assert lines[0]["search"] == "s: 2 complete, 1 pruned"
    assert (lines[0]["alpha"], lines[0]["lambda_max"]) == ("0.25 (0.2 to 0.3); 80 %", "2; 20 %")
    assert (lines[1]["best"], lines[1]["alpha"], lines[1]["lambda_max"]) == ("0.7500", "0.2", "1")
    assert lines[1]["search"] == "grid of 12 on 2 pairs"
    assert (lines[2]["lambda"], lines[2]["alpha"]) == ("0.2", "")
    assert optima_table([], []) is None
    near = optima_table([], [point(value=v, alpha=a) for a, v in ((0.1, 0.7), (0.2, 0.703), (0.3, 0.69))])
    assert near.body[0][-1].text == "0.2 (0.1 to 0.2)"
    write_tables([], tmp_path, studies=[study])
    assert "0.25 (0.2 to 0.3)" in (tmp_path / "table.md").read_text()

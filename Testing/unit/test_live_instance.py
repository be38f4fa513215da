"""Live sessions of instance optimization: previews and exact replies against cold runs, and the grid of previews."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_sessions import SHAPE, WANTED, apart_vox, opened, replies

from SPRCore import BetaPrior, Field, RegistrationOptions, TotalVariationPrior, register
from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.live.preview_grid import PreviewPyramid
from SPRCore.registration import InstanceConfig
from SPRCore.registration.instance import normalized
from SPRCore.registration.job import make_job
from SPRCore.registration.pair import problem_of, to_world

TURNED = np.array([[0.98, -0.03, 0, 1.5], [0.03, 0.99, 0, -1.0], [0, 0.02, 1.01, 0.5], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "options",
    [{}, {"init": "center"}, {"stiffness": 5.0}, {"masks": ["fixed"]}, {"masks": ["fixed", "moving"], "init": TURNED}],
    ids=["plain", "center", "stiffness", "mask", "masks and a matrix"],
)
def test_a_commit_equals_a_cold_run(pair, options):
    fixed, moving = pair["fixed"], pair["moving"]
    if "stiffness" in options:
        painted = np.ones(SHAPE, dtype=np.float32)
        painted[:11] = options["stiffness"]
        options = {"stiffness": fixed.with_array(painted)}
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[4:-4] = 1
    masks = {f"{side}_mask": pair[side].with_array(mask) for side in options.get("masks", ())}
    others = {name: value for name, value in options.items() if name != "masks"}
    with opened(pair, annotations=Annotations(**masks), **others) as live:
        for alpha in (0.02, 0.5, 0.1):
            live.update(alpha=alpha)
            live.improve()
        live.update(**WANTED)
        better, final = replies(live), live.commit()
    given = {"annotations": masks}
    given["options"] = RegistrationOptions(stiffness=options.get("stiffness"))
    cold = register(fixed, moving, prior=BetaPrior(**WANTED), device="cpu", init=options.get("init", "none"), **given)
    assert apart_vox(final.displacement, cold.displacement) <= 0.05
    assert apart_vox(final.inverse, cold.inverse) <= 0.05
    assert np.abs(final.weight.array - cold.weight.array).max() < 0.01
    assert final.metrics["after"]["lncc"] == pytest.approx(cold.report["metrics"]["after"]["lncc"], abs=1e-3)
    assert better[-1].exact


@pytest.mark.parametrize("similarity", ["mind", "mse"])
def test_a_session_of_another_similarity_measures_it_and_equals_a_cold_run(pair, similarity):
    channels = {"fixed_channel": pair["fixed"], "moving_channel": pair["moving"]}
    with opened(pair, annotations=Annotations(**channels), similarity=similarity) as live:
        shown = live.update(**WANTED)
        final = live.commit()
        assert live.pair.similarity == similarity
        assert live.choose().compared in (True, False)
    options = RegistrationOptions(similarity=similarity)
    given = {"prior": BetaPrior(**WANTED), "device": "cpu", "init": "none", "annotations": channels}
    cold = register(pair["fixed"], pair["moving"], options=options, **given)
    assert apart_vox(final.displacement, cold.displacement) <= 0.05
    assert final.metrics["after"][similarity] == pytest.approx(cold.report["metrics"]["after"][similarity], abs=1e-3)
    assert final.metrics["after"][similarity] > final.metrics["before"][similarity]
    assert -1 < shown.quality.similarity <= 1
    assert final.quality.similarity > 0


def test_previews_are_near_the_exact_result_and_better_ones_within_a_tenth(pair):
    with opened(pair, budget_ms=2000) as live:
        shown = [live.update(alpha=0.02, lambda_max=0.5), *replies(live)]
        assert shown[0].displacement.grid.shape == SHAPE  # so that fields can be compared voxel by voxel
    exact = shown[-1].displacement.array
    off = [float(np.linalg.norm(one.displacement.array - exact, axis=-1).mean()) for one in shown]
    motion = np.linalg.norm(exact, axis=-1).mean()
    assert off[0] < 0.5 * motion
    assert off[-2] < 0.1 * motion  # the first preview may be nearer by chance


def test_between_two_visited_settings_the_preview_is_a_flow_near_the_exact_one(pair):
    ends = {"alpha": 0.02, "lambda_max": 0.5}, {"alpha": 0.02, "lambda_max": 5.0}
    with opened(pair) as live:
        known = []
        for setting in ends:
            live.update(**setting)
            known.append(live.commit().displacement)
        at_one = live.update(lambda_max=0.50001)  # next to a visited setting
        middle = live.update(lambda_max=1.6)
        exact = live.commit().displacement
        assert middle.displacement.grid.shape == SHAPE
    assert apart_vox(at_one.displacement, known[0]) < 0.15  # integrated in fewer steps
    assert not middle.exact
    assert middle.quality.folding_percent == 0.0
    assert middle.quality.min_jacobian > 0.0
    off = [float(np.linalg.norm(one.array - exact.array, axis=-1).mean()) for one in (middle.displacement, *known)]
    assert off[0] < 0.8 * min(off[1:])


def test_a_stiffness_is_painted_and_removed(pair):
    fixed, painted = pair["fixed"], np.ones(SHAPE, dtype=np.float32)
    painted[11:] = 20.0
    with opened(pair) as live:
        live.update(**WANTED)
        plain = live.commit()
        live.set_stiffness(fixed.with_array(painted))
        preview = live.update()
        assert not preview.exact
        stiff = live.commit()
        live.set_stiffness(None)
        live.update()
        again = live.commit()
    cold = register(
        fixed,
        pair["moving"],
        prior=BetaPrior(**WANTED),
        options=RegistrationOptions(stiffness=fixed.with_array(painted)),
        init="none",
        device="cpu",
    )
    assert apart_vox(stiff.displacement, cold.displacement) <= 0.05
    assert apart_vox(again.displacement, plain.displacement) <= 0.05
    assert preview.weight.array[12:].mean() > 3 * preview.weight.array[:10].mean()
    assert stiff.weight.array[12:].mean() > 3 * plain.weight.array[12:].mean()


def test_an_invalid_stiffness_changes_nothing(pair):
    with opened(pair) as live:
        live.update(**WANTED)
        live.commit()
        with pytest.raises(InputError, match="above 0"):
            live.set_stiffness(pair["fixed"].with_array(np.zeros(SHAPE, dtype=np.float32)))
        assert live.update().exact


def test_the_total_variation_prior_equals_a_cold_run(pair):
    wanted = {"tv": 0.1, "lambda_max": 8.0}
    with opened(pair, prior="tv") as live:
        assert live.setting == {"tv": 0.3, "lambda_max": 30.0}
        assert {name: tuple(ends) for name, ends in live.ranges.items()} == {
            "tv": (0.02, 2.0),
            "lambda_max": (1.0, 100.0),
        }
        for tv in (0.05, 1.0):
            live.update(tv=tv)
        live.update(**wanted)
        previews, final = replies(live), live.commit()
        with pytest.raises(InputError, match="tv"):
            live.update(tv=0.0)
        with pytest.raises(InputError, match="alpha"):
            live.update(alpha=0.1)
        assert live.setting == wanted
    prior = TotalVariationPrior(tv=0.1, lambda_max=8.0)
    cold = register(pair["fixed"], pair["moving"], prior=prior, init="none", device="cpu")
    assert previews[-1].exact
    assert apart_vox(final.displacement, cold.displacement) <= 0.05
    assert np.abs(final.weight.array - cold.weight.array).max() < 0.01


@pytest.fixture(scope="module")
def pyramid(pair):
    """The images of the pair, from which preview grids of any voxel size are made."""
    images = (normalized(pair[name].to_tensor(), name) for name in ("fixed", "moving"))
    return PreviewPyramid(*images, pair["fixed"].grid, None, InstanceConfig())


def test_a_velocity_of_the_preview_grid_has_a_sharpness_of_zero(pyramid, random_displacement):
    preview_grid = pyramid.preview_grid(pyramid.steps()[-1])
    field = Field.from_tensor_vox(
        random_displacement(preview_grid.grid.shape, dtype=torch.float32), preview_grid.grid.affine
    )
    velocity_mm = preview_grid.velocity_mm(field)
    assert preview_grid.sharpness(field).abs().max() < 1e-3
    plain = preview_grid.closed_form(velocity_mm, BetaPrior(**WANTED))
    same = preview_grid.closed_form(velocity_mm, BetaPrior(**WANTED), torch.zeros_like(plain))
    torch.testing.assert_close(same, plain)
    varied = BetaPrior(alpha=0.001, lambda_max=5.0)
    plain = preview_grid.closed_form(velocity_mm, varied)
    sharper = preview_grid.closed_form(velocity_mm, varied, torch.ones_like(plain))
    assert (sharper <= plain).all()
    assert sharper.mean() < plain.mean(), "where the field bends more sharply it is less stiff"


def test_near_an_exact_solution_the_weight_of_a_preview_has_its_detail(pair, pyramid):
    setting = {"alpha": 0.02, "lambda_max": 2.0}
    with opened(pair, budget_ms=1e-3) as live:  # the coarsest grid
        live.update(**setting)
        exact = replies(live)[-1]
        beside = live.update(alpha=0.0202, lambda_max=2.0)
    assert not beside.exact
    preview_grid = pyramid.preview_grid(pyramid.steps()[0])
    assert preview_grid.grid.matches(beside.weight.grid)
    assert preview_grid.grid.shape != pair["fixed"].grid.shape
    prior = BetaPrior(**setting)
    job = make_job(None, pair["fixed"].grid, torch.device("cpu"), prior=prior)
    problem = problem_of(*(MaskedVolume.of(pair[name], name) for name in ("fixed", "moving")), None, job)
    velocity = to_world(problem.course(prior).completed(), pair["fixed"].grid).velocity
    blunt = preview_grid.closed_form(preview_grid.velocity_mm(velocity), prior)[0, 0].numpy()
    there = resample(exact.weight, beside.weight.grid, continued=True).array
    assert np.abs(beside.weight.array - there).mean() < 0.8 * np.abs(blunt - there).mean()

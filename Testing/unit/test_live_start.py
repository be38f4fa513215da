"""Live sessions with a discrete search or a chosen setting, compared with `register`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from SPRCore import BetaPrior, RegistrationOptions, Volume, register
from SPRCore.errors import InputError
from SPRCore.io.places import packaged_folder
from SPRCore.live import ComputationStopped, LiveOptions, LiveSession
from SPRCore.live.settings import Axes
from SPRCore.registration import InstanceConfig, instance
from SPRCore.regularization.hyperparameters import widened
from SPRCore.synthetic import sliding_thorax

WANTED = {"alpha": 0.02, "lambda_max": 20.0}
ON_CPU = {"device": "cpu", "prior": BetaPrior(**WANTED)}
SEARCHING = ON_CPU | {"options": LiveOptions(start="search")}


@pytest.fixture(scope="module")
def thorax():
    """Lungs that slide by 16 mm along fixed ribs, voxels of 5 mm."""
    phantom = sliding_thorax(shape=(40, 36, 40), spacing=(5.0, 5.0, 5.0), amplitude_mm=16.0, seed=3)
    return phantom.fixed, phantom.moving


@pytest.fixture(scope="module")
def cold(thorax):
    """The result of `register` with a search."""
    options = {"options": RegistrationOptions(config=InstanceConfig.searching()), "init": "none", "device": "cpu"}
    return register(*thorax, prior=BetaPrior(**WANTED), **options)


@pytest.fixture
def searches(monkeypatch):
    """Records the searches."""
    begun, real = [], instance.searched_velocity

    def counted(*arguments, **options):
        begun.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(instance, "searched_velocity", counted)
    return begun


def apart_mm(one, other):
    return float(np.linalg.norm(one.array - other.array, axis=-1).max())


def given_up(call, after=(1, 3, 7)):
    """Stop a call at a later check each time."""
    for calls in after:
        count = itertools.count(1)
        with pytest.raises(ComputationStopped):
            call(should_stop=lambda count=count, calls=calls: next(count) >= calls)


def test_a_commit_from_a_search_equals_a_cold_run_and_searches_once(thorax, cold, searches):
    with LiveSession.open(*thorax, **SEARCHING) as live:
        assert searches == []
        for alpha in (0.3, 0.05):
            live.update(alpha=alpha)
            live.improve()
        live.update(alpha=0.02)
        final = live.commit()
        live.set_stiffness(thorax[0].with_array(np.full(thorax[0].array.shape, 2.0, dtype=np.float32)))
        live.update(alpha=0.3)
        live.commit()
    assert len(searches) == 1
    assert apart_mm(final.displacement, cold.displacement) <= 0.05
    assert apart_mm(final.inverse, cold.inverse) <= 0.05
    assert np.abs(final.weight.array - cold.weight.array).max() < 0.01
    rest = register(*thorax, prior=BetaPrior(**WANTED), init="none", device="cpu")
    assert apart_mm(rest.displacement, cold.displacement) > 3.0, "the start makes a difference here"


def test_the_first_preview_starts_from_the_search(thorax, cold):
    first = {}
    for start in ("rest", "search"):
        with LiveSession.open(*thorax, **ON_CPU, options=LiveOptions(start=start, budget_ms=60_000)) as live:
            preview = live.update()
            assert preview.displacement.grid.shape == thorax[0].grid.shape  # comparable by voxel
            first[start] = np.linalg.norm(preview.displacement.array - cold.displacement.array, axis=-1)
            assert not preview.exact
    moves = np.linalg.norm(cold.displacement.array, axis=-1).mean()
    assert first["search"].mean() < 0.15 * moves
    assert first["search"].mean() < 0.5 * first["rest"].mean()


def test_previews_take_no_more_steps_than_the_exact_solution(thorax, cold):
    with LiveSession.open(*thorax, **ON_CPU, options=LiveOptions(start="search", budget_ms=60_000)) as live:
        preview = live.update()  # takes all steps
        assert preview.displacement.grid.shape == thorax[0].grid.shape
        assert not preview.exact
    off = np.linalg.norm(preview.displacement.array - cold.displacement.array, axis=-1).mean()
    assert off < 0.005 * np.linalg.norm(cold.displacement.array, axis=-1).mean()


@pytest.mark.parametrize("verb", ["update", "commit"])
def test_a_stopped_search_is_resumed(thorax, cold, searches, verb):
    with LiveSession.open(*thorax, **SEARCHING) as live:
        given_up(getattr(live, verb))
        assert live.setting == WANTED
        final = live.commit()
    assert len(searches) == 1
    assert apart_mm(final.displacement, cold.displacement) <= 0.05


def test_a_failed_search_is_repeated(thorax, monkeypatch):
    real, tried = instance.searched_velocity, []

    def failing(*arguments, **options):
        tried.append(len(tried))
        if len(tried) == 1:
            raise MemoryError
        return (yield from real(*arguments, **options))

    monkeypatch.setattr(instance, "searched_velocity", failing)
    with LiveSession.open(*thorax, **SEARCHING) as live:
        with pytest.raises(MemoryError):
            live.update()
        assert not live.update().exact
    assert tried == [0, 1]


@pytest.mark.parametrize("start", ["rest", "search"])
def test_a_choice_equals_that_of_register_and_is_resumed(thorax, start):
    config = InstanceConfig.searching() if start == "search" else None
    whole = register(
        *thorax, prior="auto", options=RegistrationOptions(config=config), init="none", device="cpu"
    ).report["prior"]
    assert whole["chosen_by"] == "held-out similarity"
    with LiveSession.open(*thorax, **ON_CPU, options=LiveOptions(start=start)) as live:
        given_up(live.choose, (1, 2, 5))
        chosen = live.choose()
        assert live.choose() is chosen
        assert live.setting == WANTED, "the setting is kept"
    assert {"prior": chosen.prior, **chosen.setting} == whole["chosen"]
    assert (chosen.compared, chosen.blocks, chosen.warnings) == (True, whole["blocks"], ())


def test_a_resumed_choice_continues_its_progress(thorax):
    fractions = []
    with LiveSession.open(*thorax, device="cpu") as live:
        live.on_progress = fractions.append
        given_up(live.choose, (2, 4, 6))
        live.choose()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_without_a_comparison_the_default_is_chosen_with_a_warning():
    values = np.random.default_rng(0).normal(size=(16, 14, 12)).astype(np.float32)
    pair = (Volume(values, np.eye(4)), Volume(np.roll(values, 1, axis=0), np.eye(4)))
    with LiveSession.open(*pair, prior="uniform", device="cpu") as live:
        chosen = live.choose()
    report = register(*pair, prior="auto", init="none", device="cpu").report
    assert not chosen.compared
    assert (chosen.prior, chosen.setting) == ("beta", {"alpha": 0.1, "lambda_max": 1.0})
    assert [chosen.warnings[0]] == [line for line in report["warnings"] if "No setting was chosen" in line]


def test_a_stiffness_invalidates_the_choice(thorax):
    with LiveSession.open(*thorax, device="cpu") as live:
        first = live.choose()
        live.set_stiffness(thorax[0].with_array(np.full(thorax[0].array.shape, 30.0, dtype=np.float32)))
        assert live.choose() is not first


def test_invalid_starts_and_choices_are_refused(thorax):
    model = next(iter(packaged_folder().glob("*general*")))
    with pytest.raises(InputError, match=r"start.*jump.*rest"):
        LiveSession.open(*thorax, options=LiveOptions(start="jump"))
    with pytest.raises(
        InputError, match=r"start.*search with the method .*a model is where the refinement starts from"
    ):
        LiveSession.open(*thorax, method=model, options=LiveOptions(start="search"))
    with LiveSession.open(*thorax, method=model, device="cpu") as live:
        with pytest.raises(InputError, match=r"choice of a setting.*a model has settings of its own"):
            live.choose()


def test_a_setting_outside_of_the_ranges_widens_them(thorax):
    with LiveSession.open(*thorax, prior=BetaPrior(**WANTED), device="cpu") as live:
        assert live.ranges == {"alpha": (0.01, 0.6), "lambda_max": (0.5, 20.0)}
        assert {point["lambda_max"] for point in Axes(live.ranges).sweep()} >= {0.5, 20.0}
    assert widened({"alpha": (0.01, 0.6)}, {"alpha": 0.0, "other": 3.0}) == {"alpha": (0.01, 0.6)}
    assert widened({"alpha": (0.01, 0.6)}, {"alpha": 0.001}) == {"alpha": (0.001, 0.6)}

"""Live sessions in process: replies, stopped computations, caches, sweeps, labels and alignment."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
from live_sessions import AFFINE, WANTED, apart_vox, labels_of, opened, replies

from SPRCore import Volume
from SPRCore.errors import InputError
from SPRCore.geometry.annotations import Annotations
from SPRCore.live import ComputationStopped, LiveOptions
from SPRCore.live.cache import ByteCache
from SPRCore.metrics import folding_percent


def after(calls):
    """A `should_stop` that returns True from a given call on."""
    count = itertools.count(1)
    return lambda: next(count) >= calls


@pytest.mark.parametrize("method", ["instance", "hyper-vxm-spr-small"])
def test_setting_quality_and_exactness_of_replies(pair, bundle_of, method):
    method = method if method == "instance" else bundle_of(method)
    with opened(pair, method=method) as live:
        preview = live.update(**WANTED)
        better = replies(live)
        assert live.improve() is None
        final = live.commit()
    assert [reply.exact for reply in (preview, *better)] == [False] * len(better) + [True]
    for reply in (preview, *better, final):
        assert reply.setting == WANTED
        assert reply.milliseconds > 0
        assert reply.weight.grid.matches(reply.displacement.grid)
        assert reply.quality.folding_percent == pytest.approx(folding_percent(reply.displacement), abs=0.05)
        longest = np.linalg.norm(reply.displacement.array, axis=-1).max()
        assert reply.quality.max_displacement_mm == pytest.approx(longest, rel=1e-4)
    assert better[-1].inverse is None
    assert np.array_equal(better[-1].displacement.array, final.displacement.array)
    assert final.metrics["after"]["folding_percent"] == final.quality.folding_percent
    assert final.warped.grid.matches(pair["fixed"].grid)


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"sigma": 1.0}, {"alpha": float("nan")}, {"lambda_max": 0.0}])
@pytest.mark.parametrize("method", ["instance", "hyper-vxm-spr-small"])
def test_an_invalid_setting_is_refused_and_changes_nothing(pair, bundle_of, method, wrong):
    with opened(pair, method=method if method == "instance" else bundle_of(method)) as live:
        live.update(**WANTED)
        with pytest.raises(InputError, match=next(iter(wrong))):
            live.update(**wrong)
        assert live.setting == WANTED
        assert live.improve() is not None


def ask_twice(live, verb, calls):
    """Stop a computation at a later check, or at the first check of the next one."""
    changes = {"alpha": 0.5} if verb == "update" else {}
    getattr(live, verb)(should_stop=after(calls), **changes)
    live.update(**WANTED)
    getattr(live, verb)(should_stop=lambda: True)


@pytest.mark.parametrize("method", ["instance", "hyper-tm-spr"])
@pytest.mark.parametrize("verb", ["update", "improve", "commit", "sweep_step"])
def test_a_stopped_computation_leaves_the_session_unchanged(pair, bundle_of, method, verb):
    with opened(pair, method=method if method == "instance" else bundle_of(method)) as live:
        live.update(**WANTED)
        for calls in (1, 2, 5):
            with pytest.raises(ComputationStopped):
                ask_twice(live, verb, calls)
        assert live.setting == WANTED
        whole = live.commit()
    with opened(pair, method=method if method == "instance" else bundle_of(method)) as live:
        live.update(**WANTED)
        assert apart_vox(live.commit().displacement, whole.displacement) < 1e-4


def test_visited_settings_are_answered_from_a_cache_of_limited_size(pair):
    with opened(pair, cache_mb=0.75) as live:
        exact = {}
        for alpha in (0.05, 0.1, 0.2, 0.4):
            live.update(alpha=alpha)
            exact[alpha] = live.commit()
        again = live.update(alpha=0.4)
        assert again.exact
        assert again.displacement is exact[0.4].displacement
        assert again.metrics
        assert not live.update(alpha=0.05).exact  # dropped, and computed again
        assert apart_vox(live.commit().displacement, exact[0.05].displacement) == 0.0


def test_a_sweep_visits_a_grid_and_keeps_the_setting(pair, bundle_of):
    with opened(pair, method=bundle_of("hyper-vxm-spr-small"), annotations=labels_of(pair)) as live:
        live.update(alpha=0.7, lambda_max=0.9)
        points = list(iter(live.sweep_step, None))
        assert live.setting == {"alpha": 0.7, "lambda_max": 0.9}
    assert len(points) == 25
    assert len({tuple(point.setting.values()) for point in points}) == 25
    for name in ("alpha", "lambda_max"):
        assert {min(p.setting[name] for p in points), max(p.setting[name] for p in points)} == {0.1, 4.8}
    assert all(0 < point.dice_mean <= 1 and 0 < point.quality.similarity < 1 for point in points)
    assert len({point.quality.similarity for point in points}) > 20


def test_a_closed_session_can_be_closed_again_and_holds_no_results(pair):
    live = opened(pair)
    held = weakref.ref(live.update(**WANTED).displacement)
    live.close()
    live.close()
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("name", ["budget_ms", "cache_mb"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_or_cache_that_is_not_above_zero_is_refused(name, value):
    with pytest.raises(InputError, match=f"{name}.*above 0"):
        LiveOptions(**{name: value})


def test_a_cache_drops_the_least_recently_used_values_beyond_its_limit():
    cache = ByteCache(10)
    for key in "abc":
        cache.put(key, key.upper(), 4)
        cache.get("b")
    assert ("a" in cache, cache.get("b"), cache.get("c"), cache.nbytes) == (False, "B", "C", 8)
    cache.put("d", "D", 11)
    assert ("d" in cache, len(cache), list(cache)) == (False, 2, ["B", "C"])
    cache.put("b", "B", 10)
    assert (len(cache), cache.nbytes) == (1, 10)
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_other_labels_evaluate_the_same_deformation(pair):
    with opened(pair) as live:
        bare = live.commit()
        live.set_annotations(labels_of(pair))
        measured = live.commit()
        live.set_annotations(Annotations())
        again = live.commit()
    assert "dice" not in bare.metrics["after"]
    assert measured.metrics["after"]["dice_mean"] > 0.5
    assert "dice" not in again.metrics["after"]
    assert measured.displacement is bare.displacement, "it is not computed again"


def test_the_pair_describes_its_alignment(pair):
    with opened(pair) as live:
        assert (live.pair.alignment.mode, live.pair.aligned_mm, live.pair.covered) == ("none", 0.0, 1.0)
    far = Volume(pair["moving"].array, np.array([[1, 0, 0, 30.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ AFFINE)
    with opened(pair | {"moving": far}, init="auto") as live:
        assert live.pair.alignment.mode in ("rigid", "affine")
        assert "centers" in live.pair.alignment.reason
        assert live.pair.covered > 0.7
        assert live.pair.aligned_mm > 20.0
    with opened(pair | {"moving": far}) as live:
        assert live.pair.covered < 0.5


def test_an_exact_solution_reports_its_progress(pair):
    fractions = []
    with opened(pair) as live:
        live.on_progress = fractions.append
        live.update(alpha=0.3, lambda_max=2.0)
        assert fractions == []
        live.commit()
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < 0.5 < fractions[-1] <= 1.0

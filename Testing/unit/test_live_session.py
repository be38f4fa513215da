"""Live sessions in process: previews, improvements and exact replies of instance optimization and networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from SPRCore import BetaPrior, Field, RegistrationOptions, TotalVariationPrior, Volume, register
from SPRCore.errors import InputError
from SPRCore.geometry import resample
from SPRCore.geometry.annotations import Annotations
from SPRCore.io import Bundle, write_bundle
from SPRCore.io.cards import WorkingGrid
from SPRCore.live import ComputationStopped, LiveOptions, LiveSession
from SPRCore.live.cache import ByteCache
from SPRCore.metrics import folding_percent
from SPRCore.networks.network import RegistrationNetwork

AFFINE = np.array([[-2.0, 0.0, 0.3, 5.0], [0.0, 2.5, 0.0, -7.0], [0.2, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (22, 20, 16)
WANTED = {"alpha": 0.3, "lambda_max": 2.0}


@pytest.fixture(scope="module")
def pair(random_image, random_displacement):
    """A textured image and its deformation by up to three voxels, with labels of bright voxels."""
    from SPRCore.functional import integrate, warp

    moving = random_image(SHAPE, 3, sigma=1.8, dtype=torch.float32)
    motion = integrate(random_displacement(SHAPE, 5, length=3.0, sigma=4.0, dtype=torch.float32))
    fixed = warp(moving, motion)
    images = {"fixed": fixed, "moving": moving}
    volumes = {name: Volume(image[0, 0].numpy(), AFFINE) for name, image in images.items()}
    labels = {f"{name}_labels": Volume((v.array > 0.6).astype(np.uint8), AFFINE) for name, v in volumes.items()}
    return volumes | labels


@pytest.fixture(scope="module")
def bundle_of(tiny_network, card_for, tmp_path_factory):
    """Write a tiny network with a card that fits and return its path."""

    def make(preset, card=None, **overrides):
        network = tiny_network(preset, **overrides)
        path = tmp_path_factory.mktemp("models") / f"{preset}.sprmodel.safetensors"
        card = card_for(network, **(card or {}))
        write_bundle(Bundle(card=card, tensors=network.state_dict()), path)
        return path

    return make


def opened(pair, method="instance", prior=None, annotations=None, **options):
    """A session on the CPU."""
    more = {"prior": prior, "annotations": annotations, "options": LiveOptions(**options)}
    return LiveSession.open(pair["fixed"], pair["moving"], method=method, device="cpu", **more)


def labels_of(pair):
    return Annotations(fixed_labels=pair["fixed_labels"], moving_labels=pair["moving_labels"])


def replies(live):
    """All improvements of the last setting."""
    return list(iter(live.improve, None))


def apart_vox(one: Field, other: Field):
    """Longest difference of two displacements on one grid, in voxels."""
    difference = (one.array - other.array) @ np.linalg.inv(one.affine[:3, :3]).T
    return float(np.linalg.norm(difference, axis=-1).max())


def after(calls):
    """A `should_stop` that returns True from a given call on."""
    count = itertools.count(1)
    return lambda: next(count) >= calls


# Both


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
        assert {min(p.setting[name] for p in points), max(p.setting[name] for p in points)} == {0.1, 4.0}
    assert all(0 < point.dice_mean <= 1 and 0 < point.quality.lncc < 1 for point in points)
    assert len({point.quality.lncc for point in points}) > 20


# The instance method


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


# Networks


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("hyper-vxm-spr-small", {}),
        ("hyper-tm-spr", {}),
        ("hyper-voxelmorph", {}),
        ("tm-spr", {}),
        ("hyper-vxm-spr-small", {"integrate": False}),
        ("hyper-vxm-spr-small", {"weight": "tv"}),
        ("hyper-vxm-spr-small", {"conditioning": "full"}),
        ("hyper-vxm-spr-small", {"card": {"grid": WorkingGrid(spacing_mm=(2.3, 2.3, 2.3))}}),
    ],
)
@pytest.mark.parametrize("init", ["none", "center"])
def test_a_network_equals_register_bit_for_bit(pair, bundle_of, preset, more, init):
    path = bundle_of(preset, **more)
    with opened(pair, method=path, init=init) as live:
        names = list(live.ranges)
        for value in (0.4, 3.0, 2.0):
            live.update(**dict.fromkeys(names, value))
        final, setting = live.commit(), dict(live.setting)
    from SPRCore.registration import LoadedModel
    from SPRCore.regularization.priors import make_prior

    card = LoadedModel.read(path, torch.device("cpu")).card
    cold = register(
        pair["fixed"], pair["moving"], method=path, prior=make_prior(card.prior, setting), init=init, device="cpu"
    )
    for name in ("displacement", "inverse", "weight", "warped"):
        assert np.array_equal(getattr(final, name).array, getattr(cold, name).array), name
    assert final.metrics["after"]["jacobian"] == cold.report["metrics"]["after"]["jacobian"]


def test_a_network_encodes_once_and_decodes_each_preview(pair, bundle_of, monkeypatch):
    path = bundle_of("hyper-vxm-spr-small")
    counts = dict.fromkeys(("encode", "decode", "decode_velocity"), 0)
    for name in counts:
        inner = getattr(RegistrationNetwork, name)

        def counted(self, *arguments, name=name, inner=inner, **options):
            counts[name] += 1
            return inner(self, *arguments, **options)

        monkeypatch.setattr(RegistrationNetwork, name, counted)
    with opened(pair, method=path, budget_ms=10_000) as live:
        shown = [live.update(alpha=0.1 * step, lambda_max=1.0) for step in range(1, 6)]
        live.commit()
    # A commit decodes once more for the inverse.
    assert counts == {"encode": 1, "decode": 2, "decode_velocity": 5}
    assert len({reply.quality.lncc for reply in shown}) == 5


def test_a_slow_network_is_interpolated(pair, bundle_of):
    path = bundle_of("hyper-vxm-spr-small")
    corners = [{"alpha": a, "lambda_max": r} for a, r in itertools.product((0.8, 1.8), repeat=2)]
    with (
        opened(pair, method=path, budget_ms=10_000) as live,
        opened(pair, method=path, budget_ms=10_000) as decoding,
    ):
        known = []
        for setting in corners:
            live.update(**setting)
            known.append(live.commit().displacement)
        live._method._decoding_s = float("inf")  # as of a large image
        middle = live.update(alpha=1.2, lambda_max=1.2)
        truth = decoding.update(alpha=1.2, lambda_max=1.2).displacement
        assert middle.displacement.grid.shape == truth.grid.shape == SHAPE
        assert not middle.exact
        assert middle.quality.folding_percent == 0.0
        assert 0 < apart_vox(middle.displacement, truth) < 0.5 * min(apart_vox(one, truth) for one in known)
        assert live.improve().exact
        live.update(alpha=1.3)
        live._results.clear()
        again = live.update(alpha=1.2)
        assert not again.exact
        assert apart_vox(again.displacement, truth) < 1e-3


def test_a_network_without_refinement_refuses_a_stiffness(pair, bundle_of):
    path = bundle_of("hyper-vxm-spr-small")
    painted = pair["fixed"].with_array(np.full(SHAPE, 3.0, dtype=np.float32))
    with opened(pair, method=path) as live:
        before = live.update(**WANTED)
        with pytest.raises(InputError, match="refine"):
            live.set_stiffness(painted)
        assert live.update().quality == before.quality
    with pytest.raises(InputError, match="refine"):
        opened(pair, method=path, stiffness=painted)


def test_a_refined_network_equals_register_and_takes_a_stiffness(pair, bundle_of):
    path, prior = bundle_of("hyper-vxm-spr-small"), BetaPrior(**WANTED)
    factors = np.ones(SHAPE, dtype=np.float32)
    factors[11:] = 20.0
    painted = pair["fixed"].with_array(factors)
    with opened(pair, method=path, refine=6) as live:
        live.update(**WANTED)
        shown, plain = replies(live), live.commit()
        live.set_stiffness(painted)
        live.update()
        stiff = live.commit()
    for final, stiffness in ((plain, None), (stiff, painted)):
        cold = register(
            **{name: pair[name] for name in ("fixed", "moving")},
            **dict(
                method=path,
                prior=prior,
                options=RegistrationOptions(refine=6, stiffness=stiffness),
                init="none",
                device="cpu",
            ),
        )
        assert apart_vox(final.displacement, cold.displacement) <= 0.05
    assert [reply.exact for reply in shown] == [False] * (len(shown) - 1) + [True]


def test_a_range_from_zero_excludes_zero(pair, bundle_of):
    ranges = {"alpha": (0.0, 0.5), "lambda_max": (0.0, 3.0)}
    usual = {"alpha": 0.1, "lambda_max": 1.0}
    with opened(pair, method=bundle_of("hyper-vxm-spr-small", card={"ranges": ranges, "defaults": usual})) as live:
        assert all(0 < low < 0.02 * high for low, high in live.ranges.values())
        live.update(**{name: low for name, (low, high) in live.ranges.items()})
        assert sum(1 for _ in iter(live.sweep_step, None)) == 25


def test_a_closed_session_can_be_closed_again(pair):
    live = opened(pair)
    live.update(**WANTED)
    live.close()
    live.close()


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


def test_a_velocity_of_the_preview_grid_has_a_sharpness_of_zero(pair):
    with opened(pair) as live:
        live.update(**WANTED)
        preview_grid, solution = live._method.preview_grid, live._solution
    field = Field.from_tensor_vox(solution.velocity_mm / preview_grid.images.spacing, preview_grid.grid.affine)
    assert preview_grid.sharpness(field).abs().max() < 1e-3
    plain = preview_grid.closed_form(solution.velocity_mm, solution.prior)
    torch.testing.assert_close(
        preview_grid.closed_form(solution.velocity_mm, solution.prior, torch.zeros_like(plain)), plain
    )
    varied = BetaPrior(alpha=0.001, lambda_max=5.0)
    plain = preview_grid.closed_form(solution.velocity_mm, varied)
    sharper = preview_grid.closed_form(solution.velocity_mm, varied, torch.ones_like(plain))
    assert (sharper <= plain).all()
    assert sharper.mean() < plain.mean(), "where the field bends more sharply it is less stiff"


def test_near_an_exact_solution_the_weight_of_a_preview_has_its_detail(pair):
    setting = {"alpha": 0.02, "lambda_max": 2.0}
    with opened(pair, budget_ms=1e-3) as live:  # the coarsest grid
        live.update(**setting)
        exact = replies(live)[-1]
        beside = live.update(alpha=0.0202, lambda_max=2.0)
        preview_grid, solution = live._method.preview_grid, live._solution
        assert preview_grid.grid.shape != pair["fixed"].grid.shape
        field_mm, _ = preview_grid.flow(solution.velocity_mm + live._velocities.detail(solution.position))
        blunt = preview_grid.closed_form(field_mm, solution.prior)[0, 0].numpy()
    there = resample(exact.weight, beside.weight.grid, continued=True).array
    assert np.abs(beside.weight.array - there).mean() < 0.8 * np.abs(blunt - there).mean()
    assert not beside.exact


def test_the_weight_of_a_preview_is_known_only_near_an_exact_solution(pair, bundle_of):
    with opened(pair) as live:
        assert not live.update(alpha=0.3, lambda_max=2.0).weight_known
        *better, exact = replies(live)
        assert exact.weight_known
        assert not any(reply.weight_known for reply in better)
        assert live.update(alpha=0.28, lambda_max=2.0).weight_known
        assert not live.update(alpha=0.01, lambda_max=2.0).weight_known, "too far from what was solved"
        live.set_stiffness(Volume(np.full(SHAPE, 5.0, dtype=np.float32), AFFINE))
        assert not live.update(alpha=0.28, lambda_max=2.0).weight_known, "what was solved is of another energy"
    with opened(pair, method=bundle_of("hyper-vxm-spr-small")) as live:
        reply = live.update()
        assert reply.exact or reply.weight_known, "the network itself gave it for this setting"


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

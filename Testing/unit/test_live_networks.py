"""Live sessions of networks: equal to `register`, decoded, interpolated and refined."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch
from live_sessions import AFFINE, SHAPE, WANTED, apart_vox, opened, replies

from SPRCore import BetaPrior, RegistrationOptions, Volume, register
from SPRCore.errors import InputError
from SPRCore.io.cards import WorkingGrid
from SPRCore.networks.network import RegistrationNetwork


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
    assert len({reply.quality.similarity for reply in shown}) == 5


def test_a_slow_network_is_interpolated(pair, bundle_of, monkeypatch):
    path = bundle_of("hyper-vxm-spr-small")
    corners = [{"alpha": a, "lambda_max": r} for a, r in itertools.product((0.8, 1.8), repeat=2)]
    with opened(pair, method=path) as decoding:
        truth = decoding.update(alpha=1.2, lambda_max=1.2).displacement
    decode = RegistrationNetwork.decode_velocity

    def slow(*arguments):
        time.sleep(0.6)  # as for a large image: longer than the budget of a preview
        return decode(*arguments)

    monkeypatch.setattr(RegistrationNetwork, "decode_velocity", slow)
    with opened(pair, method=path, budget_ms=500) as live:
        known = []
        for setting in corners:
            live.update(**setting)
            known.append(live.commit().displacement)
        middle = live.update(alpha=1.2, lambda_max=1.2)
        assert middle.displacement.grid.shape == truth.grid.shape == SHAPE
        assert not middle.exact
        assert middle.quality.folding_percent == 0.0
        assert 0 < apart_vox(middle.displacement, truth) < 0.5 * min(apart_vox(one, truth) for one in known)
        assert live.improve().exact
        beside = live.update(alpha=1.2001)
        assert not beside.exact
        assert apart_vox(beside.displacement, truth) < 1e-3


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

"""Uncertainty in live sessions, in the service of a worker, and in conversations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from live_sessions import WANTED, labels_of, opened
from simulated_worker import IMAGE, Played

import SPRCore
from SPRCore.live import ComputationStopped, protocol
from SPRCore.live.protocol import Cancel, Commit, Stiffness, ToggleSweep, ToggleUncertainty, Update
from SPRCore.registration.uncertainty import UncertaintyConfig
from SPRCore.regularization import BetaPrior

SMALL = {"voxels": 400, "samples": 4, "iterations": 20}


@pytest.fixture
def quick(monkeypatch):
    """Settings that take less time."""
    monkeypatch.setattr("SPRCore.live.uncertainty.UncertaintyConfig", _Quick)


class _Quick(UncertaintyConfig):
    def __init__(self):
        super().__init__(**SMALL)

    @classmethod
    def coarse(cls):
        config = cls()
        object.__setattr__(config, "voxels", 100)
        return config


def turn_on(worker):
    worker.wait(worker.ask(ToggleUncertainty))
    worker.until(lambda m: m.kind == "idle")
    worker.sent.clear()


def kinds_of(worker):
    """Results and uncertainties in order: kind, whether exact."""
    return [(m.kind, m.exact) for _, m in worker.sent if m.kind in ("result", "uncertainty")]


def test_a_commit_has_the_uncertainty_of_register(pair, quick):
    config = UncertaintyConfig(**SMALL)
    given = {"prior": BetaPrior(alpha=0.3, lambda_max=2.0), "init": "rigid"}
    options = SPRCore.RegistrationOptions(uncertainty=config)
    wanted = SPRCore.register(pair["fixed"], pair["moving"], options=options, **given).uncertainty
    with opened(pair, init="rigid", annotations=labels_of(pair)) as live:
        live.update(**WANTED)
        live.commit()
        found = live.uncertainty()
    assert (found.exact, found.fine, dict(found.setting)) == (True, True, WANTED)
    middle = found.metrics["uncertainty_mm"]["median"]
    assert middle == pytest.approx(float(np.median(wanted.array)), rel=0.02)
    assert set(found.metrics["uncertainty_mm"]["labels"]) <= {str(label) for label in range(1, 30)}
    assert found.uncertainty.array.size <= 1.2 * SMALL["voxels"]
    assert found.uncertainty.array.min() > 0


@pytest.mark.parametrize("method", ["instance", "hyper-vxm-spr-small", "hyper-tm-spr"])
def test_previews_and_exact_results_have_an_uncertainty(pair, bundle_of, quick, method):
    method = method if method == "instance" else bundle_of(method)
    with opened(pair, method=method) as live:
        live.update(**WANTED)
        of_preview = live.uncertainty()
        list(iter(live.improve, None))
        of_exact = live.uncertainty()
        live.commit()
        fine = live.uncertainty()
        again = live.uncertainty()
    flags = [(found.exact, found.fine) for found in (of_preview, of_exact, fine)]
    assert flags == [(False, False), (True, False), (True, True)]
    assert again.uncertainty is fine.uncertainty, "it is kept"
    assert fine.uncertainty.array.size > of_exact.uncertainty.array.size
    for found in (of_preview, of_exact, fine):
        assert np.isfinite(found.uncertainty.array).all()
        assert found.metrics["uncertainty_mm"]["p95"] > found.metrics["uncertainty_mm"]["median"] > 0


def test_it_is_kept_with_the_result_of_a_setting(pair, quick):
    with opened(pair) as live:
        live.update(**WANTED)
        live.commit()
        first = live.uncertainty()
        live.update(alpha=0.2)
        live.update(**WANTED)
        assert live.uncertainty().uncertainty is first.uncertainty
        live.set_stiffness(None)
        live.update(**WANTED)
        assert not live.uncertainty().exact


def test_a_stopped_estimate_is_resumed(pair, quick):
    def stops_at(call):
        count = itertools.count(1)
        return lambda: next(count) >= call

    with opened(pair) as live:
        live.update(**WANTED)
        whole, calls = live.uncertainty(), 0
        live.update(**WANTED | {"alpha": 0.2})
        live.update(**WANTED)
        while True:
            try:
                calls += 1
                found = live.uncertainty(should_stop=stops_at(3))  # each call does one part
            except ComputationStopped:
                assert calls < 100
            else:
                break
    assert calls > 4
    assert found.uncertainty.array.shape == whole.uncertainty.array.shape


def test_it_is_off_by_default_and_follows_updates_while_it_is_on(worker):
    worker.update(alpha=1.0, improvements=2)
    worker.until(lambda m: m.kind == "idle")
    assert "uncertainty" not in worker.kinds()
    worker.sent.clear()
    assert worker.wait(worker.ask(ToggleUncertainty)).kind == "done"
    of_shown = worker.until(lambda m: m.kind == "uncertainty")
    assert (of_shown.id, of_shown.exact, of_shown.fine, of_shown.setting["alpha"]) == (3, True, False, 1.0)
    worker.until(lambda m: m.kind == "idle")
    worker.sent.clear()
    number = worker.update(alpha=2.0, improvements=2)
    worker.until(lambda m: m.kind == "idle")
    order = [("result", False), ("uncertainty", False), ("result", False), ("result", True), ("uncertainty", True)]
    assert kinds_of(worker) == order
    maps = [m for _, m in worker.sent if m.kind == "uncertainty"]
    assert {m.id for m in maps} == {number}
    assert set(maps[0].segment.arrays) == {"uncertainty"}
    assert maps[0].metrics["uncertainty_mm"] == {
        **{"median": 0.5, "p95": 1.5, "max": None, "labels": {"1": {"median": 0.5, "p95": 1.0}}}
    }


def test_where_the_exact_result_is_fast_it_comes_first(worker):
    worker.service.session.has_stages = False
    turn_on(worker)
    worker.update(alpha=2.0, improvements=1)
    worker.until(lambda m: m.kind == "idle")
    assert kinds_of(worker) == [("result", False), ("result", True), ("uncertainty", True)]


def test_a_commit_has_a_fine_one_and_a_moving_slider_none(worker):
    turn_on(worker)
    worker.ask(Update, setting={"alpha": 1.0}, improve=False)
    worker.until(lambda m: m.kind == "idle")
    assert "uncertainty" not in worker.kinds()
    commit = worker.ask(Commit, setting={})
    found = worker.until(lambda m: m.kind == "uncertainty")
    assert (found.id, found.fine) == (commit, True)


def test_a_request_interrupts_it_and_it_goes_before_the_sweep(worker):
    turn_on(worker)
    worker.service.session.estimating_s = 60.0
    worker.wait(worker.update(alpha=1.0))
    worker.until(lambda m: m.kind == "result")
    worker.service.session.estimating_s = 0.05
    worker.wait(worker.ask(ToggleSweep))
    number = worker.update(alpha=2.0)
    worker.until(lambda m: m.kind == "idle")
    kinds = worker.kinds()
    assert kinds.count("uncertainty") == 1
    assert kinds.count("point") == 5
    assert [m.id for _, m in worker.sent if m.kind == "uncertainty"] == [number]
    last = [kind for kind in kinds if kind in ("point", "uncertainty")]
    assert last.index("uncertainty") < 2


@pytest.mark.parametrize("kind", ["cancel", "off", "stiffness"])
def test_it_is_dropped_by(worker, kind):
    turn_on(worker)
    worker.service.session.estimating_s = 60.0
    worker.wait(worker.update(alpha=1.0))
    stops = {
        "cancel": (Cancel, {}),
        "off": (ToggleUncertainty, {"on": False}),
        "stiffness": (Stiffness, {"segment": None}),
    }
    request, fields = stops[kind]
    assert worker.wait(worker.ask(request, **fields)).kind == "done"
    worker.until(lambda m: m.kind == "idle")
    assert "uncertainty" not in worker.kinds()


def test_after_a_failed_one_the_improvements_continue(worker, monkeypatch):
    def failing(should_stop):
        raise MemoryError

    monkeypatch.setattr(worker.service.session, "uncertainty", failing)
    turn_on(worker)
    worker.update(alpha=1.0, improvements=1)
    error = worker.until(lambda m: m.kind == "error")
    assert (error.id, error.code) == (None, "memory")
    worker.until(lambda m: m.kind == "idle")
    assert ("result", True) in kinds_of(worker)


def test_a_conversation_copies_the_map_and_drops_an_outdated_one():
    play = Played()
    try:
        play.open()
        play.client.uncertainty()
        toggle = play.last(ToggleUncertainty)
        play.send(protocol.Done(id=toggle.id))
        older, newer = (play.client.update(alpha=value) for value in (0.5, 0.6))
        play.requests()
        for place, number in enumerate((older, newer)):
            segment = play.store.put(place, {"uncertainty": IMAGE})
            fields = {"setting": {"alpha": 0.5}, "exact": False, "fine": False, "milliseconds": 1.0}
            play.send(protocol.UncertaintyMessage(id=number, segment=segment, metrics={}, **fields))
        arrived = [event for event in play.take_events() if getattr(event, "message", None)]
        maps = [event for event in arrived if event.message.kind == "uncertainty"]
        assert [event.message.id for event in maps] == [newer]
        assert np.array_equal(maps[0].arrays["uncertainty"][0], IMAGE[0])
        released = [request.slot for request in play.requests() if isinstance(request, protocol.Release)]
        assert len(released) == 2
        play.result(newer, setting={"alpha": 0.6})
        assert [m.id for m in play.messages(protocol.ReplyMessage)] == [newer], "the update has its answer still"
    finally:
        play.session.close()

"""The worker that computes: its answers, a network, painted stiffness, and its loss during a computation."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import psutil
import pytest
from live_workers import AFFINE, LIMIT, error_of, words_until

from SPRCore.live import client as client_module
from SPRCore.live.client import SubprocessClient, WorkerError
from SPRCore.live.events import Arrived, WorkerState

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
    pytest.mark.usefixtures("nothing_stays"),
]


def textured(shape=(24, 20, 16)):
    from scipy.ndimage import gaussian_filter

    fixed = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 1.5).astype(np.float32)
    return {"fixed": (fixed, AFFINE), "moving": (np.roll(fixed, 1, axis=0), AFFINE)}


@pytest.fixture(scope="module")
def answers():
    """Answers of a real worker to valid and invalid requests."""
    pair = textured()
    flat = pair | {"moving": (np.zeros_like(pair["moving"][0]), AFFINE)}
    with SubprocessClient() as client:
        yield {
            "pair": pair,
            "opened": client.do("open", pair, prior="beta", setting={"alpha": 0.1}, init="none", device="cpu").message,
            "update": client.do("update", lambda_max=2.0),
            "idle": next(e for e in client.events() if isinstance(e, Arrived) and e.message.kind == "idle"),
            "commit": client.do("commit"),
            "bad setting": error_of(client, "update", alpha=-1.0),
            "bad prior": error_of(client, "open", pair, setting={"alpha": 0.1}),
            "bad pair": error_of(client, "open", flat),
            "no moving": error_of(client, "open", {"fixed": pair["fixed"]}),
            "no affine": error_of(client, "open", pair | {"fixed": (pair["fixed"][0], None)}),
            "state": client.conversation.status.state,
        }


def test_a_real_worker_opens_previews_and_commits(answers):
    assert answers["opened"].prior == "beta"
    assert answers["opened"].setting == {"alpha": 0.1, "lambda_max": 1.0}
    assert set(answers["opened"].ranges) == {"alpha", "lambda_max"}
    preview, exact = answers["update"], answers["commit"]
    assert preview.message.setting == {"alpha": 0.1, "lambda_max": 2.0}
    assert preview.message.quality.folding_percent == 0.0
    assert preview.arrays["displacement"][0].shape == (*preview.arrays["weight"][0].shape, 3)
    assert exact.message.exact
    assert exact.arrays["displacement"][0].shape == (24, 20, 16, 3)
    assert exact.arrays["warped"][0].shape == (24, 20, 16)
    assert exact.message.metrics["after"]["lncc"] > exact.message.metrics["before"]["lncc"]


def test_a_real_worker_equals_a_session_in_process(answers):
    from SPRCore.geometry import Volume
    from SPRCore.live import LiveSession
    from SPRCore.regularization import BetaPrior

    fixed, moving = (Volume(*answers["pair"][name]) for name in ("fixed", "moving"))
    prior = BetaPrior(alpha=0.1)
    with LiveSession.open(fixed, moving, prior=prior, device="cpu") as session:
        session.update(lambda_max=2.0)
        while session.improve() is not None:
            pass
        reply = session.commit()
    got = answers["commit"].arrays
    for name in ("displacement", "weight", "inverse", "warped"):
        np.testing.assert_allclose(got[name][0], getattr(reply, name).array, atol=1e-4)
        np.testing.assert_array_equal(got[name][1], getattr(reply, name).affine)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("bad setting", "alpha"),
        ("bad prior", "prior"),
        ("bad pair", "moving image"),
        ("no moving", "fixed and moving"),
        ("no affine", "no affine"),
    ],
)
def test_a_real_worker_refuses_invalid_requests(answers, case, words):
    assert answers[case].code == "input"
    assert words in answers[case].words()
    assert answers["state"] is WorkerState.READY


def points_of(client, seconds=LIMIT):
    """Points of the sweep until the worker is idle."""
    for event in client.events(seconds):
        if isinstance(event, Arrived) and event.message.kind == "idle":
            return
        if isinstance(event, Arrived) and event.message.kind == "point":
            yield event.message


@pytest.fixture(scope="module")
def small_model(tiny_network, card_for, tmp_path_factory):
    """The path of a bundle of a tiny hyper network."""
    from SPRCore.io import Bundle, write_bundle

    network = tiny_network("hyper-vxm-spr-small")
    path = tmp_path_factory.mktemp("models") / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card_for(network), tensors=network.state_dict()), path)
    return path


def test_a_real_worker_with_a_network(live, small_model):
    from SPRCore import Volume, register
    from SPRCore.regularization import BetaPrior

    pair = textured()
    labels = (pair["fixed"][0] > 0).astype(np.uint8)
    client = live(client_module.WORKER, pair=None)
    client.do("open", pair | {"fixed_labels": (labels, AFFINE), "moving_labels": (labels, AFFINE)},
              method=str(small_model), device="cpu")  # fmt: skip
    preview = client.do("update", improve=False, alpha=0.3, lambda_max=2.0)
    assert not preview.message.exact
    final = client.do("commit")
    cold = register(*(Volume(*pair[name]) for name in ("fixed", "moving")), method=small_model,
                    prior=BetaPrior(alpha=0.3, lambda_max=2.0), init="none", device="cpu")  # fmt: skip
    for name in ("displacement", "inverse", "weight", "warped"):
        np.testing.assert_allclose(final.arrays[name][0], getattr(cold, name).array, atol=1e-5)
    error = error_of(client, "paint", np.full((24, 20, 16), 2.0), AFFINE)
    assert error.code == "input"
    assert "refine" in error.words()
    client.do("sweep")
    points = list(points_of(client))
    assert len(points) == 25
    assert all(0 < point.dice_mean <= 1 for point in points)


def test_a_real_worker_paints_the_stiffness(live):
    client = live(client_module.WORKER, pair=None)
    client.do("open", textured())
    soft = client.do("commit").arrays["weight"][0]
    painted = np.ones((24, 20, 16), dtype=np.float32)
    painted[12:] = 20.0
    client.do("paint", painted, AFFINE)
    client.do("update")
    stiff = client.do("commit").arrays["weight"][0]
    assert stiff[14:].mean() > 3 * soft[14:].mean()
    os.kill(client.process.pid, signal.SIGKILL)  # the next worker gets the stiffness
    words_until(client, WorkerState.OPEN, 60.0)
    np.testing.assert_allclose(client.do("commit").arrays["weight"][0], stiff, atol=1e-4)


def test_a_real_worker_killed_during_a_sweep(live, small_model):
    client = live(client_module.WORKER, pair=None)
    client.do("open", textured(), method=str(small_model), device="cpu")
    client.do("sweep")
    assert next(points_of(client)).quality.folding_percent == 0.0
    os.kill(client.process.pid, signal.SIGKILL)
    words_until(client, WorkerState.OPEN, 60.0)
    client.do("update", alpha=0.5)
    client.do("sweep")  # it is not resumed automatically
    assert len(list(points_of(client))) == 25


@pytest.mark.slow
def test_a_real_worker_that_runs_out_of_memory(live):
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit the memory of another process")
    client = live(client_module.WORKER, pair=textured())
    client.do("commit")
    pid = client.process.pid
    limit = psutil.Process(pid).memory_info().vms + 2**28
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    large = textured((200, 200, 160))
    try:
        client.do("open", large)
        error = error_of(client, "commit")
    except WorkerError as caught:
        error = caught.error
    assert error.code == "memory"
    assert "smaller images" in error.words()
    client.do("open", textured())
    assert client.do("commit").message.exact
    assert client.process.pid == pid


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_real_worker_lost_during_a_solution(live, number):
    client = live(client_module.WORKER, pair=textured((96, 96, 64)), commit=5.0)
    request = client.ask("commit")
    client.poll(1.0)
    os.kill(client.process.pid, number)
    with pytest.raises(WorkerError, match=r"SIGKILL|no sign of life"):
        client.wait(request, 60.0)
    words_until(client, WorkerState.OPEN, 60.0)
    assert client.do("update", alpha=0.2).message.kind == "result"


def test_a_real_worker_sends_the_uncertainty_of_preview_and_exact_result(live):
    client = live(client_module.WORKER, pair=None)
    client.do("open", textured())
    client.do("uncertainty")
    number, found = client.ask("update", alpha=0.3), []
    for event in client.events(120.0):
        found += [event] if getattr(getattr(event, "message", None), "kind", "") == "uncertainty" else []
        if found and found[-1].message.exact:
            break
    assert [(event.message.id, event.message.exact, event.message.fine) for event in found] == [
        (number, False, False),
        (number, True, False),
    ]
    array, affine = found[-1].arrays["uncertainty"]
    assert array.min() > 0
    assert affine.shape == (4, 4)
    assert found[-1].message.metrics["uncertainty_mm"]["median"] > 0

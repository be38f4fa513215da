"""A real worker with a discrete search and a chosen setting, on sliding lungs."""

from __future__ import annotations

import numpy as np
import pytest

from SPRCore import RegistrationOptions, register
from SPRCore.live import protocol
from SPRCore.live.client import SubprocessClient
from SPRCore.live.events import Arrived
from SPRCore.registration import InstanceConfig
from SPRCore.regularization.priors import make_prior
from SPRCore.synthetic import sliding_thorax

SETTING = {"alpha": 0.02, "lambda_max": 20.0}
LIMIT = 120.0


@pytest.fixture(scope="module")
def thorax():
    phantom = sliding_thorax(shape=(40, 36, 40), spacing=(5.0, 5.0, 5.0), amplitude_mm=16.0, seed=3)
    return phantom.fixed, phantom.moving


def test_a_session_with_search_and_choice_equals_a_cold_run(thorax):
    images = dict(zip(("fixed", "moving"), thorax, strict=True))
    arrays = {name: (image.array, image.affine) for name, image in images.items()}
    with SubprocessClient() as client:
        opened = client.do("open", arrays, prior="beta", setting=SETTING, start="search", device="cpu", timeout=LIMIT)
        assert opened.message.ranges["lambda_max"] == (0.5, 20.0)
        choose = client.ask("choose")
        preview = client.ask("update", **SETTING)
        answers = {}
        for event in client.events(LIMIT):
            if isinstance(event, Arrived) and not isinstance(event.message, protocol.ProgressReport):
                answers.setdefault((event.message.kind, getattr(event.message, "id", None)), event.message)
            if ("chosen", choose) in answers:
                break
        chosen = answers["chosen", choose]
        assert list(answers).index(("result", preview)) < list(answers).index(("chosen", choose))
        taken = client.do("open", arrays, prior=chosen.prior, setting=chosen.setting, start="search", timeout=LIMIT)
        assert taken.message.setting == chosen.setting
        final = client.do("commit", timeout=LIMIT).arrays["displacement"][0]
    options = {"options": RegistrationOptions(config=InstanceConfig.searching()), "init": "none", "device": "cpu"}
    auto = register(*thorax, prior="auto", **options)
    assert {"prior": chosen.prior, **chosen.setting} == auto.report["prior"]["chosen"]
    assert chosen.compared
    assert np.linalg.norm(final - auto.displacement.array, axis=-1).max() <= 0.05
    cold = register(*thorax, prior=make_prior(chosen.prior, chosen.setting), **options | {"options": None})
    assert np.linalg.norm(final - cold.displacement.array, axis=-1).max() > 3.0, "the start makes a difference here"

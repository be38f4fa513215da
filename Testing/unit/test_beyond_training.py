"""Settings beyond the training of a network: code, live session, warnings and sweep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from live_sessions import opened, replies

from SPRCore import BetaPrior, register
from SPRCore.errors import InputError
from SPRCore.io.cards import WorkingGrid
from SPRCore.regularization.hyperparameters import BEYOND_TRAINING, usable_range

RANGES = {"alpha": (0.1, 4.0), "lambda_max": (0.1, 4.0)}
"""Of the card of `bundle_of`."""


def test_a_code_may_be_up_to_the_limit_and_no_more(tiny_network):
    network = tiny_network("hyper-vxm-spr-small")
    pair = torch.rand(2, 1, 1, 16, 16, 16)
    ends = [network(*pair, code=torch.full((1, 2), code)).displacement for code in (1.0, BEYOND_TRAINING)]
    assert not torch.equal(*ends)
    with pytest.raises(InputError, match=r"code: got 1\.21 to 1\.21; expected .* in \[0, 1\.2\]"):
        network(*pair, code=torch.full((1, 2), 1.21))


def test_a_session_says_where_the_training_ended(pair, bundle_of):
    with opened(pair, method=bundle_of("hyper-vxm-spr-small")) as live:
        assert live.trained == {name: high for name, (_, high) in RANGES.items()}
        assert live.ranges == {name: pytest.approx(usable_range(ends)) for name, ends in RANGES.items()}
        within, beyond = live.update(alpha=4.0), live.update(alpha=4.8)
        assert within.warnings == ()
        assert len(beyond.warnings) == 1
        assert "alpha 4.8 is beyond the training" in beyond.warnings[0]
        assert replies(live)[-1].warnings == beyond.warnings
        assert beyond.warnings[0] in live.commit().warnings
        live.set_annotations(live.pair.annotations)
        assert live.commit().warnings.count(beyond.warnings[0]) == 1
        assert len(list(iter(live.sweep_step, None))) == 25
        with pytest.raises(InputError, match=r"alpha: got 4\.81; expected 0\.1 to 4\.8"):
            live.update(alpha=4.81)
    with opened(pair) as live:
        assert live.trained == {}
        assert live.update(alpha=5.0).warnings == ()


def test_a_report_says_that_a_setting_is_beyond_training(pair, bundle_of):
    path = bundle_of("hyper-vxm-spr-small")
    images, options = (pair["fixed"], pair["moving"]), {"method": path, "init": "none", "device": "cpu"}
    for prior, expected in ((BetaPrior(alpha=1.0, lambda_max=4.8), 1), (BetaPrior(alpha=4.0, lambda_max=4.0), 0)):
        result = register(*images, prior=prior, **options)
        said = [line for line in result.report["warnings"] if "is beyond the training of the model tiny" in line]
        assert len(said) == expected
    assert np.isfinite(result.displacement.array).all()


def test_a_card_without_axes_gives_a_warning(pair, bundle_of):
    images, options = (pair["fixed"], pair["moving"]), {"init": "none", "device": "cpu"}
    for orientation, expected in ((None, 1), ("LIA", 0)):
        path = bundle_of("hyper-vxm-spr-small", card={"grid": WorkingGrid(orientation=orientation)})
        said = register(*images, method=path, **options).report["warnings"]
        assert sum("does not say how the axes of its training images point" in line for line in said) == expected

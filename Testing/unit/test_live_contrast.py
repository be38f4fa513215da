"""Exact replies of a live session say whether the stiffness map has contrast, as the report of a registration does."""

import pytest
from live_sessions import WANTED, opened, replies

from SPRCore import register
from SPRCore.cli.register import weight_line
from SPRCore.regularization import BetaPrior

STIFF = {"alpha": 0.6, "lambda_max": 5.0}


@pytest.mark.parametrize("method", ["instance", "hyper-vxm-spr-small"])
def test_exact_replies_have_the_contrast_and_previews_do_not(pair, bundle_of, method):
    with opened(pair, method=method if method == "instance" else bundle_of(method)) as live:
        preview = live.update(**WANTED)
        better = replies(live)
        final = live.commit()
    assert preview.contrast is None
    assert all(reply.contrast is None for reply in better[:-1])
    assert better[-1].contrast is not None
    assert final.contrast == better[-1].contrast
    weight = final.metrics["after"]["weight"]
    assert weight["verdict"] == final.contrast.verdict
    assert weight["p05"] == final.contrast.p05


def test_the_move_leads_to_a_map_with_contrast(pair):
    with opened(pair) as live:
        live.update(**STIFF)
        before = live.commit()
        assert before.contrast.verdict == "stiff"
        assert list(before.contrast.move) == ["alpha"]
        live.update(**before.contrast.move)
        after = live.commit()
    assert after.contrast.is_informative
    assert after.contrast.move == {}


def test_it_is_that_of_the_report(pair):
    with opened(pair) as live:
        live.update(**STIFF)
        weight = live.commit().metrics["after"]["weight"]
    report = register(pair["fixed"], pair["moving"], prior=BetaPrior(**STIFF), init="none", device="cpu").report
    assert report["metrics"]["after"]["weight"] == weight
    assert f"alpha {weight['move']['alpha']:g} instead of 0.6" in weight_line(weight, report["hyperparameters"])
    assert not [line for line in report["warnings"] if "stiffness map" in line]  # the deformation is as good as any

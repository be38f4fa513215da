"""The page on hyperpriors: the command for its figures, and its statements on jumps."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "explanation"


def test_the_figures_are_drawn_by_their_command(tmp_path, monkeypatch):
    text = (FOLDER / "priors.md").read_text(encoding="utf-8")
    command = re.search(r"`python (docs/explanation/\w+\.py)`", text)[1]
    monkeypatch.setattr(sys, "argv", [command, "--out", str(tmp_path)])
    runpy.run_path(str(FOLDER.parents[1] / command), run_name="__main__")
    shown = set(re.findall(r"\]\((priors-\w+\.png)\)", text))
    assert {path.name for path in tmp_path.iterdir()} == shown
    for name in shown:
        drawn, kept = imread(tmp_path / name), imread(FOLDER / name)
        assert drawn.shape == kept.shape
        assert drawn[..., :3].std() > 0.05, "it is not empty"
        assert abs(drawn - kept).mean() < 0.02, "the picture in the repository is an old one"
        assert (FOLDER / name).stat().st_size < 300_000


def ramp(prior, height, width):
    return width * float(prior.profile(torch.tensor([(height / width) ** 2], dtype=torch.float64)))


@pytest.mark.parametrize(
    ("prior", "cheaper", "twice"),
    [
        (UniformPrior(strength=1.0), "wide", 4.0),
        (TotalVariationPrior(tv=0.3, lambda_max=30.0), "equal", 2.0),
        (BetaPrior(alpha=0.01, lambda_max=20.0), "narrow", None),
        (GaussianPrior(sigma=0.02, lambda_mean=2.0), "narrow", 1.0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_a_jump_costs(prior, cheaper, twice):
    """The table of the page: a narrow and a wide ramp, both steep, and a jump twice as high."""
    narrow, wide, higher = ramp(prior, 4.0, 1), ramp(prior, 4.0, 3), ramp(prior, 8.0, 1)
    if cheaper == "equal":
        assert wide == pytest.approx(narrow, rel=1e-9)
    else:
        assert (wide < 0.5 * narrow) == (cheaper == "wide")
        assert (narrow < 0.5 * wide) == (cheaper == "narrow")
    if twice is None:
        assert higher - narrow == pytest.approx(prior.alpha * 2.0 * torch.tensor(2.0).log().item(), rel=1e-5)
    else:
        assert higher == pytest.approx(twice * narrow, rel=1e-2)  # the floor of the weight leaves a little

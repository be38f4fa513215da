"""What is measured in validation, and its pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from SPRCore.metrics import dice, dice_mean
from SPRCore.networks import RegistrationOutput
from SPRCore.regularization import BetaPrior
from SPRCore.training.batches import Batch
from SPRCore.training.distributed import Process
from SPRCore.training.hyper import LossSetting
from SPRCore.training.pictures import curves_figure, pairs_figure
from SPRCore.training.validate import measure, score, validate

SHAPE, SPACING = (16, 20, 18), (1.0, 1.5, 3.0)
SETTING = LossSetting(prior=BetaPrior(alpha=0.05, lambda_max=2.0))
HERE = Process(device=torch.device("cpu"))


@pytest.fixture(scope="module")
def pair(random_image):
    """A pair of which the fixed side is the moving one, two voxels further along Y."""
    moving = random_image(SHAPE, 1, dtype=torch.float32)
    labels = (random_image(SHAPE, 2) * 8).clamp(0, 5).long()
    fixed, fixed_labels = (image.roll(-2, dims=3) for image in (moving, labels))
    points = torch.tensor([[4.0, 5.0, 6.0], [8.0, 9.0, 10.0]])
    return Batch(
        moving=moving,
        fixed=fixed,
        spacings=(SPACING,),
        moving_labels=labels.to(torch.int16),
        fixed_labels=fixed_labels.to(torch.int16),
        labels=(2, 3, 4),
        moving_points=(points + torch.tensor([0.0, 2.0, 0.0]),),
        fixed_points=(points,),
        names=(("a", "b"),),
    )


def shift(length, weight=None):
    displacement = torch.zeros(1, 3, *SHAPE)
    displacement[:, 1] = length
    return RegistrationOutput(displacement=displacement, weight=weight)


class Shifter(torch.nn.Module):
    """A network that knows the answer for codes of 1."""

    def forward(self, moving, fixed, code=None, *, inverse=True):
        assert not self.training
        assert not inverse
        return shift(2.0 * float(code[0, 0]) if code is not None else 0.0)


def test_the_right_displacement_scores_perfectly_inside(pair):
    found = measure(shift(2.0), pair, SETTING)
    assert found["tre_mm"] == pytest.approx(0.0, abs=1e-5)
    assert found["tre_before_mm"] == pytest.approx(3.0)
    assert found["folding_percent"] == 0.0
    assert found["dice"] > 0.85 > 0.6 > found["dice_before"]  # what leaves the grid does not come back
    assert set(found["dice_labels"]) == {"2", "3", "4"}
    moved = np.clip(np.arange(SHAPE[1]) + 2, 0, SHAPE[1] - 1)
    warped, fixed = pair.moving_labels[0, 0].numpy()[:, moved], pair.fixed_labels[0, 0].numpy()
    expected = {label: value for label, value in dice(fixed, warped).items() if label in pair.labels}
    assert found["dice"] == pytest.approx(dice_mean(expected))
    assert "map_gap" not in found
    assert found["names"] == ["a", "b"]


def test_what_is_not_known_is_not_measured(pair):
    bare = Batch(moving=pair.moving, fixed=pair.fixed, spacings=(SPACING,))
    assert set(measure(shift(0.0), bare, SETTING)) == {"names", "lncc", "folding_percent"}
    weight = torch.full((1, 1, *SHAPE), 0.25)
    found = measure(shift(0.0, weight), bare, SETTING)
    assert found["weight"] == 0.25
    assert found["map_gap"] == pytest.approx(0.75)  # where nothing is deformed, stiff is most probable


def test_folds_are_counted(pair):
    output = shift(0.0)
    output.displacement[:, 0, 8] = 5.0
    assert measure(output, pair, SETTING)["folding_percent"] > 1.0


def test_means_and_the_pairs_that_are_shown(pair):
    coded = dataclasses.replace(SETTING, code=(1.0,))
    network = Shifter().train()
    reported = []
    found = validate(network, [pair] * 3, coded, HERE, pictures=2, report=reported.append)
    assert network.training
    assert found.summary["pairs"] == 3.0
    assert found.summary["tre_mm"] == pytest.approx(0.0, abs=1e-5)
    assert score(found.summary) == found.summary["dice"]
    assert len(found.shown) == 2
    assert reported == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert validate(Shifter(), [pair], SETTING, HERE).summary["tre_mm"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [({"dice": 0.7, "tre_mm": 2.0, "lncc": 0.4}, 0.7), ({"tre_mm": 2.0, "lncc": 0.4}, -2.0), ({"lncc": 0.4}, 0.4)],
)
def test_the_best_is_chosen_by_what_there_is(summary, expected):
    assert score(summary) == expected


def test_pictures_are_drawn_with_and_without_a_weight(pair):
    weight = torch.linspace(0.1, 1.0, SHAPE[0]).view(1, 1, -1, 1, 1).expand(1, 1, *SHAPE)
    with_weight = (pair, shift(2.0, weight), measure(shift(2.0, weight), pair, SETTING))
    without = (pair, shift(2.0), measure(shift(2.0), pair, SETTING))
    titles = [panel.get_title() for panel in pairs_figure([with_weight, without], "two").axes]
    assert "Weight: bright is free" in titles
    figure = pairs_figure([without], "one")
    assert "Weight: bright is free" not in [panel.get_title() for panel in figure.axes]
    assert "Dice 0." in figure.axes[0].get_ylabel()
    assert "TRE 3.00 → 0.00 mm" in figure.axes[0].get_ylabel()
    figure.canvas.draw()


def test_a_picture_cuts_across_the_coarsest_axis(pair):
    figure = pairs_figure([(pair, shift(2.0), measure(shift(2.0), pair, SETTING))], "one")
    image = figure.axes[0].get_images()[0]
    assert image.get_array().shape == (SHAPE[1], SHAPE[0])
    assert tuple(image.get_extent()) == (0, 16.0, 0, 30.0)
    warped, fixed = (figure.axes[place].get_images()[0].get_array() for place in (2, 1))
    assert float(np.abs(np.asarray(warped)[:-2] - np.asarray(fixed)[:-2]).max()) < 1e-5


def test_curves_take_what_there_is():
    rows = [{"kind": "train", "step": 20 * n, "loss": 1.0 / n, "similarity": 0.5} for n in range(1, 40)]
    rows += [{"kind": "validation", "step": 100, "dice": 0.7, "dice_before": 0.5, "lncc": None}]
    left, right = curves_figure(rows, "run").axes
    rows[-1] |= {"tre_mm": 2.0, "tre_before_mm": 3.0}
    assert {line.get_label() for line in curves_figure(rows, "run").axes[2].lines} == {"landmark error", "before"}
    assert {line.get_label() for line in left.lines} == {"loss", "similarity"}
    assert {line.get_label() for line in right.lines} == {"Dice", "Dice before"}
    assert not curves_figure([], "empty").axes[0].lines

"""Units of the loss: voxels as in the paper's code, or mm; and what models trained in voxels refuse."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from live_sessions import opened

from SPRCore import RegistrationOptions, Volume, register
from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.io.cards import ModelCard, WorkingGrid
from SPRCore.networks import RegistrationOutput
from SPRCore.registration.instance import InstanceProblem
from SPRCore.regularization import BetaPrior
from SPRCore.similarity import lncc
from SPRCore.training.batches import Batch
from SPRCore.training.config import LossConfig, TeacherConfig
from SPRCore.training.hyper import LossSetting, default_setting
from SPRCore.training.losses import batch_loss, map_weight
from SPRCore.training.model_card import card_of
from SPRCore.training.recipe import read_recipe
from SPRCore.training.validate import measure

SHAPE, HEART = (12, 11, 10), (1.5, 1.5, 3.5)
PRIOR = BetaPrior(alpha=0.493, lambda_max=1.177)


@pytest.fixture
def output(random_image, random_displacement):
    displacement = random_displacement(SHAPE, 7, length=1.5)
    return RegistrationOutput(displacement=displacement, weight=random_image(SHAPE, 5).clamp(0.1, 1.0))


def loss(output, random_image, config, spacing=HEART, prior=PRIOR):
    batch = Batch(moving=random_image(SHAPE, 1), fixed=random_image(SHAPE, 2), spacings=(spacing,))
    return batch_loss(output, batch, [LossSetting(prior=prior)], config)


def published_smoothness(displacement, weight):
    """The formula of the paper's code: means of weighted squared differences of neighbors, mean of three axes.

    Two known differences are taken out: here the weight of a difference is the mean of its two ends instead of the
    second, and sums are divided by voxels instead of differences.
    """
    total = 0.0
    for axis in (2, 3, 4):
        size = displacement.shape[axis]
        steps = torch.diff(displacement, dim=axis) ** 2
        ends = [weight.narrow(axis, first, size - 1) for first in (0, 1)]
        total += (steps * (0.5 * ends[0] + 0.5 * ends[1])).mean() * (size - 1) / size
    return total / 3.0


def test_in_voxels_the_loss_is_that_of_the_papers_code_on_every_grid(output, random_image):
    config = LossConfig(units="voxel")
    parts = loss(output, random_image, config)
    expected = PRIOR.lambda_max * published_smoothness(output.displacement, output.weight)
    assert float(parts["smoothness"]) == pytest.approx(float(expected), rel=1e-9)
    assert float(parts["prior"]) == pytest.approx(float(-PRIOR.alpha * output.weight.log().mean()), rel=1e-9)
    for name, value in loss(output, random_image, config, spacing=(1.0, 1.0, 1.0)).items():
        assert float(parts[name]) == pytest.approx(float(value), rel=1e-9), name
    in_mm = loss(output, random_image, LossConfig())
    assert abs(float(in_mm["smoothness"]) / float(parts["smoothness"]) - 1.0) > 0.1
    assert float(in_mm["similarity"]) != float(parts["similarity"])


def test_the_window_in_voxels_is_a_cube(output, random_image):
    from SPRCore.functional import warp

    parts = loss(output, random_image, LossConfig(units="voxel"))
    warped = warp(random_image(SHAPE, 1), output.displacement)
    assert float(parts["similarity"]) == pytest.approx(-float(lncc(random_image(SHAPE, 2), warped, 9)), rel=1e-9)


def test_a_shear_between_slices_has_another_weight_in_mm(random_image):
    """In mm a fine component along a coarse axis is (1.5 / 3.5)² as steep, the reverse (3.5 / 1.5)²."""
    ratios = []
    for component, axis in ((0, 2), (2, 0)):
        displacement = torch.zeros(1, 3, *SHAPE, dtype=torch.float64)
        ramp = torch.arange(SHAPE[axis], dtype=torch.float64)
        displacement[:, component] = 0.1 * ramp.view([-1 if at == axis else 1 for at in range(3)])
        made = RegistrationOutput(displacement=displacement, weight=torch.ones(1, 1, *SHAPE, dtype=torch.float64))
        values = [float(loss(made, random_image, LossConfig(units=units))["smoothness"]) for units in ("mm", "voxel")]
        ratios.append(values[0] / values[1])
    assert ratios == pytest.approx([(1.5 / 3.5) ** 2, (3.5 / 1.5) ** 2])


def test_the_most_probable_weight_has_the_unit_of_the_loss(output, random_image):
    config = LossConfig(units="voxel", map_weight_pull=1.0)
    prior = BetaPrior(alpha=0.01, lambda_max=2.0)
    likely = map_weight(output.displacement, (1.0, 1.0, 1.0), prior)
    at = dataclasses.replace(output, weight=likely)
    assert float(loss(at, random_image, config, prior=prior)["map_gap"]) == 0.0
    assert float(loss(at, random_image, LossConfig(map_weight_pull=1.0), prior=prior)["map_gap"]) > 1e-3
    pair = Batch(moving=random_image(SHAPE, 1), fixed=random_image(SHAPE, 2), spacings=(HEART,))
    setting = default_setting(LossConfig(units="voxel", alpha=0.01, lambda_max=2.0), None)
    assert measure(at, pair, setting)["map_gap"] == 0.0


def test_a_teacher_needs_mm():
    with pytest.raises(ConfigError, match="units: got voxel with a teacher; expected mm"):
        LossConfig(units="voxel", teacher=TeacherConfig())


@pytest.mark.parametrize("folder", ["ixi", "autopet", "acdc_mnms"])
def test_recipes_of_the_papers_tables_have_the_papers_loss(repository, folder):
    for path in (repository / "Training" / "recipes" / folder).glob("*.yaml"):
        if path.stem != "base":
            card = card_of(read_recipe(path))
            assert card.units == "voxel", path
            assert ModelCard.from_dict(card.to_dict()).units == "voxel"
    assert card_of(read_recipe(repository / "Training" / "recipes" / "acdc" / "vxm-spr-beta.yaml")).units == "mm"


def test_an_unknown_unit_is_refused():
    with pytest.raises(InputError, match="units: got 'inch'; expected one of: mm, voxel"):
        ModelCard(name="m", architecture={}, units="inch")


@pytest.fixture(params=[(2.0, 2.0, 2.0), (2.0, 2.0, 4.0)], ids=["isotropic", "anisotropic"])
def in_voxels(request, bundle_of):
    """A model trained in voxels, and whether its working grid is isotropic."""
    card = {"units": "voxel", "grid": WorkingGrid(spacing_mm=request.param)}
    return bundle_of("hyper-vxm-spr-small", card=card), len(set(request.param)) == 1


def test_a_refinement_keeps_the_setting_or_is_refused(pair, in_voxels, monkeypatch):
    path, isotropic = in_voxels
    priors, course = [], InstanceProblem.course
    monkeypatch.setattr(
        InstanceProblem, "course", lambda self, prior, *more: priors.append(prior) or course(self, prior, *more)
    )
    prior = BetaPrior(alpha=1.0, lambda_max=1.0)
    images, options = (pair["fixed"], pair["moving"]), {"method": path, "prior": prior, "init": "none", "device": "cpu"}
    refined = {"options": RegistrationOptions(refine=1)}
    if isotropic:  # gradients in voxels over voxels and in mm over mm are the same
        register(*images, **options, **refined)
        assert priors == [prior]
        return
    with pytest.raises(InputError, match=r"refine: got the model tiny .* in voxels, here of 2 x 2 x 4 mm; expected"):
        register(*images, **options, **refined)
    with pytest.raises(InputError, match="refine"), opened(pair, method=path, refine=2):
        pass
    assert np.isfinite(register(*images, **options).displacement.array).all()


def test_a_live_session_measures_the_gap_of_the_weight_in_the_same_unit_only(pair, in_voxels):
    path, isotropic = in_voxels
    with opened(pair, method=path) as live:
        gaps = [live.update(alpha=1.0).quality.weight_gap, live.commit().quality.weight_gap]
    assert all((gap is not None and math.isfinite(gap)) == isotropic for gap in gaps)


def test_the_weight_of_a_network_without_one_has_the_unit_of_its_training(tiny_network, card_for):
    """In voxels it does not depend on the spacing, and in mm it is the same where voxels have 1 mm."""
    from SPRCore.geometry import MaskedVolume
    from SPRCore.registration.network import register_network

    network = tiny_network("voxelmorph")
    arrays = np.random.default_rng(0).random((2, 20, 18, 16), np.float32)

    def weight(units, spacing):
        card = card_for(network, prior="beta", defaults={"alpha": 0.002, "lambda_max": 2.0}, units=units)
        images = (MaskedVolume.whole(Volume(array, np.diag([*spacing, 1.0]))) for array in arrays)
        return register_network(*images, network, card).weight.array

    wanted = weight("mm", (1.0, 1.0, 1.0))
    np.testing.assert_allclose(weight("voxel", HEART), wanted, atol=1e-6)
    assert np.abs(weight("mm", HEART) - wanted).max() > 1e-3

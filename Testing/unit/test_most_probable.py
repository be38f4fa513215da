"""The most probable weight has one definition, which solver, training and reports share."""

import numpy as np
import pytest
import torch

from SPRCore.analysis.interpret import likely_weight
from SPRCore.geometry import Field
from SPRCore.registration.instance import InstanceConfig
from SPRCore.regularization import BetaPrior, most_probable_weight, squared_gradient
from SPRCore.regularization.most_probable import POOL, pool_of
from SPRCore.training.losses import map_weight

SHAPE, SPACING = (9, 8, 6), (1.0, 1.2, 4.0)
PRIOR = BetaPrior(alpha=0.02, lambda_max=2.0)


@pytest.fixture
def displacement_vox(random_displacement):
    return random_displacement(SHAPE, 3).float()


def in_mm(displacement_vox):
    return displacement_vox * torch.tensor(SPACING).view(1, 3, 1, 1, 1)


def test_thick_slices_share_no_weight():
    assert pool_of(SPACING) == (1, 1, 0)
    assert pool_of((1.0, 1.0, 1.0)) == (POOL,) * 3
    assert pool_of((1.0, 1.49, 1.5), 2) == (2, 2, 0)
    assert InstanceConfig().pool == POOL


def test_the_weight_by_loops(displacement_vox):
    s = squared_gradient(in_mm(displacement_vox), SPACING)[0, 0].numpy()

    def mean(values):  # over 3 x 3 voxels of a slice, border voxels repeated
        padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="symmetric")
        windows = [padded[i : i + SHAPE[0], j : j + SHAPE[1]] for i in range(3) for j in range(3)]
        return np.mean(windows, axis=0)

    expected = mean(np.clip(0.02 / (2.0 * mean(s)), 1e-6, 1.0))
    found = most_probable_weight(in_mm(displacement_vox), SPACING, PRIOR)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert expected.min() < 0.5


def test_training_and_reports_use_it(displacement_vox):
    expected = most_probable_weight(in_mm(displacement_vox), SPACING, PRIOR)
    torch.testing.assert_close(map_weight(displacement_vox, SPACING, PRIOR), expected)
    affine = np.diag([*SPACING, 1.0])
    field = Field.from_tensor_vox(displacement_vox, affine)
    np.testing.assert_allclose(likely_weight(field, PRIOR), expected[0, 0].numpy(), rtol=1e-4)


def test_it_has_no_gradient(displacement_vox):
    field = in_mm(displacement_vox).requires_grad_()
    assert not most_probable_weight(field, SPACING, PRIOR).requires_grad

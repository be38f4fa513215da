"""What the README and docs/results claim, on the phantom and, where they are at hand, on real hearts."""

from __future__ import annotations

import numpy as np
import pytest

import SPRCore as spr
from SPRCore.geometry import Field, resample
from SPRCore.io import read_labels
from SPRCore.metrics import dice, dice_mean, folding_percent
from SPRCore.registration import register_instance
from SPRCore.synthetic import sliding_thorax

SETTING = spr.BetaPrior(alpha=0.01, lambda_max=5.0)


def phantom_errors(phantom, prior):
    fixed, moving = phantom.fixed.to_tensor(), phantom.moving.to_tensor()
    result = register_instance(fixed, moving, phantom.fixed.spacing, prior)
    field = Field.from_tensor_vox(result.displacement_vox, phantom.fixed.affine)
    voxel = min(phantom.fixed.spacing)
    error = np.linalg.norm(field.array - phantom.displacement.array, axis=-1) / voxel
    body, near = phantom.fixed_labels.array > 0, np.abs(phantom.boundary.array) <= 4 * voxel
    return error[body & near].mean(), error[body & ~near].mean(), folding_percent(field)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_setting_beats_every_uniform_strength_near_the_sliding_wall_and_away_from_it():
    phantom = sliding_thorax()
    near, away, folding = phantom_errors(phantom, SETTING)
    uniform = [phantom_errors(phantom, spr.UniformPrior(strength=s)) for s in (0.03, 0.1, 1.0, 3.0)]
    assert near < min(row[0] for row in uniform)
    assert away < 0.85 * min(row[1] for row in uniform)
    assert away < 0.65 * min(uniform)[1]  # that of the strength that is best near the wall
    assert folding <= 0.01


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(600)
def test_hearts_from_end_diastole_to_end_systole(shared_data):
    gains = []
    for patient in sorted((shared_data / "acdc").glob("patient*"))[::30]:
        info = dict(line.split(": ") for line in (patient / "Info.cfg").read_text().splitlines() if ": " in line)
        stem = {phase: patient / f"{patient.name}_frame{int(info[phase]):02d}" for phase in ("ED", "ES")}
        volumes = {phase: spr.read_volume(f"{path}.nii.gz") for phase, path in stem.items()}
        labels = {phase: read_labels(f"{path}_gt.nii.gz") for phase, path in stem.items()}
        result = spr.register(volumes["ES"], volumes["ED"])
        moved = resample(labels["ED"], volumes["ES"].grid, displacement=result.displacement, labels=True)
        before, after = (dice_mean(dice(labels["ES"], other)) for other in (labels["ED"], moved))
        gains.append(after - before)
        assert folding_percent(result.displacement) <= 0.01
    assert min(gains) > 0.0
    assert np.mean(gains) > 0.1

"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile(
    "spr",
    deadline=None,
    max_examples=25,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("spr")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes beside the repository; a test that asks for it skips where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent: real volumes are not part of the repository")
    return folder


def smooth_noise(shape, seed, sigma=1.5, channels=1, dtype=torch.float64):
    """Smoothed white noise of unit standard deviation, shape (1, channels, *shape)."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((1, channels, *shape)), (0, 0, *[sigma] * 3))
    return torch.as_tensor(noise / max(noise.std(), 1e-12), dtype=dtype)


@pytest.fixture(scope="session")
def random_image():
    """Make a smooth image of intensities about [0, 1]: shape, seed, sigma in voxels, type of number."""

    def make(shape, seed=0, sigma=1.5, dtype=torch.float64):
        return 0.5 + 0.15 * smooth_noise(shape, seed, sigma, dtype=dtype)

    return make


@pytest.fixture(scope="session")
def random_displacement():
    """Make a smooth displacement whose longest vector has a given length in voxels."""

    def make(shape, seed=0, length=1.5, sigma=3.0, dtype=torch.float64):
        field = smooth_noise(shape, seed + 1000, sigma, channels=3, dtype=dtype)
        return field * (length / field.norm(dim=1).amax())

    return make

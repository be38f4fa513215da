"""Fixtures and settings shared by all tests."""

from __future__ import annotations

import gc
import locale
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
gc.disable()  # until all tests are collected

settings.register_profile(
    "spr",
    deadline=None,
    max_examples=25,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("spr")

_EXIT_CODE = pytest.StashKey[int]()


def pytest_collection_finish():
    """Leave what was imported out of the collection of garbage, which would take half a second each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session, exitstatus):
    """Keep the exit code for `pytest_unconfigure`."""
    session.config.stash[_EXIT_CODE] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """End without the destructors of VTK and Qt, which were seen to crash after the last test, in any order."""
    if "vtkmodules" in sys.modules and _EXIT_CODE in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_EXIT_CODE])


@pytest.fixture(autouse=True)
def locale_of_before():
    """SimpleITK's writer of DICOM files sets the locale of the process to "C" and leaves it so."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


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


TINY = {
    "encoder": (4, 8, 8),
    "decoder": (8, 4),
    "embed": 8,
    "depths": (1, 1),
    "heads": (2, 2),
    "window": (2, 2, 2),
    "features": 4,
    "time_steps": 2,
    "hidden": 8,
    "weight_width": 4,
}


@pytest.fixture(scope="session")
def tiny_network():
    """Build a network of a preset in sizes that cost nothing, with random weights and fields of about a voxel."""
    from SPRCore.networks import build

    def make(name, seed=0, **overrides):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            network = build(name, **TINY | overrides).eval()
            last = [p for p in network.parameters() if 0 < p.abs().max() < 1e-3]  # what a fresh network keeps near 0
            for parameter in last:
                parameter.normal_(std=0.1)
            pair = torch.rand(2, 1, network.config.channels, 16, 16, 16)
            code = torch.full((1, network.config.codes), 0.5) if network.config.codes else None
            longest = float(network(*pair, code).displacement.abs().max())
            for parameter in last:
                parameter.mul_(1.5 / longest)
        return network

    return make


@pytest.fixture(scope="session")
def card_for():
    """Write a card that fits a network: prior and conditioning as its configuration says, the rest as given."""
    from SPRCore.io import ModelCard
    from SPRCore.regularization.hyperparameters import HYPERPARAMETERS

    def make(network, name="tiny", **fields):
        prior = network.config.weight or ("beta" if network.config.codes == 2 else "uniform")
        conditioning = list(HYPERPARAMETERS[prior])[: network.config.codes]
        ranges = {key: (0.1, 4.0) for key in conditioning}
        usual = {key: 1.0 for key in HYPERPARAMETERS[prior]}
        return ModelCard(
            name=name,
            **dict(architecture=network.config.to_dict(), prior=prior, conditioning=conditioning, ranges=ranges)
            | dict(defaults=usual)
            | fields,
        )

    return make


@pytest.fixture
def tiny_recipe(tmp_path):
    """Make a recipe that trains in a second: changes by the path of a key, as `--set` takes them."""
    from SPRCore.training.recipe import Recipe

    network = {"encoder": [4, 8], "decoder": [4], "weight": "beta", "weight_width": 4, "squarings": 2, "hidden": 4}
    generated = {"shape": [16, 16, 16], "train": 6, "validation": 2, "test": 1, "amplitude_mm": 5.0, "scale_mm": 14.0}

    def make(**changes):
        values = {
            "name": "tiny",
            "output": str(tmp_path / "run"),
            "device": "cpu",
            "data": {"generated": dict(generated)},
            "model": dict(network),
            "optimiser": {"lr": 1e-3, "epochs": 2},
            "validation": {"pictures": 0},
        }
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = values
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = value
        return Recipe.from_dict(values)

    return make

"""What several unit tests share: modules beside this file, a pair of images, a cohort, and simulated live workers."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def pair(random_image, random_displacement):
    """A textured image and its deformation by up to three voxels, with labels of bright voxels."""
    from live_sessions import AFFINE, SHAPE

    from SPRCore import Volume
    from SPRCore.functional import integrate, warp

    moving = random_image(SHAPE, 3, sigma=1.8, dtype=torch.float32)
    motion = integrate(random_displacement(SHAPE, 5, length=3.0, sigma=4.0, dtype=torch.float32))
    images = {"fixed": warp(moving, motion), "moving": moving}
    volumes = {name: Volume(image[0, 0].numpy(), AFFINE) for name, image in images.items()}
    labels = {f"{name}_labels": Volume((v.array > 0.6).astype(np.uint8), AFFINE) for name, v in volumes.items()}
    return volumes | labels


@pytest.fixture(scope="session")
def bundle_of(tiny_network, card_for, tmp_path_factory):
    """Write a tiny network with a card that fits and return its path."""
    from SPRCore.io import Bundle, write_bundle

    def make(preset, card=None, **overrides):
        network = tiny_network(preset, **overrides)
        path = tmp_path_factory.mktemp("models") / f"{preset}.sprmodel.safetensors"
        card = card_for(network, **(card or {}))
        write_bundle(Bundle(card=card, tensors=network.state_dict()), path)
        return path

    return make


@pytest.fixture(scope="session")
def written_hearts(tmp_path_factory):
    """The folder of a small cohort of hearts, which no test changes."""
    from hearts import write_patient

    folder = tmp_path_factory.mktemp("original") / "acdc"
    for number in range(6):
        write_patient(folder / ("testing" if number > 3 else "training"), f"patient{number:03d}", number)
    return folder


@pytest.fixture
def acdc(written_hearts, tmp_path):
    """The folder of a small cohort of hearts, a copy for each test."""
    return shutil.copytree(written_hearts, tmp_path / "acdc")


@pytest.fixture
def play():
    """Start conversations with simulated workers."""
    from simulated_worker import Played

    played = []

    def make(**deadlines):
        played.append(Played(**deadlines))
        return played[-1]

    yield make
    for one in played:
        one.store.sweep("w")
        one.session.close()


@pytest.fixture(scope="session")
def fake_worker():
    """The worker without computation of the end-to-end tests."""
    path = Path(__file__).resolve().parents[1] / "end_to_end" / "fake_worker.py"
    spec = importlib.util.spec_from_file_location("fake_worker", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_service(fake_worker):
    """Start services in threads; all end with the test."""
    from running_service import Running

    running = []

    def make(backend=None):
        running.append(Running(backend or fake_worker.FakeBackend()))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def worker(run_service):
    """A service in a thread with a pair open."""
    one = run_service()
    one.open()
    return one


@pytest.fixture
def make_config(tmp_path):
    """Make a study of a function of slot, parameters and callback."""

    pytest.importorskip("optuna")
    from simple_studies import Simple, X

    from SPRCore.tuning.space import Objective
    from SPRCore.tuning.storage import storage_url
    from SPRCore.tuning.worker import StudyConfig

    def make(function, **changes):
        usual = {
            "study": "s",
            "storage": storage_url(str(tmp_path / "s.log"), tmp_path),
            "parameters": X,
            "trials": 6,
        }
        usual |= {"objective": Objective(), "target": Simple(function)}
        return StudyConfig(**usual | changes)

    return make

"""The models that come with the package: sound, small, honest about their data, and answering to their sliders."""

from __future__ import annotations

import pytest
import torch

import SPRCore
from SPRCore.io.bundles import read_bundle
from SPRCore.io.places import SUFFIX, packaged_folder

PATHS = sorted(packaged_folder().glob(f"*{SUFFIX}"))
NAMES = [path.name.removesuffix(SUFFIX) for path in PATHS]


def test_a_newcomer_finds_models_and_they_are_small():
    assert {"cardiac-cine-hyper-spr", "cardiac-cine-hyper-spr-semi", "general-hyper-spr"} <= set(NAMES)
    sizes = [path.stat().st_size for path in PATHS]
    assert max(sizes) <= 25e6
    assert sum(sizes) <= 60e6


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_cards_name_the_data_their_terms_and_what_was_measured(path):
    card = read_bundle(path).card
    assert card.name + SUFFIX == path.name
    assert card.anatomy
    assert card.modality
    assert card.training_data
    assert card.licence
    assert card.metrics
    assert all(metric.how for metric in card.metrics)
    if "ACDC" in card.training_data:
        assert "non-commercial" in card.training_data_licence
        assert "NC" in card.licence


@pytest.mark.parametrize("name", NAMES)
def test_the_sliders_change_weight_and_motion(name, random_image):
    """Weak and even-handed at one end, strong and free at the other: the predicted weight must tell them apart."""
    network = SPRCore.load_model(name)
    fixed, moving = (random_image((48, 48, 32), seed, sigma=3.0, dtype=torch.float32) for seed in (1, 2))
    low, high = torch.tensor([[0.004, 1.0]]), torch.tensor([[1.0, 0.05]])  # alpha and lambda_max over their maxima
    with torch.no_grad():
        free, stiff = (network(moving, fixed, code=code) for code in (low, high))
    assert float(free.weight.mean()) < float(stiff.weight.mean()) - 0.1
    assert float((free.displacement - stiff.displacement).abs().max()) > 0.02

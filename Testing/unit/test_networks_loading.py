"""From network to bundle and back, and bundles whose tensors do not fit their card."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from SPRCore.errors import InputError
from SPRCore.io import Bundle, read_bundle, write_bundle
from SPRCore.networks import list_models
from SPRCore.networks.loading import build_from_bundle, bundle_of


@pytest.mark.parametrize("name", list_models())
def test_a_network_survives_its_bundle(name, tiny_network, card_for, tmp_path, random_image):
    network = tiny_network(name)
    path = tmp_path / "tiny.sprmodel.safetensors"
    write_bundle(bundle_of(network, card_for(network, architecture={})), path)
    state = torch.get_rng_state()
    again = build_from_bundle(read_bundle(path))
    assert torch.equal(torch.get_rng_state(), state)
    assert again.config == network.config
    assert not again.training
    pair = [random_image((16, 18, 17), seed, dtype=torch.float32) for seed in (0, 1)]
    code = torch.full((1, network.config.codes), 0.5) if network.config.codes else None
    with torch.no_grad():
        assert torch.equal(again(*pair, code).displacement, network(*pair, code).displacement)


@pytest.fixture
def bundle(tiny_network, card_for):
    network = tiny_network("hyper-vxm-spr-small")
    return bundle_of(network, card_for(network))


def with_architecture(bundle, **changes):
    return Bundle(dataclasses.replace(bundle.card, architecture=bundle.card.architecture | changes), bundle.tensors)


def test_what_does_not_fit_is_named(bundle):
    first = next(iter(bundle.tensors))
    rest = {name: tensor for name, tensor in bundle.tensors.items() if name != first}
    for tensors, words in (
        (rest, f"tensor {first}: got none"),
        (rest | {first: torch.ones(3)}, rf"tensor {first}: got real numbers of shape \(3,\)"),
        (rest | {first: bundle.tensors[first].long()}, f"tensor {first}: got whole numbers"),
        (bundle.tensors | {"backdoor": torch.ones(1)}, "tensor backdoor"),
    ):
        with pytest.raises(InputError, match=words):
            build_from_bundle(Bundle(bundle.card, tensors))


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "pickle"},
        {"encodr": [4, 8, 8]},
        {"encoder": "4,8"},
        {"encoder": [10**9, 10**9, 10**9]},
        {"channels": True},
        {"hidden": 4.5},
        {"hidden": 10**400},
        {"weight": "gaussian"},
        {"codes": 1},
        {"conditioning": None, "codes": 0},
        {"depths": []},
    ],
)
def test_a_hostile_architecture_is_refused_in_one_line(changes, bundle):
    with pytest.raises(InputError) as caught:
        build_from_bundle(with_architecture(bundle, **changes))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_network_far_larger_than_the_file_is_never_built(bundle, monkeypatch):
    from SPRCore.networks import loading

    devices = []
    real = loading.build
    monkeypatch.setattr(
        loading, "build", lambda config: devices.append(torch.get_default_device().type) or real(config)
    )
    with pytest.raises(InputError, match="shape"):
        build_from_bundle(with_architecture(bundle, encoder=[512] * 3, decoder=[512] * 2, conditioning="full"))
    assert devices == ["meta"]


def test_half_precision_is_read(bundle):
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in bundle.tensors.items()}
    assert {p.dtype for p in build_from_bundle(Bundle(bundle.card, halved)).parameters()} == {torch.float32}

"""Golden outputs of the networks, made by Testing/golden/make_networks.py."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from SPRCore.networks import NetworkConfig, build
from SPRCore.networks.reference_checkpoints import import_checkpoint


@pytest.fixture(params=["author", "hyper-transmorph", "hyper-voxelmorph"])
def golden(request, repository):
    with safe_open(repository / "Testing" / "golden" / f"{request.param}.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        config = NetworkConfig.from_dict(json.loads(file.metadata()["config"]))
    groups = {"state": {}, "input": {}, "output": {}}
    for name, tensor in tensors.items():
        group, _, key = name.partition(".")
        groups[group][key] = tensor.float() if tensor.is_floating_point() else tensor
    return request.param, config, groups


@torch.no_grad()
def test_results_are_what_they_were(golden, tmp_path):
    name, config, groups = golden
    state = groups["state"]
    if name == "author":
        torch.save({"epoch": 1, "state_dict": state}, tmp_path / "model.pth.tar")
        found, state = import_checkpoint(tmp_path / "model.pth.tar")
        assert found == config
    network = build(config).eval()
    network.load_state_dict(state)
    output = network(**groups["input"])
    for key, expected in groups["output"].items():
        torch.testing.assert_close(getattr(output, key)[..., ::2, ::2, ::2], expected, atol=1e-4, rtol=0)
        assert expected.abs().max() > 0.05

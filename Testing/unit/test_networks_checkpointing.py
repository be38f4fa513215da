"""Time steps that are computed again in the backward pass have the same gradients and leave less behind."""

from __future__ import annotations

import pytest
import torch

from SPRCore.networks import build

SIZES = {"embed": 16, "depths": (1, 1), "heads": (2, 2), "window": (2, 2, 2), "features": 4, "time_steps": 3}
SIZES |= {"weight_width": 4, "hidden": 8, "drop_path": 0.0, "half_resolution": False}


def trained(network, pair, checkpoint):
    """Gradients of a step, and how many values its graph holds by PyTorch's hooks."""
    again = build(network.config, checkpoint=checkpoint).double().train()
    again.load_state_dict(network.state_dict())
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(tensor.numel()) or tensor, lambda t: t):
        output = again(*pair, torch.full((1, 2), 0.4, dtype=torch.float64) if network.config.codes else None)
        (output.displacement.square().sum() + output.weight.log().sum()).backward()
    return {name: parameter.grad for name, parameter in again.named_parameters()}, sum(held), again


@pytest.mark.parametrize("options", [{}, {"conditioning": "film", "codes": 2}, {"conditioning": "full", "codes": 2}])
def test_gradients_are_the_same_with_less_kept(random_image, options):
    torch.manual_seed(0)
    network = build("tm-spr", **SIZES, **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            if 0 < parameter.abs().max() < 1e-3:
                parameter.normal_(std=0.05)
    pair = [random_image((16, 16, 16), seed) for seed in (0, 1)]
    (spared, less, _), (plain, more, _) = (trained(network, pair, value) for value in (True, False))
    for name, gradient in plain.items():
        torch.testing.assert_close(spared[name], gradient)
    assert less < 0.8 * more


def test_statistics_of_a_batch_are_gathered_once(random_image):
    network = build("tm-spr", **SIZES, norm="batch").double()
    pair = [random_image((16, 16, 16), seed) for seed in (0, 1)]
    (*_, spared), (*_, plain) = (trained(network, pair, value) for value in (True, False))
    for name, value in plain.state_dict().items():
        if "running" in name or "tracked" in name:
            assert torch.equal(spared.state_dict()[name], value)

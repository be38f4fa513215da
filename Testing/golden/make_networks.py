"""Makes the golden cases of the networks: weights, images and the fields that came of them, all our own.

Run it only when a change of the results is meant: ``python Testing/golden/make_networks.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from SPRCore.networks import NetworkConfig, build
from SPRCore.networks.reference_checkpoints import author_name
from SPRCore.networks.windows import relative_index

FOLDER = Path(__file__).parent
SHAPE = (20, 16, 17)
TRANSMORPH = {"embed": 8, "depths": (2, 1), "heads": (2, 4), "window": (2, 3, 2), "features": 4, "weight_width": 4}
CASES = {
    # In the author's names, so that the import is held, too; of MIR's format, with its sampler.
    "author": NetworkConfig(
        architecture="transmorph_tvf",
        time_steps=3,
        sampling="half_voxel",
        weight="beta",
        weight_stride=1,
        **TRANSMORPH,
    ),
    "hyper-transmorph": NetworkConfig(
        architecture="transmorph_tvf",
        time_steps=2,
        half_resolution=True,
        weight="gaussian",
        conditioning="film",
        codes=2,
        hidden=8,
        **TRANSMORPH,
    ),
    "hyper-voxelmorph": NetworkConfig(
        encoder=(4, 8, 8), decoder=(8, 4), weight="beta", weight_width=4, conditioning="lora", codes=1, hidden=8
    ),
}


def as_author(network):
    """The tensors of a network as the author's module would save them."""
    config, state = network.config, network.state_dict()
    trunk = state.pop("trunk.weight").split(config.features)
    tensors = {}
    for name, tensor in state.items():
        if name.endswith(".join.weight"):
            tensor = torch.cat([trunk[int(name.split(".")[1])], tensor], dim=1)
        tensors[author_name(name, config)] = tensor
    for name in [name for name in tensors if name.endswith("bias_table")]:
        tensors[name.replace("bias_table", "index")] = relative_index(config.window, config.window)
    return tensors


def randomized(config):
    """A network whose every weight matters: random, and exact in half precision, in which the files keep them."""
    network = build(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.abs().max() < 1e-3 or parameter.unique().numel() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            parameter.copy_(parameter.half())
    return network


def make(name, config):
    network = randomized(config)
    smooth = torch.nn.functional.avg_pool3d(torch.rand(2, 1, *(size + 4 for size in SHAPE)), 5, stride=1)
    moving, fixed = ((smooth - smooth.amin()) / (smooth.amax() - smooth.amin())).half().float().split(1)
    inputs = {"moving": moving, "fixed": fixed}
    if config.codes:
        inputs["code"] = torch.tensor([[0.25, 0.75][: config.codes]])
    with torch.no_grad():
        output = network(**inputs)
    state = as_author(network) if name == "author" else network.state_dict()
    tensors = {f"state.{key}": value.half() if value.is_floating_point() else value for key, value in state.items()}
    tensors |= {f"input.{key}": value.half() for key, value in inputs.items()}
    tensors |= {f"output.{key}": value[..., ::2, ::2, ::2] for key, value in vars(output).items() if value is not None}
    metadata = {"config": json.dumps(config.to_dict())}
    save_file({key: value.contiguous() for key, value in tensors.items()}, FOLDER / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    for number, (case, settings) in enumerate(CASES.items()):
        torch.manual_seed(number)
        make(case, settings)

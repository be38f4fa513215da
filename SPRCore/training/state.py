"""Checkpoints: the state of a run in one file.

A checkpoint is a safetensors file: the tensors of network, running mean and optimiser, and JSON metadata with the step,
the best score and the values that must be unchanged to resume. Reading it executes no code. It is written atomically,
so that a process may be killed at any time. Random numbers and pairs of a step follow from the seed and the step.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from SPRCore.errors import InputError
from SPRCore.io.atomic import atomic_path
from SPRCore.typing import Tensor

SCHEMA = 1
FOLDER = "checkpoints"
_SUBFOLDERS = (FOLDER, "last", "pictures", "tensorboard")
_SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """State of a run: steps, tensors by part ("network", "mean", "optimiser") and name, further values for JSON."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write a checkpoint atomically (`OutputError` if impossible), and remove older ones."""
    from safetensors.torch import save_file

    flat = {
        f"{part}/{name}": tensor.detach().cpu().contiguous()
        for part, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    facts = {"schema": SCHEMA, "step": checkpoint.step, **checkpoint.facts}
    path = folder / FOLDER / f"{checkpoint.step:09d}{_SUFFIX}"
    with atomic_path(path) as temporary:
        save_file(flat, temporary, metadata={"state": json.dumps(facts)})
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, to the CPU.

    Raises:
        InputError: The file is damaged, or not a checkpoint of this version.
    """
    from safetensors import SafetensorError, safe_open

    remedy = f"remove {path.name} to resume from an older checkpoint, or start a new run"
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["state"])
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():
                part, _, name = key.partition("/")
                tensors.setdefault(part, {})[name] = file.get_tensor(key)
            step, schema = int(facts.pop("step")), facts.pop("schema")
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(str(path), got=f"an unreadable checkpoint ({error})", remedy=remedy) from None
    if schema != SCHEMA:
        raise InputError(str(path), got=f"schema {schema}", expected=str(SCHEMA), remedy=remedy)
    return Checkpoint(step=step, tensors=tensors, facts=facts)


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted((folder / FOLDER).glob(f"[0-9]*{_SUFFIX}"))


def remove_partial_files(folder: Path) -> None:
    """Remove partial files of a killed process."""
    for written in (folder, *(folder / part for part in _SUBFOLDERS)):
        for partial in written.glob(".partial-*"):
            shutil.rmtree(partial, ignore_errors=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimiser by number of the parameter and name."""
    states = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in states.items() for name, value in state.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore an optimiser, the inverse of `optimiser_tensors` (`InputError` for tensors of other parameters)."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = tensor
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for number, state in states.items():
        for name, tensor in state.items():
            if number >= len(parameters) or (tensor.ndim and tensor.shape != parameters[number].shape):
                raise InputError("checkpoint", got=f"{name} of another parameter {number}", expected="this network's")
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})


class RunningMean:
    """Exponential moving average of the weights of a network, which is validated and written.

    Args:
        network: The network that is trained.
        decay: Weight of the previous mean in a step, in [0, 1); smaller in early steps.

    Attributes:
        network: A network with the mean weights, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the mean after a step, counted from 1, of the network that is trained."""
        share = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        for mean, parameter in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(parameter, share)
        for mean, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(buffer)

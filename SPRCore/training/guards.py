"""Failures of a training step: non-finite values and too little memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from SPRCore.errors import ConvergenceError, SPRError, is_out_of_memory
from SPRCore.io.atomic import atomic_path
from SPRCore.networks import NetworkConfig
from SPRCore.training.batches import Batch
from SPRCore.training.recipe import Recipe
from SPRCore.typing import Tensor

BAD_BATCH = "not-finite"


def check_finite(
    norm: Tensor, batches: Sequence[Batch], parts: Sequence[dict[str, float]], step: int, folder: Path, rank: int
) -> None:
    """Raise before a non-finite gradient reaches the weights, and save the offending batch in the folder of the run.

    Args:
        norm: Norm of the gradient, averaged over all processes, so that all of them raise.
        batches: Batches of the step in this process.
        parts: Parts of the loss of each batch.
        step: Number of the step.
        folder: Folder of the run.
        rank: Number of this process.

    Raises:
        ConvergenceError: The norm is not finite.
    """
    if bool(norm.isfinite()):
        return
    path = folder / f"{BAD_BATCH}-step{step:09d}-process{rank}.safetensors"
    _save([pair for batch in batches for pair in batch.split()], parts, step, path)
    wrong = sorted({name for part in parts for name, value in part.items() if not math.isfinite(value)})
    got = f"{', '.join(wrong)} of the loss" if wrong else "a finite loss with a gradient"
    raise ConvergenceError(
        f"step {step}",
        got=f"{got} that became NaN or infinite",
        expected="finite values",
        remedy=f"the pairs are in {path}; lower optimiser.lr, inspect these images, or set precision: fp32; the last "
        "checkpoint is intact",
    )


def _save(pairs: Sequence[Batch], parts: Sequence[dict[str, float]], step: int, path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {}
    for number, pair in enumerate(pairs):
        named = {name: value[0] if isinstance(value, tuple) else value for name, value in vars(pair).items()}
        tensors |= {
            f"{number}/{name}": value.detach().cpu().contiguous()
            for name, value in named.items()
            if isinstance(value, Tensor)
        }
    written = [{name: value if math.isfinite(value) else str(value) for name, value in part.items()} for part in parts]
    facts = {"step": step, "pairs": [pair.names[0] for pair in pairs], "parts": written}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"batch": json.dumps(facts)})


@contextmanager
def guarded_memory(recipe: Recipe, shape: Sequence[int], device: torch.device) -> Iterator[None]:
    """Convert an out-of-memory error of a step on images of a shape to an `SPRError` with the settings to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = " x ".join(map(str, shape))
        got = f"not enough on {device} for a step on {size} voxels"
        raise SPRError("memory", got=got, remedy="; or ".join(memory_remedies(recipe, device))) from error


def memory_remedies(recipe: Recipe, device: torch.device) -> list[str]:
    """Return command-line options that reduce the memory of a step, the mildest first, without those already set."""
    model, optimiser = recipe.model, recipe.optimiser
    found = []
    if optimiser.batch > 1:
        pairs = optimiser.batch * optimiser.accumulate
        found.append(f"--set optimiser.batch=1 --set optimiser.accumulate={pairs}, which is the same training")
    if model.architecture == "transmorph_tvf" and not model.checkpoint:
        found.append("--set model.checkpoint=true, which is the same training")
    if recipe.precision == "fp32" and device.type == "cuda":
        found.append("--set precision=bf16")
    if model.conditioning == "full":
        found.append("--set model.conditioning=film")
    if not model.half_resolution:
        found.append("--set model.half_resolution=true")
    found.append("a smaller preprocessing.shape or a larger preprocessing.spacing_mm")
    found.append(f"a smaller model ({_width(model)})")
    return found


def _width(model: NetworkConfig) -> str:
    return "model.encoder, model.decoder" if model.architecture == "voxelmorph" else "model.embed, model.features"

"""Two ways in which a step can fail, told in words: numbers that are none, and memory that is not there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from SPRCore.errors import ConvergenceError, SPRError
from SPRCore.io.atomic import atomic_path
from SPRCore.networks import NetworkConfig
from SPRCore.training.losses import Pair
from SPRCore.training.recipe import Recipe
from SPRCore.typing import Tensor

BAD_BATCH = "not-finite"


def stop_if_not_finite(
    norm: Tensor, pairs: Sequence[Pair], parts: Sequence[dict[str, float]], step: int, folder: Path, rank: int
) -> None:
    """Stop before a step whose gradient is not finite can spoil the weights, and keep what it was computed of.

    Args:
        norm: Norm of the gradient, averaged over all processes: no process can go on where one cannot.
        pairs: Pairs of the step in this process.
        parts: Parts of the loss of each batch.
        step: Number of the step.
        folder: Folder of the run; the pairs are written into it.
        rank: Number of this process.

    Raises:
        ConvergenceError: The norm is not finite.
    """
    if bool(norm.isfinite()):
        return
    from safetensors.torch import save_file

    path = folder / f"{BAD_BATCH}-step{step:09d}-process{rank}.safetensors"
    kept = {}
    for place, pair in enumerate(pairs):
        named = {name: value for name, value in vars(pair).items() if isinstance(value, Tensor)}
        kept |= {f"{place}/{name}": value.detach().cpu().contiguous() for name, value in named.items()}
    facts = {"step": step, "pairs": [pair.names for pair in pairs], "parts": [_written(part) for part in parts]}
    with atomic_path(path) as temporary:
        save_file(kept, temporary, metadata={"batch": json.dumps(facts)})
    wrong = sorted({name for part in parts for name, value in part.items() if not math.isfinite(value)})
    got = f"{', '.join(wrong)} of the loss" if wrong else "a finite loss with a gradient"
    raise ConvergenceError(
        f"step {step}",
        got=f"{got} that left the numbers",
        expected="finite numbers",
        remedy=f"the pairs are in {path}; lower optimiser.lr, look at these images, or set precision: fp32; the last "
        "checkpoint is sound",
    )


def _written(part: dict[str, float]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else str(value) for name, value in part.items()}


@contextmanager
def guarded_memory(recipe: Recipe, shape: Sequence[int], device: torch.device) -> Iterator[None]:
    """Turn an error for want of memory into one that names what to turn.

    Args:
        recipe: The recipe.
        shape: Sizes (X, Y, Z) of the images of the step.
        device: Where it computes.

    Yields:
        Nothing.

    Raises:
        SPRError: The block ran out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        size = " x ".join(map(str, shape))
        got = f"not enough on {device} for a step on {size} voxels"
        raise SPRError("memory", got=got, remedy="; or ".join(knobs(recipe, device))) from error


def knobs(recipe: Recipe, device: torch.device) -> list[str]:
    """Return what makes a step need less memory, of that which the recipe does not do already, the mildest first.

    Args:
        recipe: The recipe.
        device: Where it computes.

    Returns:
        Changes in the words of the command line.
    """
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


def _is_out_of_memory(error: BaseException) -> bool:
    words = str(error)
    known = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return known or "out of memory" in words or "can't allocate memory" in words

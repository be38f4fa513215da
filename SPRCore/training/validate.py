"""How good a network is on pairs that it is not trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SPRCore.functional import warp
from SPRCore.geometry import Field
from SPRCore.metrics import dice, dice_mean, folding_percent, tre_mm
from SPRCore.networks import RegistrationNetwork, RegistrationOutput
from SPRCore.similarity import lncc
from SPRCore.training.distributed import Process
from SPRCore.training.hyper import Setting
from SPRCore.training.losses import Pair, map_gap
from SPRCore.typing import Tensor

Score = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """What was measured.

    Attributes:
        pairs: For each pair its names and what was measured of it, as `measure` gives it.
        summary: Means over the pairs by name, and their number, ``"pairs"``.
        shown: Pairs to be pictured, with the output of the network and what was measured, on the CPU.
    """

    pairs: tuple[Score, ...]
    summary: dict[str, float]
    shown: tuple[tuple[Pair, RegistrationOutput, Score], ...]

    @property
    def score(self) -> float:
        """What the best model is chosen by: mean Dice; without labels minus the landmark error, or the correlation."""
        found = self.summary
        if "dice" in found:
            return found["dice"]
        return -found["tre_mm"] if "tre_mm" in found else found["lncc"]


@torch.no_grad()
def validate(
    network: RegistrationNetwork,
    count: int,
    pair_at: Callable[[int], Pair],
    setting: Setting,
    process: Process,
    pictures: int = 0,
    tell: Callable[[float], None] | None = None,
) -> Validation:
    """Measure a network on pairs, which the processes share among them.

    Args:
        network: The network, not wrapped.
        count: Number of pairs.
        pair_at: Gives the pair of a number, on the device of the process.
        setting: Hyperparameters.
        process: This process.
        pictures: How many of the first pairs to keep for pictures; only the first process keeps its own.
        tell: Told the fraction done.

    Returns:
        What was measured of all pairs, in every process.
    """
    scores, shown = [], []
    with _evaluating(network):
        for number in range(process.rank, count, process.world):
            pair = pair_at(number)
            code = pair.moving.new_tensor([setting.code]) if setting.code else None
            output = network(pair.moving, pair.fixed, code, inverse=False)
            scores.append(measure(output, pair, setting))
            if process.is_first and len(shown) < pictures:
                shown.append((_on_cpu(pair), _on_cpu(output), scores[-1]))
            if tell is not None:
                tell(len(scores) * process.world / count)
    everything = process.gathered(scores)
    return Validation(pairs=tuple(everything), summary=_summary(everything), shown=tuple(shown))


def measure(output: RegistrationOutput, pair: Pair, setting: Setting) -> Score:
    """Measure one registration.

    Args:
        output: What the network gave.
        pair: The pair.
        setting: Hyperparameters, for the distance from the most probable weight.

    Returns:
        ``names``; ``lncc`` and ``folding_percent``; with labels ``dice`` (mean), ``dice_labels`` and ``dice_before``;
        with landmarks ``tre_mm`` and ``tre_before_mm``; of a network with a weight ``weight`` (mean) and ``map_gap``.
    """
    affine = np.diag([*pair.spacing, 1.0])
    field = Field.from_tensor_vox(output.displacement.float().cpu(), affine)
    warped = warp(pair.moving, output.displacement)
    score: Score = {
        "names": list(pair.names),
        "lncc": float(lncc(pair.fixed[:, :1], warped[:, :1], spacing=pair.spacing)),
        "folding_percent": folding_percent(field),
    }
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        moved = warp(pair.moving_labels.to(output.displacement.dtype), output.displacement, mode="nearest")
        after, before = (_overlap(pair, labels) for labels in (moved, pair.moving_labels))
        score |= {"dice": dice_mean(after), "dice_before": dice_mean(before)}
        score["dice_labels"] = {str(label): value for label, value in after.items()}
    if pair.fixed_points is not None and pair.moving_points is not None and len(pair.fixed_points):
        fixed, moving = (points.cpu().numpy() * pair.spacing for points in (pair.fixed_points, pair.moving_points))
        score |= {
            "tre_mm": float(tre_mm(fixed, moving, field).mean()),
            "tre_before_mm": float(tre_mm(fixed, moving).mean()),
        }
    if output.weight is not None:
        score |= {"weight": float(output.weight.mean()), "map_gap": map_gap(output, pair.spacing, setting.prior)}
    return score


def _overlap(pair: Pair, moving_labels: Tensor) -> dict[int, float]:
    arrays = (labels[0, 0].round().cpu().numpy().astype(np.int32) for labels in (pair.fixed_labels, moving_labels))
    return {label: value for label, value in dice(*arrays).items() if label in pair.labels}


def _summary(scores: list[Score]) -> dict[str, float]:
    names = [name for name in (scores[0] if scores else {}) if isinstance(scores[0][name], float)]
    means = {name: [score[name] for score in scores if not math.isnan(score.get(name, math.nan))] for name in names}
    return {name: float(np.mean(values)) for name, values in means.items() if values} | {"pairs": float(len(scores))}


def _on_cpu(thing: Any) -> Any:
    moved = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in vars(thing).items()}
    return type(thing)(**moved)


@contextmanager
def _evaluating(network: RegistrationNetwork) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)

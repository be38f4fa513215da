"""Validation of a network on pairs outside the training set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from SPRCore.functional import warp
from SPRCore.geometry import Field
from SPRCore.metrics import dice, dice_mean, folding_percent, slider_fidelity, tre_mm
from SPRCore.networks import RegistrationNetwork, RegistrationOutput
from SPRCore.regularization.gradient_units import spacing_in
from SPRCore.similarity import lncc
from SPRCore.training.batches import Batch
from SPRCore.training.distributed import Process
from SPRCore.training.hyper import LossSetting
from SPRCore.training.losses import map_gap
from SPRCore.typing import Tensor

_CPU = torch.device("cpu")

PairMetrics = dict[str, Any]
SolvedSettings = tuple[Batch, Sequence[LossSetting]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """Metrics of a network on validation pairs.

    Attributes:
        pairs: Names and metrics of each pair, as `measure` returns them.
        summary: Means over the pairs by name, and their number, ``"pairs"``.
        shown: Pairs to draw, with the output of the network and the metrics, on the CPU.
    """

    pairs: tuple[PairMetrics, ...]
    summary: dict[str, float]
    shown: tuple[tuple[Batch, RegistrationOutput, PairMetrics], ...]


def score(summary: Mapping[str, float]) -> float:
    """Return the value that the best model has highest: mean Dice, else minus the landmark error, else correlation."""
    if "dice" in summary:
        return summary["dice"]
    return -summary["tre_mm"] if "tre_mm" in summary else summary["lncc"]


@torch.no_grad()
def validate(
    network: RegistrationNetwork,
    pairs: Sequence[Batch] | Dataset[Batch],
    setting: LossSetting,
    process: Process,
    *,
    solved: Callable[[int], SolvedSettings | None] | None = None,
    pictures: int = 0,
    report: Callable[[float], None] | None = None,
) -> Validation:
    """Measure a network on pairs, which are divided among the processes.

    Args:
        network: The network, not wrapped.
        pairs: Batches of one pair.
        setting: Hyperparameters.
        process: This process.
        solved: Returns a pair by its number, once for each setting of a teacher, with the settings; or None.
        pictures: Number of the first pairs that the first process keeps for pictures.
        report: Called with the completed fraction.

    Returns:
        Metrics of all pairs, in every process.
    """
    metrics, shown, count = [], [], len(pairs)
    with _evaluating(network):
        for number in range(process.rank, count, process.world):
            pair = pairs[number].to(process.device)
            code = pair.moving.new_tensor([setting.code]) if setting.code else None
            output = network(pair.moving, pair.fixed, code, inverse=False)
            metrics.append(measure(output, pair, setting))
            if solved is not None and (known := solved(number)) is not None:
                metrics[-1] |= measure_sliders(network, known[0].to(process.device), known[1])
            if process.is_first and len(shown) < pictures:
                shown.append((pair.to(_CPU), _on_cpu(output), metrics[-1]))
            if report is not None:
                report(len(metrics) * process.world / count)
    gathered = process.gathered(metrics)
    return Validation(pairs=tuple(gathered), summary=_summary(gathered), shown=tuple(shown))


def measure(output: RegistrationOutput, pair: Batch, setting: LossSetting) -> PairMetrics:
    """Measure one registration.

    Args:
        output: Output of the network.
        pair: A batch of one pair.
        setting: Hyperparameters, for the distance from the most probable weight.

    Returns:
        ``names``; ``lncc`` and ``folding_percent``; with labels ``dice`` (mean), ``dice_labels`` and ``dice_before``;
        with landmarks ``tre_mm`` and ``tre_before_mm``; of a network with a weight ``weight`` (mean) and ``map_gap``.
    """
    affine = np.diag([*pair.spacing, 1.0])
    field = Field.from_tensor_vox(output.displacement.float().cpu(), affine)
    warped = warp(pair.moving, output.displacement)
    metrics: PairMetrics = {
        "names": list(pair.names[0]),
        "lncc": float(lncc(pair.fixed[:, :1], warped[:, :1], spacing=pair.spacing)),
        "folding_percent": folding_percent(field),
    }
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        moved = warp(pair.moving_labels.to(output.displacement.dtype), output.displacement, mode="nearest")
        after, before = (_overlap(pair, labels) for labels in (moved, pair.moving_labels))
        metrics |= {"dice": dice_mean(after), "dice_before": dice_mean(before)}
        metrics["dice_labels"] = {str(label): value for label, value in after.items()}
    if pair.fixed_points is not None and pair.moving_points is not None and len(pair.fixed_points[0]):
        fixed, moving = (points[0].cpu().numpy() * pair.spacing for points in (pair.fixed_points, pair.moving_points))
        metrics |= {
            "tre_mm": float(tre_mm(fixed, moving, field).mean()),
            "tre_before_mm": float(tre_mm(fixed, moving).mean()),
        }
    if output.weight is not None:
        metrics |= {
            "weight": float(output.weight.mean()),
            "map_gap": map_gap(output, spacing_in(setting.units, pair.spacing), setting.prior),
        }
    return metrics


def measure_sliders(network: RegistrationNetwork, solved: Batch, settings: Sequence[LossSetting]) -> dict[str, float]:
    """Compare a network with the displacements of the instance solver at several settings.

    Args:
        network: The network.
        solved: The pair once for each setting, with the displacements.
        settings: The settings.

    Returns:
        ``teacher_mm``, the mean distance of the displacements; with two settings or more also `slider_fidelity`.
    """
    spacing = solved.moving.new_tensor(solved.spacing).view(1, 3, 1, 1, 1)
    parts = []
    for pair, setting in zip(solved.split(), settings, strict=True):
        code = pair.moving.new_tensor([setting.code]) if setting.code else None
        parts.append(network(pair.moving, pair.fixed, code, inverse=False).displacement)
    found, wanted = ((field * spacing).float().cpu().numpy() for field in (torch.cat(parts), solved.teacher_vox))
    distance = {"teacher_mm": float(np.linalg.norm(found - wanted, axis=1).mean())}
    return distance | (slider_fidelity(found, wanted) if len(settings) > 1 else {})


def _overlap(pair: Batch, moving_labels: Tensor) -> dict[int, float]:
    arrays = (labels[0, 0].round().cpu().numpy().astype(np.int32) for labels in (pair.fixed_labels, moving_labels))
    return {label: value for label, value in dice(*arrays).items() if label in pair.labels}


def _summary(metrics: list[PairMetrics]) -> dict[str, float]:
    names = [name for name, value in (metrics[0] if metrics else {}).items() if isinstance(value, float)]
    values = {name: [each[name] for each in metrics if not math.isnan(each.get(name, math.nan))] for name in names}
    return {name: float(np.mean(each)) for name, each in values.items() if each} | {"pairs": float(len(metrics))}


def _on_cpu(output: RegistrationOutput) -> RegistrationOutput:
    return RegistrationOutput(**{name: value if value is None else value.cpu() for name, value in vars(output).items()})


@contextmanager
def _evaluating(network: RegistrationNetwork) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)

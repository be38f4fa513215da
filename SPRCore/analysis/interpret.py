"""Statistics of a displacement and its weight map: by structure, correlations, and across label boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from SPRCore.analysis.planes import foreground
from SPRCore.functional import box_mean
from SPRCore.geometry import Field, Volume
from SPRCore.metrics import determinant_map
from SPRCore.regularization import Prior, most_probable_weight, squared_gradient
from SPRCore.typing import Vectors

_VARIANCE_RADIUS = 2
"""Half width in voxels of the window of the local variance, limited by the size of an axis."""

_MOST_VOXELS = 40_000  # of a rank correlation; its standard error is then 0.005


def interpret(
    displacement: Field,
    weight: Volume | None,
    fixed: Volume,
    labels: Volume | None = None,
    prior: Prior | None = None,
) -> dict[str, Any]:
    """Compute statistics of a displacement and its weight map, in RAS mm on the fixed grid.

    Correlations are over the foreground of `fixed`. With a `prior` the weight is compared with the most probable one.

    Returns:
        ``structures``: by label ("0": the rest of the foreground) mean, standard deviation and median of ``weight``,
        ``displacement_mm`` (its length), ``gradient`` (see `gradient_map`) and ``jacobian``, and the number of
        ``voxels``; ``correlation``: rank correlation of the weight with ``displacement``, ``variance`` and
        ``gradient``; ``boundary``: see `boundary_jumps`; ``weight``: mean, percentiles 5, 50 and 95, and ``map_gap``,
        its mean distance from the most probable one. Entries without weight or labels are missing.
    """
    inside = foreground(fixed)
    length = np.linalg.norm(displacement.array, axis=-1)
    gradient = gradient_map(displacement)
    maps = {"displacement_mm": length, "gradient": gradient}
    if min(fixed.shape) >= 3:
        maps["jacobian"] = _full(determinant_map(displacement), fixed.shape)
    if weight is not None:
        maps["weight"] = weight.array
    found: dict[str, Any] = {}
    if labels is not None:
        found["structures"] = dict(_structures(maps, labels.array, inside))
        found["boundary"] = boundary_jumps(displacement, labels, weight)
    if weight is not None:
        others = {"displacement": length, "variance": variance_map(displacement), "gradient": gradient}
        found["correlation"] = {k: rank_correlation(weight.array[inside], v[inside]) for k, v in others.items()}
        low, middle, high = np.percentile(weight.array[inside], (5, 50, 95))
        values = {"mean": weight.array[inside].mean(), "p05": low, "median": middle, "p95": high}
        if prior is not None:
            gap = np.abs(weight.array - likely_weight(displacement, prior))[inside].mean()
            values["map_gap"] = gap
        found["weight"] = {key: float(value) for key, value in values.items()}
    return found


def gradient_map(displacement: Field) -> np.ndarray:
    """Root mean square of the spatial derivatives of a displacement over directions and components, (X, Y, Z)."""
    return np.sqrt(squared_gradient(_in_mm(displacement), displacement.grid.spacing)[0, 0].numpy())


def variance_map(displacement: Field, radius: int = _VARIANCE_RADIUS) -> np.ndarray:
    """Local variance of a displacement in mm², summed over its components, (X, Y, Z), in windows of some voxels."""
    field = torch.from_numpy(displacement.array).movedim(-1, 0)[None].double()
    radii = [min(radius, (size - 1) // 2) for size in field.shape[2:]]
    variance = box_mean(field.square(), radii) - box_mean(field, radii).square()
    return variance.clamp(min=0).sum(dim=1)[0].numpy().astype(np.float32)


def likely_weight(displacement: Field, prior: Prior) -> np.ndarray:
    """Most probable weight for a displacement under a prior, (X, Y, Z).

    A network with a velocity predicts the weight of the velocity, which is close for small deformations.
    """
    return most_probable_weight(_in_mm(displacement), displacement.grid.spacing, prior)[0, 0].numpy()


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation over at most 40 000 randomly chosen values; None if one input is constant."""
    from scipy.stats import rankdata

    if len(first) > _MOST_VOXELS:
        chosen = np.random.default_rng(0).choice(len(first), _MOST_VOXELS, replace=False)
        first, second = first[chosen], second[chosen]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def boundary_jumps(displacement: Field, labels: Volume, weight: Volume | None = None) -> dict[str, float]:
    """Compare neighboring voxels with different labels to those within one structure.

    Returns:
        ``across`` and ``within``: mean difference of the displacements of two neighbors per mm, at different labels and
        within one structure (not 0); ``ratio``; ``weight_across`` and ``weight_within``: mean weight of both voxels.
        Empty without a boundary.
    """
    sums = {name: np.zeros(2) for name in ("jump", "weight", "count")}
    array = labels.array
    for axis, step in enumerate(labels.spacing):
        if array.shape[axis] < 2:
            continue
        low, high = _ends(array, axis)
        jump = np.linalg.norm(np.diff(displacement.array, axis=axis), axis=-1) / step
        ends = None if weight is None else np.add(*_ends(weight.array, axis)) / 2
        for kind, where in enumerate((low != high, (low == high) & (low != 0))):
            sums["jump"][kind] += jump[where].sum(dtype=np.float64)
            sums["count"][kind] += np.count_nonzero(where)
            sums["weight"][kind] += 0.0 if ends is None else ends[where].sum(dtype=np.float64)
    if not sums["count"].all():
        return {}
    across, within = sums["jump"] / sums["count"]
    found = {"across": float(across), "within": float(within), "ratio": float(across / max(within, 1e-12))}
    if weight is not None:
        stiff = sums["weight"] / sums["count"]
        found |= {"weight_across": float(stiff[0]), "weight_within": float(stiff[1])}
    return found


def _in_mm(displacement: Field) -> Vectors:
    """Displacement in mm along the axes of the grid, as in the energy."""
    field = displacement.to_tensor_vox()
    return field * field.new_tensor(displacement.grid.spacing).view(1, 3, 1, 1, 1)


def _structures(
    maps: dict[str, np.ndarray], labels: np.ndarray, inside: np.ndarray
) -> Iterator[tuple[str, dict[str, Any]]]:
    for label in np.unique(labels):
        where = labels == label if label else (labels == 0) & inside
        if not where.any():
            continue
        values = {name: array[where] for name, array in maps.items()}
        found = {
            name: {"mean": float(part.mean()), "sd": float(part.std()), "median": float(np.median(part))}
            for name, part in ((name, part[np.isfinite(part)]) for name, part in values.items())
            if part.size
        }
        yield str(int(label)), {**found, "voxels": int(np.count_nonzero(where))}


def _full(inner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pad values of the inner voxels to the whole grid, NaN at the border."""
    full = np.full(shape, np.nan, dtype=np.float32)
    full[1:-1, 1:-1, 1:-1] = inner
    return full


def _ends(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    size = array.shape[axis]
    return np.take(array, range(size - 1), axis), np.take(array, range(1, size), axis)

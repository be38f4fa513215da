r"""Cache of the velocities of visited settings, and the interpolation between them.

The coarse solution c(s) of a preview differs from the exact one v(s) by detail that the preview grid does not resolve
and that hardly depends on the setting. So a preview is

.. math:: c(s) + \sum_i w_i(s)\,(v(s_i) - c(s_i))

over the settings :math:`s_i` with a known exact velocity: at each of them the preview equals the exact velocity on the
preview grid, with smooth transitions. A sum of smooth velocities is a smooth velocity, whose flow does not fold; a sum
of displacements may fold.

The weight follows from the squared gradient, which is smaller on a coarse grid. The logarithm of the ratio of the
squared gradients of :math:`v(s_i)` on both grids is interpolated with the same :math:`w_i(s)`, so that at each of these
settings the weight is that of the exact gradient.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

from SPRCore.live.cache import ByteCache
from SPRCore.live.settings import Key, key_of
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import hyperparameters
from SPRCore.typing import Scalars, Tensor, Vectors

NEIGHBORS = 12
NEAR = 0.25
"""Distance of settings, in slider lengths, within which the weight of a preview counts as known: of 0.25, 0.3 and 0.4
the only one with a median correlation of 0.9 or more on all measured pairs (docs/adr/0015)."""

_EXACTNESS = 30.0


class VelocityCache:
    """Velocities of visited settings on the preview grid, with a maximum of total bytes."""

    def __init__(self, limit: int) -> None:
        self._coarse: ByteCache[_Entry] = ByteCache(limit // 2)
        self._exact: ByteCache[_Entry] = ByteCache(limit * 3 // 8)
        self._sharpness: ByteCache[_Entry] = ByteCache(limit // 8)
        self._unconverged: frozenset[Key] = frozenset()
        self._current: frozenset[Key] = frozenset()  # exact solutions of the current energy

    @property
    def nbytes(self) -> int:
        """Total bytes."""
        return self._coarse.nbytes + self._exact.nbytes + self._sharpness.nbytes

    @property
    def has_exact(self) -> bool:
        """Whether an exact solution is known."""
        return len(self._exact) > 0

    def add_coarse(self, prior: Prior, position: np.ndarray, velocity_mm: Vectors, is_final: bool = True) -> None:
        """Store the coarse solution of a setting and whether it has converged."""
        key = key_of(hyperparameters(prior))
        self._coarse.put(key, (prior, position, velocity_mm), _size(velocity_mm))
        self._unconverged = self._unconverged - {key} if is_final else self._unconverged | {key}

    def add_exact(
        self, prior: Prior, position: np.ndarray, velocity_mm: Vectors, coarse_mm: Vectors, is_final: bool = True
    ) -> None:
        """Store the exact velocity of a setting on the preview grid, with its coarse one and whether that converged."""
        key, both = key_of(hyperparameters(prior)), torch.cat([velocity_mm, coarse_mm])
        self._exact.put(key, (prior, position, both), _size(both))
        self._current |= {key}
        self.add_coarse(prior, position, coarse_mm, is_final)

    def add_sharpness(self, prior: Prior, position: np.ndarray, sharpness: Scalars) -> None:
        """Store the result of `PreviewGrid.sharpness` of an exact solution."""
        self._sharpness.put(key_of(hyperparameters(prior)), (prior, position, sharpness), _size(sharpness))

    def sharpness(self, position: np.ndarray) -> Scalars | None:
        """Interpolate the sharpness; None without an exact solution."""
        found = interpolate(position, list(self._sharpness))
        return None if found is None else found[0]

    def nearest(self, position: np.ndarray) -> _Entry | None:
        """Return prior, position and velocity of the nearest coarse solution; None if the cache is empty."""
        return min(self._coarse, key=lambda entry: float(np.linalg.norm(entry[1] - position)), default=None)

    def has_converged(self, prior: Prior) -> bool:
        """Whether the converged coarse solution of a setting is known."""
        key = key_of(hyperparameters(prior))
        return key in self._coarse and key not in self._unconverged

    def is_near_exact(self, position: np.ndarray) -> bool:
        """Whether an exact solution of the current energy is within `NEAR`."""
        exact = [at for prior, at, _ in self._exact if key_of(hyperparameters(prior)) in self._current]
        return any(float(np.linalg.norm(at - position)) <= NEAR for at in exact)

    def unfinished(self) -> Prior | None:
        """Return a setting with a known exact solution, but no converged coarse one."""
        return next((prior for prior, _, _ in self._exact if not self.has_converged(prior)), None)

    def coarse(self, position: np.ndarray) -> tuple[Vectors, np.ndarray] | None:
        """Interpolate the coarse velocity; None if the cache is empty.

        The returned position differs from the requested one outside of the convex hull of visited settings.
        """
        return interpolate(position, list(self._coarse))

    def detail(self, position: np.ndarray) -> Vectors | None:
        """Interpolate the difference of exact and coarse velocities; None without an exact solution."""
        entries = [(prior, at, self._difference(prior, both)) for prior, at, both in self._exact]
        found = interpolate(position, entries)
        return None if found is None else found[0]

    def _difference(self, prior: Prior, both: Tensor) -> Tensor:
        """Exact minus latest coarse velocity."""
        coarse = self._coarse.get(key_of(hyperparameters(prior)))
        return both[:1] - (both[1:] if coarse is None else coarse[2])

    def forget_coarse(self) -> None:
        """Drop the coarse velocities after a change of the energy; details are kept as the best estimate."""
        self._coarse.clear()
        self._unconverged = self._current = frozenset()

    def clear(self) -> None:
        """Drop everything."""
        self.forget_coarse()
        self._exact.clear()
        self._sharpness.clear()


_Entry = tuple[Prior, np.ndarray, Tensor]


def _size(field: Tensor) -> int:
    return field.numel() * field.element_size()


def interpolate(position: np.ndarray, entries: list[_Entry]) -> tuple[Tensor, np.ndarray] | None:
    """Interpolate the fields of entries; None without entries.

    The returned position is the nearest one in the convex hull of the entries.
    """
    if not entries:
        return None
    positions = np.array([at for _, at, _ in entries])
    weights = _interpolation_weights(position, positions)
    total = torch.zeros_like(entries[0][2])
    for weight, (_, _, field) in zip(weights.tolist(), entries, strict=True):
        if weight:
            total.add_(field, alpha=weight)
    return total, weights @ positions


def _interpolation_weights(position: np.ndarray, positions: np.ndarray) -> np.ndarray:
    r"""Return the interpolation weights, each at least 0, with sum 1, of positions (n, axes) at another one (axes,).

    The weights minimize :math:`30^2 |\sum_i w_i x_i - x|^2 + \sum_i w_i^2 |x_i - x|^2` over :math:`w_i \ge 0`,
    :math:`\sum_i w_i = 1`: inside of the convex hull nearly the linear interpolation, preferring near positions;
    outside, that at the nearest point of the hull; at one of the positions, that one alone.
    """
    distances = np.linalg.norm(positions - position, axis=1)
    near = np.argsort(distances, kind="stable")[:NEIGHBORS]
    rows = [_EXACTNESS * (positions[near] - position).T, np.diag(distances[near]), np.full((1, len(near)), 1e3)]
    right = np.zeros(sum(len(row) for row in rows))
    right[-1] = 1e3
    found, _ = nnls(np.concatenate(rows), right)
    weights = np.zeros(len(positions))
    weights[near] = found / found.sum()
    return weights

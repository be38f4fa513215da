r"""Settings visited so far, and the velocity between them.

A coarse solution c(s) of a preview differs from the exact one v(s) by what a coarse grid does not see, and this
difference hardly depends on the setting. So a preview is

.. math:: c(s) + \sum_i w_i(s)\,(v(s_i) - c(s_i))

over the settings :math:`s_i` whose exact velocity is known: at each of them the preview is the exact velocity on the
coarse grid, and between them it goes over smoothly. Sums of smooth velocities are smooth velocities, whose flow does
not fold; sums of displacements would.

The weight needs more: it follows from the squared gradient, which is smaller on a coarse grid. The logarithm of how
much larger that of :math:`v(s_i)` is on the grid of the solver is interpolated with the same :math:`w_i(s)`, so that at
each of these settings the weight is that of the exact gradient.
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
"""Distance of settings, in lengths of a slider, within which an exact solution vouches for the weight of a preview: of
0.25, 0.3 and 0.4 the only one with a median correlation of 0.9 or more on all pairs measured (docs/adr/0015)."""

_EXACTNESS = 30.0


class Visited:
    """Velocities of visited settings on the grid of the previews, bounded in bytes.

    Args:
        limit: Most bytes.
    """

    def __init__(self, limit: int) -> None:
        self._coarse: ByteCache[_Entry] = ByteCache(limit // 2)
        self._exact: ByteCache[_Entry] = ByteCache(limit * 3 // 8)
        self._sharp: ByteCache[_Entry] = ByteCache(limit // 8)
        self._rough: frozenset[Key] = frozenset()
        self._valid: frozenset[Key] = frozenset()  # exact solutions of the energy as it is now

    def __len__(self) -> int:
        """Return the number of settings whose coarse solution is known."""
        return len(self._coarse)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._coarse.nbytes + self._exact.nbytes + self._sharp.nbytes

    @property
    def has_exact(self) -> bool:
        """Whether an exact solution is known."""
        return len(self._exact) > 0

    def add_coarse(self, prior: Prior, place: np.ndarray, velocity_mm: Vectors, is_final: bool = True) -> None:
        """Take note of a coarse solution.

        Args:
            prior: Its setting.
            place: Where that lies between the ends of the sliders.
            velocity_mm: Its velocity.
            is_final: Whether it has converged.
        """
        key = key_of(hyperparameters(prior))
        self._coarse.put(key, (prior, place, velocity_mm), _size(velocity_mm))
        self._rough = self._rough - {key} if is_final else self._rough | {key}

    def add_exact(
        self, prior: Prior, place: np.ndarray, velocity_mm: Vectors, coarse_mm: Vectors, is_final: bool = True
    ) -> None:
        """Take note of an exact solution.

        Args:
            prior: Its setting.
            place: Where that lies between the ends of the sliders.
            velocity_mm: Its velocity on the grid of the previews.
            coarse_mm: Velocity of the coarse solution for the same setting, as far as it has come.
            is_final: Whether that has converged.
        """
        key, parts = key_of(hyperparameters(prior)), torch.cat([velocity_mm, coarse_mm])
        self._exact.put(key, (prior, place, parts), _size(parts))
        self._valid |= {key}
        self.add_coarse(prior, place, coarse_mm, is_final)

    def add_sharpness(self, prior: Prior, place: np.ndarray, sharpness: Scalars) -> None:
        """Take note of how much sharper an exact solution is than the canvas can show.

        Args:
            prior: Its setting.
            place: Where that lies between the ends of the sliders.
            sharpness: What `Canvas.sharpness` gave.
        """
        self._sharp.put(key_of(hyperparameters(prior)), (prior, place, sharpness), _size(sharpness))

    def sharpness(self, place: np.ndarray) -> Scalars | None:
        """Interpolate how much sharper exact solutions are; None where no exact one is known."""
        found = blended(place, list(self._sharp))
        return None if found is None else found[0]

    def nearest(self, place: np.ndarray) -> _Entry | None:
        """Return prior, place and velocity of the nearest coarse solution; None where nothing is known."""
        return min(self._coarse, key=lambda entry: float(np.linalg.norm(entry[1] - place)), default=None)

    def knows(self, prior: Prior) -> bool:
        """Whether the coarse solution for a setting is known and has converged."""
        key = key_of(hyperparameters(prior))
        return key in self._coarse and key not in self._rough

    def is_near_exact(self, place: np.ndarray) -> bool:
        """Whether an exact solution, of the energy as it is now, lies within `NEAR` of a place."""
        exact = [at for prior, at, _ in self._exact if key_of(hyperparameters(prior)) in self._valid]
        return any(float(np.linalg.norm(at - place)) <= NEAR for at in exact)

    def unfinished(self) -> Prior | None:
        """Return a setting whose exact solution is known, but not the converged coarse one."""
        return next((prior for prior, _, _ in self._exact if not self.knows(prior)), None)

    def coarse(self, place: np.ndarray) -> tuple[Vectors, np.ndarray] | None:
        """Interpolate the coarse velocity.

        Args:
            place: Where between the ends of the sliders.

        Returns:
            The velocity and the place that it is for, which is another one where the wanted one lies outside of those
            visited; None where nothing is known.
        """
        return blended(place, list(self._coarse))

    def detail(self, place: np.ndarray) -> Vectors | None:
        """Interpolate what exact velocities add to coarse ones; None where no exact one is known."""
        entries = [(prior, at, self._difference(prior, parts)) for prior, at, parts in self._exact]
        found = blended(place, entries)
        return None if found is None else found[0]

    def _difference(self, prior: Prior, parts: Tensor) -> Tensor:
        """Exact minus coarse, the coarse one as it is known by now."""
        known = self._coarse.get(key_of(hyperparameters(prior)))
        return parts[:1] - (parts[1:] if known is None else known[2])

    def forget_coarse(self) -> None:
        """Drop coarse velocities, as when the energy has changed; details stay, as the best that is known of them."""
        self._coarse.clear()
        self._rough = self._valid = frozenset()

    def clear(self) -> None:
        """Drop everything."""
        self.forget_coarse()
        self._exact.clear()
        self._sharp.clear()


_Entry = tuple[Prior, np.ndarray, Tensor]


def _size(field: Tensor) -> int:
    return field.numel() * field.element_size()


def blended(place: np.ndarray, known: list[_Entry]) -> tuple[Tensor, np.ndarray] | None:
    """Interpolate fields.

    Args:
        place: Where, shape (axes,).
        known: Priors, places and fields.

    Returns:
        The field and the place that it is for, the nearest one between those known; None where nothing is known.
    """
    if not known:
        return None
    places = np.array([at for _, at, _ in known])
    weights = blending(place, places)
    total = torch.zeros_like(known[0][2])
    for weight, (_, _, field) in zip(weights.tolist(), known, strict=True):
        if weight:
            total.add_(field, alpha=weight)
    return total, weights @ places


def blending(place: np.ndarray, places: np.ndarray) -> np.ndarray:
    r"""Return how much each of some places counts at another one.

    The weights minimize :math:`30^2 |\sum_i w_i x_i - x|^2 + \sum_i w_i^2 |x_i - x|^2` over :math:`w_i \ge 0`,
    :math:`\sum_i w_i = 1`: inside of the places nearly the linear interpolation, of near places rather than of far
    ones; outside, that at the nearest point inside; at one of the places, that place alone.

    Args:
        place: Where, shape (axes,).
        places: The places, shape (n, axes), n at least 1.

    Returns:
        Weights of shape (n,), each at least 0, their sum 1.
    """
    distances = np.linalg.norm(places - place, axis=1)
    near = np.argsort(distances, kind="stable")[:NEIGHBORS]
    rows = [_EXACTNESS * (places[near] - place).T, np.diag(distances[near]), np.full((1, len(near)), 1e3)]
    right = np.zeros(sum(len(row) for row in rows))
    right[-1] = 1e3
    found, _ = nnls(np.concatenate(rows), right)
    weights = np.zeros(len(places))
    weights[near] = found / found.sum()
    return weights

"""Which setting of the prior suits a pair: held-out similarity on a coarse grid, without labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SPRCore.functional import kept_memory, resize, warp
from SPRCore.geometry import MaskedVolume
from SPRCore.registration.instance import InstanceProblem, InstanceResult, normalized
from SPRCore.registration.job import Job
from SPRCore.registration.level import lies_inside
from SPRCore.registration.pair import aligned_tensors
from SPRCore.registration.pyramid import Level, make_level
from SPRCore.registration.solver import InstanceConfig
from SPRCore.regularization import BetaPrior, Prior
from SPRCore.regularization.priors import hyperparameters
from SPRCore.similarity import FixedStatistics, correlate, variance_floor, window_radius
from SPRCore.typing import Masks, Scalars, Tensor

AUTO = "auto"
"""What stands for a prior that is chosen for the pair."""

CANDIDATES: tuple[Prior, ...] = tuple(BetaPrior(alpha=0.1, lambda_max=value) for value in (8.0, 4.0, 2.0, 1.0, 0.5))
"""Settings to choose from, the stiffest first; a default that is none of them is compared as the last."""

Choosing = Generator[float, None, "Choice"]
"""A choice that may be left, for good or for a while, wherever it yields the fraction done, 0 to 1."""

LEAST_BLOCKS = 8
"""Fewer blocks with information give no standard error worth the name: then nothing is chosen."""


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """How a setting is chosen.

    Attributes:
        candidates: Settings, the stiffest first.
        voxels: Most voxels of the coarse grid.
        block: Edge of a held-out block, in voxels of the finest axis of the coarse grid.
        window: Window of the held-out similarity, odd, in the same voxels.
        cold: Most steps per level from rest, for the stiffest candidate.
        warm: Most steps per level of the others, each from the velocity of the one before.
        tolerance: A level ends when a step lowers the energy by less than this part of it.
    """

    candidates: tuple[Prior, ...] = CANDIDATES
    voxels: int = 60_000
    block: int = 13
    window: int = 5
    cold: tuple[int, ...] = (6, 4, 3)
    warm: tuple[int, ...] = (0, 2, 2)
    tolerance: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Score:
    """A candidate and its held-out similarity.

    Attributes:
        prior: The candidate.
        similarity: Mean squared local correlation over the held-out windows.
        behind: How much less that is than the best candidate's.
        error: Standard error of `behind` over the blocks.
    """

    prior: Prior
    similarity: float
    behind: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for a pair.

    Attributes:
        prior: The setting: the best candidate where it is ahead of the default by more than a standard error, otherwise
            the default.
        default: The setting that stands where nothing is better.
        scores: All candidates, the stiffest first; empty where nothing could be compared.
        blocks: Number of held-out blocks with information.
    """

    prior: Prior
    default: Prior
    scores: tuple[Score, ...]
    blocks: int

    @property
    def warnings(self) -> list[str]:
        """What the user must know of a choice that could not be made."""
        if self.scores:
            return []
        return [
            f"No setting was chosen for this pair: {self.blocks} held-out blocks hold information, {LEAST_BLOCKS} are "
            f"needed; the default setting was used."
        ]

    def report(self) -> dict[str, Any]:
        """The choice as `report.json` holds it."""
        rows = [
            {"setting": _named(s.prior), "similarity": s.similarity, "behind": s.behind, "standard_error": s.error}
            for s in self.scores
        ]
        return {
            "chosen_by": "held-out similarity" if self.scores else "default",
            "chosen": _named(self.prior),
            "default": _named(self.default),
            "blocks": self.blocks,
            "candidates": rows,
        }


def chosen_setting(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: Job,
    callback: Callable[[float], None] | None = None,
    config: ChoiceConfig | None = None,
) -> Choice:
    """Choose a setting for an aligned pair; arguments as for ``register_pair``.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, or None.
        job: Stiffness, device, window of the similarity and default setting.
        callback: Told the fraction done, 0 to 1.
        config: How to choose; the defaults if None.

    Returns:
        The choice, the same for the same pair.

    Raises:
        InputError: The images cannot be registered.
        ConvergenceError: The energy left the numbers.
    """
    with kept_memory():
        return _completed(choosing_for(fixed, moving, affine_ras, job, config), callback)


def choosing_for(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: Job,
    config: ChoiceConfig | None = None,
) -> Choosing:
    """Begin a choice that can be left and gone on with; arguments, result and errors as for ``chosen_setting``."""
    parts = aligned_tensors(fixed, moving, affine_ras, job)
    solver = dataclasses.replace(InstanceConfig(), window=job.config.window, search=job.config.search)
    return (yield from _choosing(spacing=fixed.grid.spacing, default=job.prior, solver=solver, config=config, **parts))


def choose_setting(
    fixed: Scalars,
    moving: Scalars,
    spacing: Sequence[float],
    *,
    mask: Scalars | None = None,
    moving_mask: Scalars | None = None,
    stiffness: Scalars | None = None,
    default: Prior | None = None,
    solver: InstanceConfig | None = None,
    config: ChoiceConfig | None = None,
    callback: Callable[[float], None] | None = None,
) -> Choice:
    r"""Register a pair on a coarse grid at each candidate without seeing some blocks, and compare there.

    The solver sees no voxel of a held-out block. In the block, windows that lie wholly within it give the squared local
    correlation :math:`c^2`, so that no window of the score shares a voxel with one of the solver: fitted noise raises
    the latter and not the former. With the differences :math:`d_b` of the best candidate and another, averaged over the
    windows of block b, and the shares :math:`p_b` of its windows, the standard error of the mean difference is
    :math:`\sqrt{\sum_b p_b^2 (d_b - \bar d)^2}`.

    Args:
        fixed: Fixed image, shape (1, 1, X, Y, Z).
        moving: Moving image on the same grid.
        spacing: Voxel size along each axis, in mm.
        mask: Voxels of the fixed image that hold data (nonzero), or None for all.
        moving_mask: Likewise of the moving image.
        stiffness: Painted factor q > 0 of the weight of each voxel, or None for 1.
        default: Setting where nothing can be compared; ``BetaPrior()`` if None.
        solver: Window and other settings of the solver; its steps and tolerance are those of `config`.
        config: How to choose; the defaults if None.
        callback: Told the fraction done, 0 to 1.

    Returns:
        The choice.

    Raises:
        InputError: The images cannot be registered.
        ConvergenceError: The energy left the numbers.
    """
    parts = {"mask": mask, "moving_mask": moving_mask, "stiffness": stiffness}
    options = {"default": default, "solver": solver, "config": config}
    return _completed(_choosing(fixed, moving, spacing, **parts, **options), callback)


def _completed(choosing: Choosing, callback: Callable[[float], None] | None) -> Choice:
    while True:
        try:
            fraction = next(choosing)
        except StopIteration as end:
            return end.value
        if callback is not None:
            callback(fraction)


def _choosing(
    fixed: Scalars,
    moving: Scalars,
    spacing: Sequence[float],
    *,
    default: Prior | None,
    solver: InstanceConfig | None,
    config: ChoiceConfig | None,
    **parts: Scalars | None,
) -> Choosing:
    config, default = config or ChoiceConfig(), default or BetaPrior()
    if default not in config.candidates:
        config = dataclasses.replace(config, candidates=(*config.candidates, default))
    pair = _CoarsePair.of(fixed, moving, spacing, config, **parts)
    blocks = int(pair.number[pair.scored].unique().numel())
    if blocks < LEAST_BLOCKS:
        return Choice(prior=default, default=default, scores=(), blocks=blocks)
    problem, seen, maps, start = pair.problem(solver or InstanceConfig(), config), pair.scored, [], None
    warm = dataclasses.replace(problem, config=dataclasses.replace(problem.config, steps=config.warm))
    for place, prior in enumerate(config.candidates):  # each from the result of the one before
        course = (problem if start is None else warm).course(prior, start)
        while course.advance():
            yield (place + course.fraction) / len(config.candidates)
        start = course.result.velocity_mm
        squared, known = pair.compare(course.result)
        maps.append(squared)
        seen = seen & known
        yield (place + 1) / len(config.candidates)
    return compared(config.candidates, [part[seen] for part in maps], pair.number[seen], default)


@dataclass(frozen=True, kw_only=True, eq=False)
class _CoarsePair:
    """Both images on the coarse grid, what the solver sees of them and what is held out.

    Attributes:
        level: The coarse grid.
        images: Fixed and moving image, shape (1, 1, x, y, z).
        used: Voxels that the solver sees.
        moving_known: Voxels of the moving image with data, or None for all.
        stiffness: Painted factor of each voxel, or None.
        statistics: Those of the held-out windows.
        number: Block of each voxel, shape (1, 1, x, y, z).
        scored: Centers of the windows that lie in held-out blocks and hold information.
    """

    level: Level
    images: tuple[Scalars, Scalars]
    used: Scalars
    moving_known: Scalars | None
    stiffness: Scalars | None
    statistics: FixedStatistics
    number: Tensor
    scored: Masks

    @classmethod
    def of(
        cls,
        fixed: Scalars,
        moving: Scalars,
        spacing: Sequence[float],
        config: ChoiceConfig,
        *,
        mask: Scalars | None,
        moving_mask: Scalars | None,
        stiffness: Scalars | None,
    ) -> _CoarsePair:
        level = coarse_level(tuple(fixed.shape[2:]), spacing, config.voxels)
        f, m = (
            resize(normalized(image, name, known), level.shape)
            for image, name, known in ((fixed, "fixed", mask), (moving, "moving", moving_mask))
        )
        known, moving_known = (_coarse_mask(part, level) for part in (mask, moving_mask))
        number, held = (part.to(f.device) for part in held_out_blocks(level, config.block))
        inside = held if known is None else held & known
        floor = max(variance_floor(f), variance_floor(m))
        statistics = FixedStatistics.of(f, window_radius(config.window, level.spacing), inside.float(), floor)
        return cls(
            level=level,
            images=(f, m),
            used=(~held if known is None else ~held & known).float(),
            moving_known=None if moving_known is None else moving_known.float(),
            stiffness=None if stiffness is None else resize(stiffness.float().log(), level.shape).exp(),
            statistics=statistics,
            number=number[None, None],
            scored=_whole_windows(inside, statistics.radius) & (statistics.usable > 0),
        )

    def problem(self, solver: InstanceConfig, config: ChoiceConfig) -> InstanceProblem:
        """The pair without its held-out blocks, with the steps of the stiffest candidate."""
        solver = dataclasses.replace(solver, steps=config.cold, tolerance=config.tolerance)
        masks = {"mask": self.used, "moving_mask": self.moving_known, "stiffness": self.stiffness}
        return InstanceProblem.of(*self.images, self.level.spacing, solver, **masks)

    def compare(self, found: InstanceResult) -> tuple[Scalars, Masks]:
        """Squared correlation of every held-out window, and where the moving image has data for it."""
        displacement_vox = found.displacement_vox
        known = lies_inside(displacement_vox)
        if self.moving_known is not None:
            known &= warp(self.moving_known, displacement_vox) > 0.5
        return correlate(self.statistics, warp(self.images[1], displacement_vox), derivatives=False).squared, known


def compared(candidates: Sequence[Prior], squared: Sequence[Tensor], number: Tensor, default: Prior) -> Choice:
    """Choose the best candidate where it is ahead of the default by more than a standard error, else the default.

    Args:
        candidates: Settings, the default among them.
        squared: For each of them the squared correlations of the same held-out windows, shape (N,).
        number: Block of each window, whole numbers, shape (N,).
        default: Setting that stands where nothing is better, or where there are too few blocks.
    """
    count = torch.bincount(number).double()
    filled = count > 0
    if int(filled.sum()) < LEAST_BLOCKS:
        return Choice(prior=default, default=default, scores=(), blocks=int(filled.sum()))
    sums = torch.stack([torch.bincount(number, weights=part.double()) for part in squared])[:, filled]
    means, share = sums / count[filled], count[filled] / count.sum()
    mean = means @ share
    behind = means[mean.argmax()] - means
    lag = behind @ share
    error = ((behind - lag[:, None]).square() @ share.square()).sqrt()
    rows = zip(candidates, mean.tolist(), lag.tolist(), error.tolist(), strict=True)
    scores = tuple(Score(prior=p, similarity=s, behind=b, error=e) for p, s, b, e in rows)
    usual = next(score for score in scores if score.prior == default)
    best = min(scores, key=lambda score: score.behind)
    prior = best.prior if usual.behind > usual.error else default
    return Choice(prior=prior, default=default, scores=scores, blocks=int(filled.sum()))


def coarse_level(shape: Sequence[int], spacing: Sequence[float], voxels: int) -> Level:
    """Return the finest level of a grid that has no more than a number of voxels, as isotropic as the grid allows."""
    step, level = min(spacing), make_level(shape, spacing, min(spacing))
    while math.prod(level.shape) > voxels:
        step *= 1.05
        level = make_level(shape, spacing, step)
    return level


def held_out_blocks(level: Level, block: int) -> tuple[Tensor, Masks]:
    """Divide a grid into blocks of about equal edges and hold out every fourth one.

    Held out are the blocks whose three places have one parity, a body-centered pattern in which no two of them share a
    face or an edge. Along an axis that one block spans the places have no parity, and half of the blocks are held out.

    Args:
        level: The grid.
        block: Edge of a block in voxels of the finest axis.

    Returns:
        Number of the block of each voxel, shape (X, Y, Z); and whether it is held out, shape (1, 1, X, Y, Z).
    """
    finest = min(level.spacing)
    places = []
    for size, step in zip(level.shape, level.spacing, strict=True):
        edge = max(3, round(block * finest / step))
        places.append(torch.arange(size) // edge if size >= 2 * edge else torch.zeros(size, dtype=torch.long))
    i, j, k = torch.meshgrid(*places, indexing="ij")
    parities = [part % 2 for part in (i, j, k) if int(part.max()) > 0]
    held = torch.ones_like(i, dtype=torch.bool)
    for parity in parities[1:]:
        held &= parity == parities[0]
    return (i * (int(j.max()) + 1) + j) * (int(k.max()) + 1) + k, held[None, None]


def _whole_windows(inside: Masks, radius: Sequence[int]) -> Masks:
    """Centers of the windows that lie wholly within a mask, as far as the grid reaches."""
    left = (~inside).float()
    return torch.nn.functional.max_pool3d(left, [2 * r + 1 for r in radius], stride=1, padding=tuple(radius)) == 0


def _coarse_mask(mask: Scalars | None, level: Level) -> Masks | None:
    return None if mask is None else resize((mask != 0).float(), level.shape) > 0.5


def _named(prior: Prior) -> dict[str, Any]:
    return {"prior": prior.name, **hyperparameters(prior)}

"""Choice of a setting of the prior for a pair by held-out similarity on a coarse grid, without labels."""

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
from SPRCore.registration.instance import InstanceProblem, normalized
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.level import lies_inside
from SPRCore.registration.pair import PairTensors, aligned_tensors
from SPRCore.registration.pyramid import Level, make_level
from SPRCore.registration.result import Deformation
from SPRCore.registration.solver import InstanceConfig
from SPRCore.regularization import BetaPrior, Prior
from SPRCore.regularization.priors import hyperparameters
from SPRCore.similarity import FixedImage, common_floor, features, fixed_side, reach_of
from SPRCore.typing import Images, Masks, Scalars, Tensor

AUTO = "auto"
"""Name of the prior that is chosen for each pair."""

CANDIDATES: tuple[Prior, ...] = tuple(BetaPrior(alpha=0.1, lambda_max=value) for value in (8.0, 4.0, 2.0, 1.0, 0.5))
"""Settings to choose from, the stiffest first; a default not among them is appended."""

Choosing = Generator[float, None, "Choice"]
"""A choice that can be paused or abandoned at each yield of the fraction done, 0 to 1."""

_LEAST_BLOCKS = 8
"""With fewer informative blocks the standard error is unreliable and the default is kept."""


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """Configuration of the choice.

    Attributes:
        candidates: Settings, the stiffest first.
        voxels: Maximum number of voxels of the coarse grid.
        block: Edge of a held-out block, in voxels of the finest axis of the coarse grid.
        window: Window of the held-out similarity, odd, in the same voxels.
        cold: Maximum steps per level of the stiffest candidate, which starts from rest.
        warm: Maximum steps per level of the others, each of which starts from the velocity of the one before.
        tolerance: A level ends when a step lowers the energy by less than this fraction.
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
    """Held-out similarity of a candidate.

    Attributes:
        prior: The candidate.
        similarity: Mean similarity over the scored voxels of the held-out blocks, that of the registration.
        behind: Difference to the best candidate, 0 or more.
        error: Standard error of `behind` over the blocks.
    """

    prior: Prior
    similarity: float
    behind: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The setting chosen for a pair.

    Attributes:
        prior: The best candidate if it is ahead of the default by more than a standard error, otherwise the default.
        default: The default setting.
        scores: All candidates, the stiffest first; empty if nothing could be compared.
        blocks: Number of informative held-out blocks.
    """

    prior: Prior
    default: Prior
    scores: tuple[Score, ...]
    blocks: int

    @property
    def warnings(self) -> list[str]:
        """Warnings for the user."""
        if self.scores:
            return []
        return [
            f"No setting was chosen for this pair: {self.blocks} held-out blocks hold information, {_LEAST_BLOCKS} are "
            f"needed; the default setting was used."
        ]

    def report(self) -> dict[str, Any]:
        """The choice as in `report.json`."""
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


def choose_setting(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: RegistrationJob,
    callback: Callable[[float], None] | None = None,
    config: ChoiceConfig | None = None,
) -> Choice:
    """Choose a setting for an aligned pair; deterministic. The callback gets the fraction done, 0 to 1.

    The job has the stiffness, the device, the similarity with its window, and the default setting.

    Raises:
        InputError: The images cannot be registered.
        ConvergenceError: The energy became NaN or infinite.
    """
    with kept_memory():
        choice = choosing_for(fixed, moving, affine_ras, job, config)
        while True:
            try:
                fraction = next(choice)
            except StopIteration as end:
                return end.value
            if callback is not None:
                callback(fraction)


def choosing_for(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    affine_ras: np.ndarray | None,
    job: RegistrationJob,
    config: ChoiceConfig | None = None,
) -> Choosing:
    """``choose_setting`` with pauses."""
    tensors = aligned_tensors(fixed, moving, affine_ras, job)
    solver = dataclasses.replace(
        InstanceConfig(), similarity=job.similarity, window=job.config.window, search=job.config.search
    )
    return (yield from choosing(tensors, job.prior, solver, config))


def choosing(
    tensors: PairTensors,
    default: Prior | None = None,
    solver: InstanceConfig | None = None,
    config: ChoiceConfig | None = None,
) -> Choosing:
    r"""Register a pair on a coarse grid at each candidate without some blocks, and compare the candidates there.

    The similarity of the solver on the finest level uses no voxel of a held-out block. The voxels whose similarity
    depends on the block alone give the score, which therefore shares no voxel with it: fitted noise raises the latter
    and not the former. With the differences :math:`d_b` of the best candidate and another, averaged over the voxels of
    the score in block b, and their shares :math:`p_b`, the standard error of the mean difference is
    :math:`\sqrt{\sum_b p_b^2 (d_b - \bar d)^2}`.

    Args:
        tensors: The pair on the fixed grid.
        default: Default setting; ``BetaPrior()`` if None.
        solver: Window and other settings of the solver; its steps and tolerance are those of `config`.
        config: Configuration; the defaults if None.
    """
    config, default = config or ChoiceConfig(), default or BetaPrior()
    if default not in config.candidates:
        config = dataclasses.replace(config, candidates=(*config.candidates, default))
    solver = solver or InstanceConfig()
    pair = _CoarsePair.of(tensors, config, solver.similarity)
    blocks = int(pair.number[pair.scored].unique().numel())
    if blocks < _LEAST_BLOCKS:
        return Choice(prior=default, default=default, scores=(), blocks=blocks)
    problem, seen, maps, start = pair.problem(solver, config), pair.scored, [], None
    warm = dataclasses.replace(problem, config=dataclasses.replace(problem.config, steps=config.warm))
    for index, prior in enumerate(config.candidates):  # each from the result of the one before
        course = (problem if start is None else warm).course(prior, start)
        while course.advance():
            yield (index + course.fraction) / len(config.candidates)
        start = course.result.velocity_mm
        values, known = pair.compare(course.result)
        maps.append(values)
        seen = seen & known
        yield (index + 1) / len(config.candidates)
    return compared(config.candidates, [part[seen] for part in maps], pair.number[seen], default)


@dataclass(frozen=True, kw_only=True, eq=False)
class _CoarsePair:
    """Both images on the coarse grid, with the voxels of the solver and the held-out windows.

    Attributes:
        level: The coarse grid.
        images: Fixed and moving image, shape (1, C, x, y, z).
        used: Voxels that the solver sees.
        moving_known: Voxels of the moving image with data, or None for all.
        stiffness: Painted factor of each voxel, or None.
        fixed: The fixed image for the comparison in the held-out blocks.
        described: What it compares of the moving image.
        number: Number of the block of each voxel, shape (1, 1, x, y, z).
        scored: Informative voxels whose similarity depends on held-out blocks alone.
    """

    level: Level
    images: tuple[Images, Images]
    used: Scalars
    moving_known: Scalars | None
    stiffness: Scalars | None
    fixed: FixedImage
    described: Images
    number: Tensor
    scored: Masks

    @classmethod
    def of(cls, tensors: PairTensors, config: ChoiceConfig, similarity: str) -> _CoarsePair:
        level = coarse_level(tuple(tensors.fixed.shape[2:]), tensors.spacing, config.voxels)
        f = resize(normalized(tensors.fixed, "fixed", tensors.mask), level.shape)
        m = resize(normalized(tensors.moving, "moving", tensors.moving_mask), level.shape)
        known, moving_known = (_coarse_mask(part, level) for part in (tensors.mask, tensors.moving_mask))
        stiffness = tensors.stiffness
        number, held = (part.to(f.device) for part in held_out_blocks(level, config.block))
        inside = held if known is None else held & known
        side = fixed_side(
            similarity,
            features(similarity, f, level.spacing),
            level.spacing,
            config.window,
            inside.float(),
            common_floor(f, m),
        )
        used = ~held if known is None else ~held & known
        if similarity == "mind":  # a descriptor also depends on its neighbors
            used = _whole_windows(used, reach_of(similarity, config.window, level.spacing))
        return cls(
            level=level,
            images=(f, m),
            used=used.float(),
            moving_known=None if moving_known is None else moving_known.float(),
            stiffness=None if stiffness is None else resize(stiffness.float().log(), level.shape).exp(),
            fixed=side,
            described=features(similarity, m, level.spacing),
            number=number[None, None],
            scored=_whole_windows(inside, reach_of(similarity, config.window, level.spacing)) & (side.informs > 0),
        )

    def problem(self, solver: InstanceConfig, config: ChoiceConfig) -> InstanceProblem:
        """Return the pair without its held-out blocks, with the steps of the stiffest candidate."""
        solver = dataclasses.replace(solver, steps=config.cold, tolerance=config.tolerance)
        masks = {"mask": self.used, "moving_mask": self.moving_known, "stiffness": self.stiffness}
        return InstanceProblem.of(*self.images, self.level.spacing, solver, **masks)

    def compare(self, found: Deformation) -> tuple[Scalars, Masks]:
        """Return the similarity of all voxels, and a mask of those with data of the moving image."""
        displacement_vox = found.displacement_vox
        known = lies_inside(displacement_vox)
        if self.moving_known is not None:
            known &= warp(self.moving_known, displacement_vox) > 0.5
        return self.fixed.compare(warp(self.described, displacement_vox), derivatives=False).values, known


def compared(candidates: Sequence[Prior], values: Sequence[Tensor], number: Tensor, default: Prior) -> Choice:
    """Choose the best candidate if it is ahead of the default by more than a standard error, otherwise the default.

    Args:
        candidates: Settings, the default among them.
        values: Similarities of the same held-out voxels for each of them, shape (N,).
        number: Number of the block of each voxel, shape (N,).
        default: Default setting, which is also chosen if there are too few blocks.
    """
    count = torch.bincount(number).double()
    filled = count > 0
    if int(filled.sum()) < _LEAST_BLOCKS:
        return Choice(prior=default, default=default, scores=(), blocks=int(filled.sum()))
    sums = torch.stack([torch.bincount(number, weights=part.double()) for part in values])[:, filled]
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
    """Return the finest level with at most `voxels` voxels, as isotropic as the grid allows."""
    step, level = min(spacing), make_level(shape, spacing, min(spacing))
    while math.prod(level.shape) > voxels:
        step *= 1.05
        level = make_level(shape, spacing, step)
    return level


def held_out_blocks(level: Level, block: int) -> tuple[Tensor, Masks]:
    """Divide a grid into blocks of about equal edges, in voxels of the finest axis, and hold out every fourth one.

    The blocks whose three indices have one parity are held out: a body-centered pattern in which no two of them share a
    face or an edge. An axis spanned by one block does not count, and half of the blocks are held out.

    Returns:
        Number of the block of each voxel, shape (X, Y, Z), and mask of the held-out voxels, shape (1, 1, X, Y, Z).
    """
    finest = min(level.spacing)
    indices = []
    for size, step in zip(level.shape, level.spacing, strict=True):
        edge = max(3, round(block * finest / step))
        indices.append(torch.arange(size) // edge if size >= 2 * edge else torch.zeros(size, dtype=torch.long))
    i, j, k = torch.meshgrid(*indices, indexing="ij")
    parities = [part % 2 for part in (i, j, k) if int(part.max()) > 0]
    held = torch.ones_like(i, dtype=torch.bool)
    for parity in parities[1:]:
        held &= parity == parities[0]
    return (i * (int(j.max()) + 1) + j) * (int(k.max()) + 1) + k, held[None, None]


def _whole_windows(inside: Masks, radius: Sequence[int]) -> Masks:
    """Return the centers of the windows wholly inside a mask; voxels outside the grid do not count."""
    left = (~inside).float()
    return torch.nn.functional.max_pool3d(left, [2 * r + 1 for r in radius], stride=1, padding=tuple(radius)) == 0


def _coarse_mask(mask: Scalars | None, level: Level) -> Masks | None:
    return None if mask is None else resize((mask != 0).float(), level.shape) > 0.5


def _named(prior: Prior) -> dict[str, Any]:
    return {"prior": prior.name, **hyperparameters(prior)}

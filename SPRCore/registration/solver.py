"""Gauss–Newton steps on one resolution level, and the course of a registration over all levels."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import mirrored_box_mean, resize, resize_displacement
from SPRCore.registration.level import Evaluation, LevelImages, Pausing, evaluation, newton_update
from SPRCore.registration.result import Deformation
from SPRCore.registration.unfold import unfolding
from SPRCore.regularization import Prior
from SPRCore.regularization.most_probable import POOL, pool_of
from SPRCore.similarity import check_similarity, window_radius
from SPRCore.typing import Scalars, Tensor, Vectors

logger = logging.getLogger("SPRCore")

FIRST_STRIDE = 0.5
"""Step length tried first on a level: squared correlation is not convex and full Gauss-Newton steps overshoot."""

LOW_WEIGHT = 0.5
"""Weight below which the velocity is corrected at full resolution."""


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """Settings of the instance solver.

    Attributes:
        steps: Maximum Gauss–Newton steps per resolution level, coarsest first; its length is the number of levels.
        similarity: Data term: "lncc" (squared local correlation), "mind" (MIND descriptors, for images of different
            contrast), or "mse" (mean squares, for images of one scanner); see ``SPRCore.similarity.measure``.
        window: Correlation window in voxels of the finest axis, odd; 9 as in the paper. Mean squares are relative to
            the variance in these windows.
        pool: Half width, in voxels of the velocity grid, of the neighborhood that shares a weight: the smoothness prior
            on λ, without which single voxels fold.
        velocity_voxels: On levels with more voxels than this the velocity has voxels `velocity_step` times as large.
        velocity_step: Voxel size of the velocity there, in voxels of the level, 1 or more. 2 by default: an eighth of
            the unknowns, sufficient for smooth motion; the cortex gains from a finer one, see ``detailed``.
        corrections: Number of the last steps on the finest level that correct the velocity at full resolution, only
            where the weight is below `LOW_WEIGHT`; without effect if the velocity has the resolution of the images.
        inner: Maximum conjugate gradient iterations per step.
        damping: Fraction of the mean data curvature added to the diagonal.
        longest_step_vox: Longest update of a voxel in one step, in voxels of the level: the range of the linearisation.
        tolerance: A level ends when a step lowers the energy by less than this fraction.
        squarings: Squaring steps of the final integration; 7 as in the paper.
        search: Without a given start, start from the displacements of a discrete search (``searched_velocity``)
            instead of from rest: for large motion that differs between neighbors. See ``searching``.
        stop_at_noise: Keep the velocity where the similarity, averaged over a window, has reached the value attainable
            at the noise level (``attainable``), unless the weight is low there. No effect with "mind".
    """

    steps: tuple[int, ...] = (12, 10, 8, 4)
    similarity: str = "lncc"
    window: int = 9
    pool: int = POOL
    velocity_voxels: int = 300_000
    velocity_step: float = 2.0
    corrections: int = 0
    inner: int = 12
    damping: float = 1e-3
    longest_step_vox: float = 2.0
    tolerance: float = 3e-4
    squarings: int = 7
    search: bool = False
    stop_at_noise: bool = False

    def __post_init__(self) -> None:
        check_similarity(self.similarity)
        window_radius(self.window)
        if not self.steps or min(self.steps) < 0:
            raise InputError("steps", got=str(self.steps), expected="0 or more per level, one level or more")
        for name in ("inner", "velocity_voxels", "longest_step_vox"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(name, got=str(value), expected="a positive number")
        if not self.velocity_step >= 1.0:
            raise InputError("velocity_step", got=str(self.velocity_step), expected="1 or more")
        for name in ("corrections", "pool", "damping", "tolerance", "squarings"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(name, got=str(value), expected="0 or more")

    @classmethod
    def searching(cls) -> InstanceConfig:
        """Return settings for large motion that differs between neighbors, such as a liver that slides in breathing.

        Only the finest level takes steps: windows of coarse levels cover both sides of a sliding wall and would undo
        the search. Each voxel has its own weight, since a search leaves no single voxels that could fold, and more
        iterations per step make up for the contrast of the weights. Where the weight is low the motion changes from
        voxel to voxel, so the last steps correct the velocity at full resolution there. Elsewhere the search is close
        enough for many small steps to fit noise, so they stop at the noise level.
        """
        return cls(steps=(0, 0, 0, 10), corrections=4, pool=0, inner=30, search=True, stop_at_noise=True)

    def detailed(self) -> InstanceConfig:
        """Return the same with a finer velocity and more steps on the finest level, for small structures.

        In brains at 1 mm it gains 0.009 in the mean Dice of all structures and takes three times as long; hearts,
        lungs, livers and prostates gain nothing (docs/adr/0019-which-setting.md).
        """
        return replace(self, velocity_step=1.5, steps=(*self.steps[:-1], max(self.steps[-1], 8)))

    @classmethod
    def refining(cls, steps: int) -> InstanceConfig:
        """Return settings for a start near the solution, with a tolerance that accepts small gains.

        `steps` is the maximum number of Gauss–Newton steps in all, 1 or more; the finest level gets a quarter of them.
        """
        if steps < 1:
            raise InputError("refinement steps", got=str(steps), expected="1 or more")
        finest = -(-steps // 4)
        rest = steps - finest
        shares = [rest // 3 + (index >= 3 - rest % 3) for index in range(3)]
        return cls(steps=(*shares, finest), tolerance=1e-4)


class LevelSolver:
    """Gauss–Newton steps on one level, with the last accepted velocity and its evaluation.

    Args:
        images: Images of the level.
        velocity: Initial velocity on the velocity grid, in mm.
        prior: Prior on the weight.
        config: Settings.
        where: 1 where the velocity may change, 0 elsewhere, shape (1, 1, X, Y, Z); None for everywhere.

    Attributes:
        velocity: Velocity after the last accepted step.
        state: Evaluation of `velocity`; `started` sets the first one.
        energies: Energies of the initial and all accepted velocities.
    """

    state: Evaluation

    def __init__(
        self,
        images: LevelImages,
        velocity: Tensor,
        prior: Prior,
        config: InstanceConfig,
        where: Scalars | None = None,
    ) -> None:
        self.images, self.prior, self.config, self.where = images, prior, config, where
        finest = min(images.grid.spacing)
        self.pool = pool_of(images.grid.spacing, config.pool)
        self.longest_mm = config.longest_step_vox * finest
        self.stride = FIRST_STRIDE
        self.velocity = velocity
        self.energies: list[float] = []
        self._is_stuck = False
        self._attainable = images.fixed.attainable() if config.stop_at_noise else None

    def started(self) -> Pausing[None]:
        """Evaluate the initial velocity."""
        self.state = yield from self._evaluated(self.velocity)
        self.energies = [self.state.energy]

    def step(self) -> Pausing[bool]:
        """Take one step; return whether it lowered the energy by more than the tolerance.

        After a step without descent no further step is taken. The step length that last lowered the energy is tried
        first in the next step: squared correlation is not convex, and its model overshoots by about the same factor
        throughout a level. A solver abandoned within a step cannot be resumed; `velocity` is the last accepted one.
        """
        if self._is_stuck:
            return False
        config, before = self.config, self.state.energy
        where = self._free_voxels()
        update = yield from newton_update(
            self.images, self.state, self.prior.scale, config.inner, config.damping, where
        )
        length = update.square().sum(dim=1, keepdim=True).sqrt_()
        update *= self.longest_mm / length.clamp(min=self.longest_mm)
        yield
        for attempt in range(4):
            state = yield from self._evaluated(self.velocity + self.stride * update)
            if state.energy < before:
                self.velocity, self.state = self.velocity + self.stride * update, state
                self.energies.append(state.energy)
                self.stride = self.stride if attempt else min(1.0, 1.4 * self.stride)
                return before - state.energy > config.tolerance * before
            self.stride *= 0.5
        self._is_stuck = True  # the graph of the last evaluation is used up
        return False

    def _free_voxels(self) -> Scalars | None:
        """Return a mask of the voxels whose velocity the next step may change; None for all."""
        if self._attainable is None:
            return self.where
        fixed, weight = self.images.fixed, self.state.weight
        excess = mirrored_box_mean((self.state.similarities - self._attainable) * fixed.informs, fixed.radius)
        left = F.adaptive_max_pool3d((excess <= 0).to(weight.dtype), weight.shape[2:])
        moves = torch.maximum(left, near_low_weight(self.images, weight))
        return moves if self.where is None else moves * self.where

    def _evaluated(self, velocity: Tensor) -> Pausing[Evaluation]:
        state = yield from evaluation(self.images, velocity, self.prior, self.pool)
        if not math.isfinite(state.energy):
            raise ConvergenceError("registration", got="an energy that is not a number", remedy="check the images")
        return state


def near_low_weight(images: LevelImages, weight: Scalars) -> Scalars:
    """Return a mask (0, 1) of the voxels within one voxel of a weight, without stiffness, below `LOW_WEIGHT`."""
    low = (weight if images.stiffness is None else weight / images.stiffness) < LOW_WEIGHT
    return F.max_pool3d(low.to(weight.dtype), 3, stride=1, padding=1)


class Course:
    """The course of one registration over all levels, which can be paused and resumed.

    Args:
        levels: Images of all levels, coarsest first.
        steps: Maximum steps on each of them.
        shape: Shape of the fixed grid.
        prior: Prior on the weight.
        config: Settings.
        start: Initial velocity in mm, over the same field of view at any resolution, or a computation that returns
            it; None for rest.

    Attributes:
        fraction: Fraction done, 0 to 1.
        result: The result, once `advance` has returned False.
        is_over: Whether it has completed or failed.
    """

    def __init__(
        self,
        levels: Sequence[LevelImages],
        steps: Sequence[int],
        shape: Sequence[int],
        prior: Prior,
        config: InstanceConfig,
        start: Vectors | Pausing[Vectors] | None = None,
    ) -> None:
        self._levels, self._steps, self._shape = tuple(levels), tuple(steps), tuple(shape)
        self._prior, self._config = prior, config
        self.fraction, self.result, self.is_over = 0.0, None, False
        self._work = [count * images.voxels for count, images in zip(steps, levels, strict=True)]
        self._running = self._run(start)

    def advance(self) -> bool:
        """Compute until the next pause; return whether the registration is incomplete."""
        try:
            next(self._running)
        except StopIteration as end:
            self.result, self.is_over = end.value, True
            return False
        except BaseException:
            self.is_over = True
            raise
        return True

    def completed(self, callback: Callable[[float], None] | None = None) -> Deformation:
        """Run to completion and return the result.

        The callback gets the fraction done at every pause; after an exception in it the course can be resumed.
        """
        while self.advance():
            if callback is not None:
                callback(self.fraction)
        return self.result

    def _run(self, start: Tensor | Pausing[Tensor] | None) -> Pausing[Deformation]:
        levels, energies = self._levels, []
        if isinstance(start, Generator):
            start = yield from start
        if start is None:
            start = levels[0].moving.new_zeros((1, 3, *levels[0].grid.shape), dtype=torch.float32)
        correction = torch.zeros_like(start)
        for index, (images, count) in enumerate(zip(levels, self._steps, strict=True)):
            base = resize(start.float(), images.grid.shape)
            correction = F.interpolate(correction, size=images.grid.shape, mode="trilinear", align_corners=True)
            is_last = images is levels[-1]
            late = min(self._config.corrections, count) if is_last and images.grid.shape != images.level.shape else 0
            if count or is_last:
                images = images.seen_from(base + correction)
                solver = LevelSolver(images, base + correction, self._prior, self._config)
                yield from solver.started()
                yield from self._stepped(solver, index, range(count - late))
            if count:
                correction = solver.velocity - base
                energies.append(solver.energies)
            if late:
                solver = yield from self._corrected(solver)
                yield from self._stepped(solver, index, range(count - late, count))
                if solver.energies is not energies[-1]:
                    energies.append(solver.energies)
            self._report(index + 1, 0)
            yield
        return (yield from self._finished(solver, energies))

    def _stepped(self, solver: LevelSolver, index: int, steps: range) -> Pausing[None]:
        """Take steps on a level until one is below the tolerance."""
        for step in steps:
            if not (yield from solver.step()):
                break
            self._report(index, step + 1)
            yield

    def _corrected(self, solver: LevelSolver) -> Pausing[LevelSolver]:
        """Return a solver at full resolution for the voxels of low weight; the same solver if there are none."""
        images, low = solver.images.with_full_velocity(), near_low_weight(solver.images, solver.state.weight)
        if not bool(low.any()):
            return solver
        shape = images.grid.shape
        where = F.interpolate(low, size=shape, mode="trilinear", align_corners=True).gt(0).to(low.dtype)
        corrected = LevelSolver(images, resize(solver.velocity, shape), self._prior, self._config, where)
        yield from corrected.started()
        return corrected

    def _report(self, level: int, steps: int) -> None:
        """Update the fraction done; a level that ended early counts as done."""
        done = sum(self._work[:level]) + (steps * self._levels[level].voxels if steps else 0)
        self.fraction = min(done / max(sum(self._work), 1.0), 1.0) if level < len(self._work) else 1.0

    def _finished(self, solver: LevelSolver, energies: list[list[float]]) -> Pausing[Deformation]:
        images, shape = solver.images, self._shape
        velocity_vox, forward, backward, changed = yield from unfolding(
            solver.velocity / images.spacing, self._config.squarings
        )
        if changed:
            logger.info("smoothed the velocity around folds, at %.3g %% of its voxels", 100.0 * changed)
        return Deformation(
            displacement_vox=resize_displacement(forward, shape),
            inverse_vox=resize_displacement(backward, shape),
            velocity_mm=velocity_vox * images.spacing,
            weight=F.interpolate(solver.state.weight, size=shape, mode="trilinear", align_corners=True),
            energies=tuple(map(tuple, energies)),
            similarity=solver.state.similarity,
        )

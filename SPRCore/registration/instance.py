"""Registration of one pair without training: half-quadratic, coarse-to-fine minimisation of the paper's energy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import kept_memory, resize, resize_displacement
from SPRCore.registration.level import Evaluation, LevelImages, evaluate_level, newton_step
from SPRCore.registration.pyramid import Level, make_level, pyramid_steps
from SPRCore.registration.unfold import unfold
from SPRCore.regularization import Prior
from SPRCore.similarity import FixedStatistics, variance_floor, window_radius
from SPRCore.typing import Scalars, Tensor, Vectors

logger = logging.getLogger("SPRCore")

FIRST_STRIDE = 0.5
"""Part of an update tried first on a level: squared correlation is not convex and full Gauss-Newton steps overshoot."""


@dataclass(frozen=True, kw_only=True)
class InstanceConfig:
    """Settings of the instance solver.

    Attributes:
        steps: Most Gauss–Newton steps per resolution level, coarsest first; its length is the number of levels.
        window: Correlation window in voxels of the finest axis, odd; 9 as in the paper.
        pool: Half width, in voxels of the velocity grid, of the neighborhood that shares a weight: the smoothness prior
            on λ, without which single voxels tear.
        velocity_voxels: The velocity has half the resolution of the finest level where that has more voxels than this.
        inner: Most conjugate gradient iterations per step.
        damping: Part of the mean data curvature added to the diagonal.
        longest_step_vox: Longest update of a voxel in one step, in voxels of the level: the range of the linearisation.
        tolerance: A level ends when a step lowers the energy by less than this part of it.
        squarings: Squaring steps of the final integration; 7 as in the paper.

    Raises:
        InputError: A value is outside its range.
    """

    steps: tuple[int, ...] = (12, 10, 8, 4)
    window: int = 9
    pool: int = 1
    velocity_voxels: int = 300_000
    inner: int = 12
    damping: float = 1e-3
    longest_step_vox: float = 2.0
    tolerance: float = 3e-4
    squarings: int = 7

    def __post_init__(self) -> None:
        """Check the ranges."""
        window_radius(self.window)
        if not self.steps or min(self.steps) < 0:
            raise InputError("steps", got=str(self.steps), expected="0 or more per level, one level or more")
        for name in ("inner", "velocity_voxels", "longest_step_vox"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(name, got=str(value), expected="a positive number")
        for name in ("pool", "damping", "tolerance", "squarings"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(name, got=str(value), expected="0 or more")

    @classmethod
    def refining(cls, steps: int) -> InstanceConfig:
        """Return settings that start near the solution: a number of steps in all, more of them on the fine levels.

        Args:
            steps: Most Gauss–Newton steps, 1 or more; the finest level gets a quarter of them.

        Returns:
            The settings, with a tolerance that lets small gains go on.

        Raises:
            InputError: There is no step.
        """
        if steps < 1:
            raise InputError("refinement steps", got=str(steps), expected="1 or more")
        finest = -(-steps // 4)
        rest = steps - finest
        shares = [rest // 3 + (index >= 3 - rest % 3) for index in range(3)]
        return cls(steps=(*shares, finest), tolerance=1e-4)


@dataclass(frozen=True, kw_only=True)
class InstanceResult:
    """Outcome of the instance solver on the fixed grid.

    Attributes:
        displacement_vox: Pull map from fixed to moving, shape (1, 3, X, Y, Z), in voxels.
        inverse_vox: Pull map from moving to fixed, the integral of minus the velocity, same shape.
        velocity_mm: Stationary velocity on its own grid, in mm.
        weight: Effective weight w = λ/r, shape (1, 1, X, Y, Z).
        energies: Energy after every accepted step, a tuple per level, coarsest first.
        similarity: Mean squared local correlation on the last level.
    """

    displacement_vox: Vectors
    inverse_vox: Vectors
    velocity_mm: Vectors
    weight: Scalars
    energies: tuple[tuple[float, ...], ...]
    similarity: float


def register_instance(
    fixed: Scalars,
    moving: Scalars,
    spacing: Sequence[float],
    prior: Prior,
    config: InstanceConfig | None = None,
    *,
    mask: Scalars | None = None,
    start: Vectors | None = None,
    callback: Callable[[float], None] | None = None,
) -> InstanceResult:
    r"""Register one pair by minimising the paper's energy over a stationary velocity and its weight.

    .. math:: E(v, w) = 1 - \mathrm{LNCC}(f, m \circ \exp v) + \overline{r\,w\,s(v)} - \overline{\log p(w)}

    with every term a mean (paper Eq. 19, reference convention). On each level, coarse to fine: refresh w in closed
    form, take a Gauss–Newton step of v with w held fixed, halve it while the energy rises, stop when it no longer
    falls. At the end the velocity is smoothed around what folds are left (``unfold``), and the log says how much.

    Args:
        fixed: Fixed image, shape (1, 1, X, Y, Z), any intensities.
        moving: Moving image on the same grid.
        spacing: Voxel size along each axis, in mm.
        prior: Prior on the weight; ``UniformPrior`` gives conventional diffusion by the same code.
        config: Settings; the defaults if None.
        mask: Voxels of the fixed image that count in the similarity (nonzero), or None for all.
        start: Velocity to start from, in mm, shape (1, 3, x, y, z) over the same field of view at any resolution: a
            network's, or that of a neighboring setting. Coarse levels correct it and keep its detail. None for rest.
        callback: Told the fraction done, 0 to 1, after every step; an exception raised in it stops the registration.

    Returns:
        Displacement, inverse, velocity, weight and the course of the energy.

    Raises:
        InputError: The images or the mask do not share a shape, an image has one value only, or the start is no field.
        ConvergenceError: The energy left the numbers.
    """
    if start is not None and (start.dim() != 5 or start.shape[:2] != (1, 3) or not torch.isfinite(start).all()):
        raise InputError(
            "start", got=f"shape {tuple(start.shape)}", expected="finite velocities, shape (1, 3, X, Y, Z)"
        )
    for name, other in (("moving image", moving), ("mask", mask)):
        if other is not None and other.shape != fixed.shape:
            wanted = f"{tuple(fixed.shape)} of the fixed image"
            raise InputError(name, got=f"shape {tuple(other.shape)}", expected=wanted)
    with kept_memory():
        return _minimise(fixed, moving, spacing, prior, config or InstanceConfig(), mask, start, callback)


def _minimise(
    fixed: Tensor,
    moving: Tensor,
    spacing: Sequence[float],
    prior: Prior,
    config: InstanceConfig,
    mask: Tensor | None,
    start: Tensor | None,
    callback: Callable[[float], None] | None,
) -> InstanceResult:
    levels = list(_levels(_normalised(fixed, "fixed"), _normalised(moving, "moving"), spacing, config, mask))
    steps = config.steps[len(config.steps) - len(levels) :]
    if start is None:
        start = fixed.new_zeros((1, 3, *levels[0].grid.shape), dtype=torch.float32)
    correction = torch.zeros_like(start)
    progress = _Progress(callback, [n * images.moving.numel() for n, images in zip(steps, levels, strict=True)])
    energies = []
    for images, count in zip(levels, steps, strict=True):
        base = resize(start.float(), images.grid.shape)
        correction = F.interpolate(correction, size=images.grid.shape, mode="trilinear", align_corners=True)
        if count or images is levels[-1]:
            solver = _LevelSolver(images, base + correction, prior, config)
        for _ in range(count):
            if not solver.step():
                break
            progress.advance(images.moving.numel())
        progress.finish_level()
        if count:
            correction = solver.velocity - base
            energies.append(tuple(solver.energies))
    return _finish(fixed, solver.velocity, solver, energies, config)


class _LevelSolver:
    """Gauss–Newton steps on one level, with the last accepted velocity and its evaluation."""

    def __init__(self, images: LevelImages, velocity: Tensor, prior: Prior, config: InstanceConfig) -> None:
        self.images, self.prior, self.config = images, prior, config
        finest = min(images.grid.spacing)
        self.pool = tuple(config.pool if step < 1.5 * finest else 0 for step in images.grid.spacing)
        self.longest_mm = config.longest_step_vox * finest
        self.stride = FIRST_STRIDE
        self.velocity = velocity
        self.state = self._evaluate(velocity)
        self.energies = [self.state.energy]

    def _evaluate(self, velocity: Tensor) -> Evaluation:
        state = evaluate_level(self.images, velocity, self.prior, self.pool)
        if not math.isfinite(state.energy):
            raise ConvergenceError("registration", got="an energy that is not a number", remedy="check the images")
        return state

    def step(self) -> bool:
        """Take one step; tell whether it lowered the energy enough to go on.

        The part of the Gauss–Newton update that last lowered the energy is tried first the next time: squared
        correlation is not convex, and its model overshoots by much the same factor throughout a level.
        """
        config, before = self.config, self.state.energy
        update = newton_step(self.images, self.state, self.prior.strength, config.inner, config.damping)
        length = update.square().sum(dim=1, keepdim=True).sqrt_()
        update *= self.longest_mm / length.clamp(min=self.longest_mm)
        for attempt in range(4):
            state = self._evaluate(self.velocity + self.stride * update)
            if state.energy < before:
                self.velocity, self.state = self.velocity + self.stride * update, state
                self.energies.append(state.energy)
                self.stride = self.stride if attempt else min(1.0, 1.4 * self.stride)
                return before - state.energy > config.tolerance * before
            self.stride *= 0.5
        return False


def _levels(
    fixed: Tensor, moving: Tensor, spacing: Sequence[float], config: InstanceConfig, mask: Tensor | None
) -> Iterator[LevelImages]:
    shape = tuple(fixed.shape[2:])
    steps = pyramid_steps(shape, spacing, len(config.steps))
    levels = [make_level(shape, spacing, step) for step in steps]
    floor = max(variance_floor(fixed), variance_floor(moving))
    pyramid = [(fixed, moving, mask)]
    for level in reversed(levels[:-1]):  # each level from the next finer one: cheaper than from the full images
        pyramid.append(tuple(None if image is None else resize(image.float(), level.shape) for image in pyramid[-1]))
    for level, step, (f, m, k) in zip(levels, steps, reversed(pyramid), strict=True):
        coarse = f.numel() > config.velocity_voxels
        grid: Level = make_level(shape, spacing, 2.0 * step) if coarse else level
        where = None if k is None else (k > 0.5).to(f.dtype)
        statistics = FixedStatistics.of(f, window_radius(config.window, level.spacing), where, floor)
        yield LevelImages(level=level, grid=grid, fixed=statistics, moving=m)


def _normalised(image: Tensor, name: str) -> Tensor:
    """Bring intensities to about [0, 1] by the extremes, the brightest thousandth (metal, vessels, coils) saturated."""
    image = image.float()
    low = image.amin()
    # A strided sample gives the quantile of a large image to well within what the scale needs.
    sample = image.flatten()[:: max(1, image.numel() // 1_000_000)]
    high = torch.quantile(sample, 0.999)
    high = high if high > low else image.amax()
    if high == low:
        raise InputError(f"{name} image", got=f"one value everywhere ({float(low):g})", expected="something to align")
    return ((image - low) / (high - low)).clamp(max=1.0)


class _Progress:
    """Turns voxels worked on into a fraction; a level that ends early counts as done."""

    def __init__(self, callback: Callable[[float], None] | None, work: Sequence[float]) -> None:
        self.callback, self.work = callback, list(work)
        self.total, self.done, self.level = max(sum(work), 1.0), 0.0, 0

    def advance(self, work: float) -> None:
        self.done += work
        self._tell()

    def finish_level(self) -> None:
        self.level += 1
        self.done = sum(self.work[: self.level])
        self._tell()

    def _tell(self) -> None:
        if self.callback is not None:
            self.callback(min(self.done / self.total, 1.0))


def _finish(
    fixed: Tensor, velocity: Tensor, solver: _LevelSolver, energies: list, config: InstanceConfig
) -> InstanceResult:
    shape = tuple(fixed.shape[2:])
    flow = unfold(velocity / solver.images.spacing, config.squarings)
    if flow.touched:
        logger.info("smoothed the velocity around folds, at %.3g %% of its voxels", 100.0 * flow.touched)
    weight = F.interpolate(solver.state.weight, size=shape, mode="trilinear", align_corners=True)
    return InstanceResult(
        displacement_vox=resize_displacement(flow.forward_vox, shape),
        inverse_vox=resize_displacement(flow.backward_vox, shape),
        velocity_mm=flow.velocity_vox * solver.images.spacing,
        weight=weight,
        energies=tuple(energies),
        similarity=solver.state.similarity,
    )

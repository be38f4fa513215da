"""Live instance optimization: previews by a few steps on a coarse grid, exact results by the solver.

Both start from rest, or from the result of a discrete search, which depends on the images only and is computed once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.functional import resize
from SPRCore.geometry import Volume
from SPRCore.live.method import Check, CoarseSolution, ExactSolution
from SPRCore.live.pair import LivePair
from SPRCore.live.preview_grid import PreviewGrid, PreviewPyramid
from SPRCore.live.settings import START, Axes
from SPRCore.live.tangent import Tangent
from SPRCore.live.velocity_cache import VelocityCache
from SPRCore.registration.instance import InstanceProblem, normalized
from SPRCore.registration.job import INSTANCE, RegistrationJob
from SPRCore.registration.level import LevelImages, Pausing
from SPRCore.registration.pair import aligned_tensors, to_world
from SPRCore.registration.solver import Course, InstanceConfig, LevelSolver
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import hyperparameters, with_hyperparameters
from SPRCore.typing import Tensor, Vectors

TOLERANCE = 1e-4
"""Relative decrease of the energy at which a coarse solution has converged; finer than in a registration, because
previews show differences of two solutions."""

_MAX_STEPS = 30
_MAX_COARSER_STEPS = 12


def solver_of(start: str, method: str | Path) -> InstanceConfig | None:
    """Return the solver settings for a start ("rest" or "search"); None for those of the method.

    Raises:
        InputError: Unknown start, or a search with a model, from which a refinement starts.
    """
    check_name(start, START, "start")
    if start == "rest":
        return None
    if method != INSTANCE:
        expected, remedy = f"the method {INSTANCE}", "a model is where the refinement starts from"
        raise InputError("start", got=f"{start} with the method {method}", expected=expected, remedy=remedy)
    return InstanceConfig.searching()


class _StepTimer:
    """Longest recent time between two pauses of a computation, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    def fade(self) -> None:
        """Reduce it by a fifth, so that one long pause of the machine has no lasting effect."""
        self.longest *= 0.8

    def add(self, seconds: float) -> None:
        """Include a measured time."""
        self.longest = max(seconds, self.longest)


class _Descent:
    """Solver steps on the preview grid, after those on coarser grids.

    Args:
        levels: Coarser grids, if any, and the preview grid.
        start: Velocity on the first of them, or None for rest.
        prior: Prior on the weight.
        settings: Solver settings.
        timer: Shared with other descents of the pair.
    """

    def __init__(
        self,
        levels: Sequence[LevelImages],
        start: Vectors | None,
        prior: Prior,
        settings: InstanceConfig,
        timer: _StepTimer,
    ) -> None:
        self._levels, self._prior, self._settings, self._timer = tuple(levels), prior, settings, timer
        # From a search the exact solution takes a fixed number of steps and does not converge.
        self._max_steps = settings.steps[-1] if settings.search else _MAX_STEPS
        first = levels[0]
        self._velocity = first.moving.new_zeros((1, 3, *first.grid.shape)) if start is None else start
        self._running = self._run()
        self.is_done = self.has_moved = False

    @property
    def velocity_mm(self) -> Tensor:
        """Last accepted velocity, on the preview grid."""
        return _resampled(self._velocity, self._levels[-1].grid.shape)

    def advance_until(self, deadline: float, check: Check) -> None:
        """Continue until it is done or the next part may exceed the deadline, for one part at least."""
        self._timer.fade()
        now = time.perf_counter()
        while not self.is_done:
            check()
            self.is_done = next(self._running, "done") == "done"
            before, now = now, time.perf_counter()
            self._timer.add(now - before)
            if now + self._timer.longest > deadline:
                break

    def _run(self) -> Pausing[None]:
        for images in self._levels:
            coarser = images is not self._levels[-1]
            start = _resampled(self._velocity, images.grid.shape)
            solver = LevelSolver(images.seen_from(start), start, self._prior, self._settings)
            yield from solver.started()
            for _ in range(_MAX_COARSER_STEPS if coarser else self._max_steps):
                improved = yield from solver.step()
                self._velocity, self.has_moved = solver.velocity, True
                yield
                if not improved:
                    break


class InstanceMethod:
    """Live instance optimization of a pair.

    Args:
        pair: The pair.
        job: Prior, solver settings, painted stiffness and device.
        budget_ms: Time budget of a preview.
    """

    has_stages = measures_gap = True
    trained: Mapping[str, float] = MappingProxyType({})

    def __init__(self, pair: LivePair, job: RegistrationJob, budget_ms: float) -> None:
        self._fixed, self._settings = pair.fixed.grid, dataclasses.replace(job.config, tolerance=TOLERANCE)
        tensors = aligned_tensors(pair.fixed, pair.moving, pair.affine_ras, job)
        self._problem = InstanceProblem.of(**vars(tensors), config=job.config)
        self._device = job.device
        self.axes = Axes(job.slider_ranges)
        self._course: tuple[Prior, Course] | None = None
        self._search: Pausing[Vectors] | None = None
        self._timer, self._tangent = _StepTimer(), None
        self._warm_up(job.prior)
        masks = tensors.mask, tensors.moving_mask
        images = normalized(tensors.fixed, "fixed", masks[0]), normalized(tensors.moving, "moving", masks[1])
        pyramid = PreviewPyramid(*images, self._fixed, pair.affine_ras, self._settings, *masks)
        preview_grid = pyramid.fitting(lambda preview_grid: self._attempt(preview_grid, job.prior), budget_ms)
        self.preview_grid = preview_grid.stiffened(tensors.stiffness)

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters."""
        return with_hyperparameters(current, changes)

    def warnings(self, prior: Prior) -> tuple[str, ...]:
        """Return none: it has not been trained."""
        return ()

    def begin(
        self, prior: Prior, velocities: VelocityCache, last: CoarseSolution | None, deadline: float, check: Check
    ) -> CoarseSolution:
        """Interpolate and extrapolate visited settings; without any, take steps from the start."""
        position = self.axes.position(hyperparameters(prior))
        tangent = self._nearest_tangent(position, velocities, last)
        check()
        if tangent is None:
            descent = self._from_start(prior, check)
            descent.advance_until(deadline, check)
            while not (descent.has_moved or descent.is_done):  # a preview without motion would look like a failure
                descent.advance_until(deadline, check)
        else:
            start = self._predicted(prior, position, velocities, tangent)
            descent = self._descent([self.preview_grid.images], start, prior)
            descent.is_done = velocities.has_converged(prior)
        check()
        return _solution(prior, position, descent)

    def improved(self, solution: CoarseSolution, deadline: float, check: Check) -> CoarseSolution:
        """Take further steps."""
        solution.descent.advance_until(deadline, check)
        return _solution(solution.prior, solution.position, solution.descent)

    def settle(self, prior: Prior, position: np.ndarray, velocity_mm: Vectors) -> None:
        """Compute the tangent at a solution."""
        self._tangent = Tangent.of(self.preview_grid, prior, position, velocity_mm, False)

    def exact(self, prior: Prior, position: np.ndarray, check: Check) -> ExactSolution:
        """Run the solver as `SPRCore.register` does; an interrupted run is resumed."""
        self._searched(check)
        if self._course is None or self._course[0] != prior:
            self._course = prior, self._problem.course(prior)
        course = self._course[1]
        try:
            solved = course.completed(check)
        finally:
            if course.is_over:  # done, or failed
                self._course = None
        return ExactSolution(deformation=to_world(solved, self._fixed), weight_gap=0.0)

    def keep_only(self, prior: Prior | None) -> None:
        """Drop the unfinished exact solution of another setting, which holds full-size volumes."""
        if self._course is not None and self._course[0] != prior:
            self._course = None

    def problem(self) -> InstanceProblem:
        """Return the pair prepared for the solver."""
        return self._problem

    def stiffen(self, stiffness: Volume | None) -> None:
        """Replace the painted stiffness."""
        factors = None if stiffness is None else stiffness.to_tensor().to(self._device)
        self._problem, self._course = self._problem.stiffened(factors), None
        self.preview_grid = self.preview_grid.stiffened(factors)

    def _from_start(self, prior: Prior, check: Check) -> _Descent:
        """Return a descent from rest over coarser grids, or from the result of the search."""
        found = self._searched(check)
        if found is None:
            return self._descent([*self._coarser(), self.preview_grid.images], None, prior)
        return self._descent([self.preview_grid.images], resize(found, self.preview_grid.grid.shape), prior)

    def _searched(self, check: Check) -> Vectors | None:
        """Return the result of the discrete search in mm, or None without one; an interrupted search is resumed."""
        problem = self._problem
        while problem.config.search and not problem.found:
            search, self._search = self._search or problem.searched(), None
            if next(search, "over") != "over":
                self._search = search
                check()
        return problem.found[0] if problem.found else None

    def _descent(self, levels: Sequence[LevelImages], start: Vectors | None, prior: Prior) -> _Descent:
        return _Descent(levels, start, prior, self._settings, self._timer)

    def _predicted(self, prior: Prior, position: np.ndarray, velocities: VelocityCache, tangent: Tangent) -> Vectors:
        """Interpolate between visited settings to the nearest position, and respond to the remaining change."""
        found = velocities.coarse(position)
        velocity_mm, at = found or (tangent.velocity_mm, tangent.position)
        if found is not None and _distance(at, position) < 1e-6:
            return velocity_mm
        at_tangent = _distance(at, tangent.position) < 1e-6
        before = tangent.prior if at_tangent else self.prior(self.axes.values(at), prior)
        return velocity_mm + tangent.response(self.preview_grid, before, prior)

    def _nearest_tangent(
        self, position: np.ndarray, velocities: VelocityCache, last: CoarseSolution | None
    ) -> Tangent | None:
        """Return the tangent at the nearest setting, replaced if another setting is less than half as far."""
        kept, found = self._tangent, velocities.nearest(position)
        if found is not None:
            prior, at, velocity_mm = found
            if kept is None or kept.is_rough or _distance(at, position) < 0.5 * _distance(kept.position, position):
                self._tangent = Tangent.of(self.preview_grid, prior, at, velocity_mm, False)
        elif kept is None and last is not None:
            self._tangent = Tangent.of(self.preview_grid, last.prior, last.position, last.velocity_mm, True)
        return self._tangent

    def _coarser(self) -> list[LevelImages]:
        """Return the solver levels with clearly larger voxels than the preview grid."""
        return [images for images in self._problem.levels if 3 * images.voxels < self.preview_grid.voxels]

    def _warm_up(self, prior: Prior) -> None:
        """Take one step on the coarsest level, since the first derivative of a process takes longer than a preview."""
        images = self._problem.levels[0]
        descent = _Descent([images], None, prior, self._settings, _StepTimer())
        descent.advance_until(time.perf_counter() + 0.05, lambda: None)

    def _attempt(self, preview_grid: PreviewGrid, prior: Prior) -> float:
        """Compute a response and its preview; return the thread time in ms."""
        start = torch.full_like(preview_grid.fixed, 3.0 * min(preview_grid.grid.spacing))
        start = start.expand(-1, 3, -1, -1, -1)
        tangent = Tangent.of(preview_grid, prior, np.zeros(1), start.contiguous(), True)
        begin = time.thread_time()
        before = self.prior(self.axes.values([0.5] * len(self.axes.ranges)), prior)
        velocity_mm, displacement_vox = preview_grid.flow(start + tangent.response(preview_grid, before, prior))
        sharpness = torch.zeros_like(preview_grid.fixed)
        preview_grid.preview(displacement_vox, preview_grid.closed_form(velocity_mm, prior, sharpness), 0.0)
        return 1e3 * (time.thread_time() - begin)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))


def _solution(prior: Prior, position: np.ndarray, descent: _Descent) -> CoarseSolution:
    velocity_mm = descent.velocity_mm
    return CoarseSolution(
        prior=prior,
        position=position,
        velocity_mm=velocity_mm,
        is_final=descent.is_done,
        interpolable=velocity_mm,
        descent=descent,
    )


def _resampled(velocity_mm: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(velocity_mm.shape[2:]) == tuple(shape):
        return velocity_mm
    return F.interpolate(velocity_mm, size=tuple(shape), mode="trilinear", align_corners=True)

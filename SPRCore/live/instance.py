"""The instance method, live: previews by a few steps on a coarse grid, exact results by the solver itself.

Both begin from rest, or from what a discrete search finds, which depends on the images alone and is run once.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.functional import resize
from SPRCore.geometry import MaskedVolume, Volume
from SPRCore.live.canvas import Canvas, Easel
from SPRCore.live.method import Check, Exact, Sketch
from SPRCore.live.settings import START, Axes, widened
from SPRCore.live.tangent import Tangent
from SPRCore.live.visited import Visited
from SPRCore.registration.instance import InstanceProblem, normalized
from SPRCore.registration.job import INSTANCE, RegistrationJob
from SPRCore.registration.level import LevelImages, Pausing
from SPRCore.registration.pair import aligned_tensors, to_world
from SPRCore.registration.solver import Course, InstanceConfig, LevelSolver
from SPRCore.regularization import Prior
from SPRCore.regularization.hyperparameters import usual_ranges
from SPRCore.regularization.priors import hyperparameters, with_hyperparameters
from SPRCore.typing import Tensor, Vectors

TOLERANCE = 1e-4
"""A sketch is done when a step lowers its energy by less than this part: the difference of two is what previews show,
so that it has to be finer than for the levels of a registration."""

MOST_STEPS = 30
FIRST_STEPS = 12


def solver_of(start: str, method: str | Path) -> InstanceConfig | None:
    """Return the settings of the solver for what it starts from; None for those of the method.

    Args:
        start: "rest" or "search".
        method: As for ``LiveSession.open``.

    Raises:
        InputError: There is no such start, or a model, which is where a refinement starts from.
    """
    check_name(start, START, "start")
    if start == "rest":
        return None
    if method != INSTANCE:
        expected, remedy = f"the method {INSTANCE}", "a model is where the refinement starts from"
        raise InputError("start", got=f"{start} with the method {method}", expected=expected, remedy=remedy)
    return InstanceConfig.searching()


class Pace:
    """How long a computation goes on between two pauses, the longest of late, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    def fade(self) -> None:
        """Forget a little, or a machine that slept once would never be thought fast enough again."""
        self.longest *= 0.8

    def note(self, seconds: float) -> None:
        """Take note of one stretch."""
        self.longest = max(seconds, self.longest)


class Descent:
    """Steps on the canvas, from a velocity or from rest; from rest over coarser grids first.

    Args:
        levels: The canvas alone, or after coarser grids.
        start: Velocity on the first of them, or None.
        prior: Prior on the weight.
        settings: Of the solver.
        pace: Shared with others of the same kind.
    """

    def __init__(
        self, levels: Sequence[LevelImages], start: Vectors | None, prior: Prior, settings: InstanceConfig, pace: Pace
    ) -> None:
        self._levels, self._prior, self._settings, self._pace = tuple(levels), prior, settings, pace
        # From a search the exact solution is what a few steps make of it, not where they end.
        self._most = settings.steps[-1] if settings.search else MOST_STEPS
        first = levels[0]
        self._velocity = first.moving.new_zeros((1, 3, *first.grid.shape)) if start is None else start
        self._running = self._run()
        self.is_done = self.has_moved = False

    @property
    def velocity_mm(self) -> Tensor:
        """Last accepted velocity, on the canvas."""
        return _resampled(self._velocity, self._levels[-1].grid.shape)

    def advance_until(self, deadline: float, check: Check) -> None:
        """Go on until it is done or the next stretch may not end in time, for one stretch at least."""
        self._pace.fade()
        now = time.perf_counter()
        while not self.is_done:
            check()
            self.is_done = next(self._running, "done") == "done"
            before, now = now, time.perf_counter()
            self._pace.note(now - before)
            if now + self._pace.longest > deadline:
                break

    def _run(self) -> Pausing[None]:
        for images in self._levels:
            coarser = images is not self._levels[-1]
            start = _resampled(self._velocity, images.grid.shape)
            solver = LevelSolver(images.seen_from(start), start, self._prior, self._settings)
            yield from solver.started()
            for _ in range(FIRST_STEPS if coarser else self._most):
                going = yield from solver.step()
                self._velocity, self.has_moved = solver.velocity, True
                yield
                if not going:
                    break


class InstanceMethod:
    """A pair for the instance method.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, or None.
        job: How to deform.
        budget_ms: Time of a preview.

    Attributes:
        canvas: The grid of the previews.
        axes: The sliders.
    """

    has_stages = True

    def __init__(
        self,
        fixed: MaskedVolume,
        moving: MaskedVolume,
        affine_ras: np.ndarray | None,
        job: RegistrationJob,
        budget_ms: float,
    ) -> None:
        self._fixed, self._settings = fixed.grid, dataclasses.replace(job.config, tolerance=TOLERANCE)
        tensors = aligned_tensors(fixed, moving, affine_ras, job)
        self._problem = InstanceProblem.of(**vars(tensors), config=job.config)
        self._device = job.device
        self.axes = Axes(widened(usual_ranges(job.prior.name), hyperparameters(job.prior)))
        self._course: tuple[Prior, Course] | None = None
        self._search: Pausing[Vectors] | None = None
        self._pace, self._tangent = Pace(), None
        self._warm_up(job.prior)
        masks = tensors.mask, tensors.moving_mask
        pair = normalized(tensors.fixed, "fixed", masks[0]), normalized(tensors.moving, "moving", masks[1])
        easel = Easel(*pair, fixed.grid, affine_ras, self._settings, *masks)
        canvas = easel.fitting(lambda canvas: self._attempt(canvas, job.prior), budget_ms)
        self.canvas = canvas.stiffened(tensors.stiffness)

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters."""
        return with_hyperparameters(current, changes)

    def begin(
        self, prior: Prior, place: np.ndarray, visited: Visited, last: Sketch | None, deadline: float, check: Check
    ) -> Sketch:
        """Interpolate between visited settings, or respond from the nearest; without any, step from the start."""
        tangent = self._nearest_tangent(place, visited, last)
        check()
        if tangent is None:
            descent = self._from_the_start(prior, check)
            descent.advance_until(deadline, check)
            while not (descent.has_moved or descent.is_done):  # nothing else could be told from a broken slider
                descent.advance_until(deadline, check)
        else:
            descent = self._descent([self.canvas.images], self._responded(prior, place, visited, tangent), prior)
            descent.is_done = visited.knows(prior)
        check()
        return _sketch(prior, place, descent)

    def improved(self, sketch: Sketch, deadline: float, check: Check) -> Sketch:
        """Go on stepping."""
        sketch.work.advance_until(deadline, check)
        return _sketch(sketch.prior, sketch.place, sketch.work)

    def settle(self, prior: Prior, place: np.ndarray, velocity_mm: Vectors) -> None:
        """Prepare for moves from a solution."""
        self._tangent = Tangent.of(self.canvas, prior, place, velocity_mm, False)

    def exact(self, prior: Prior, place: np.ndarray, check: Check) -> Exact:
        """Run the solver as `SPRCore.register` does, or go on where it was left."""
        self._found(check)
        if self._course is None or self._course[0] != prior:
            self._course = prior, self._problem.course(prior)
        course = self._course[1]
        try:
            solved = course.completed(check)
        finally:
            if course.is_over:  # done, or failed
                self._course = None
        return Exact(found=to_world(solved, self._fixed), weight_gap=0.0)

    def keep_only(self, prior: Prior | None) -> None:
        """Drop an unfinished exact solution for another setting: it holds full-size volumes."""
        if self._course is not None and self._course[0] != prior:
            self._course = None

    def stiffen(self, stiffness: Volume | None) -> None:
        """Change the painted stiffness."""
        factors = None if stiffness is None else stiffness.to_tensor().to(self._device)
        problem, canvas = self._problem.stiffened(factors), self.canvas.stiffened(factors)
        self._problem, self.canvas, self._course = problem, canvas, None

    def _from_the_start(self, prior: Prior, check: Check) -> Descent:
        """Begin from rest over coarser grids, or from what the discrete search finds."""
        found = self._found(check)
        if found is None:
            return self._descent([*self._coarser(), self.canvas.images], None, prior)
        return self._descent([self.canvas.images], resize(found, self.canvas.grid.shape), prior)

    def _found(self, check: Check) -> Vectors | None:
        """Return what the discrete search finds, in mm; given up by `check`, it goes on where it was left."""
        problem = self._problem
        while problem.config.search and not problem.found:
            search, self._search = self._search or problem.searched(), None
            if next(search, "over") != "over":
                self._search = search
                check()
        return problem.found[0] if problem.found else None

    def _descent(self, levels: Sequence[LevelImages], start: Vectors | None, prior: Prior) -> Descent:
        return Descent(levels, start, prior, self._settings, self._pace)

    def _responded(self, prior: Prior, place: np.ndarray, visited: Visited, tangent: Tangent) -> Vectors:
        """Interpolate between visited settings as far as the wanted one lies between them, and respond to the rest."""
        velocity_mm, at = visited.coarse(place) or (tangent.velocity_mm, tangent.place)
        left = _apart(at, place)
        if left < 1e-6 and visited.coarse(place) is not None:
            return velocity_mm
        before = tangent.prior if _apart(at, tangent.place) < 1e-6 else self.prior(self.axes.values(at), prior)
        return velocity_mm + tangent.response(self.canvas, before, prior)

    def _nearest_tangent(self, place: np.ndarray, visited: Visited, last: Sketch | None) -> Tangent | None:
        """Return that of the setting nearest by, as far as a change of it is worth its time."""
        kept, found = self._tangent, visited.nearest(place)
        if found is not None:
            prior, at, velocity_mm = found
            if kept is None or kept.is_rough or _apart(at, place) < 0.5 * _apart(kept.place, place):
                self._tangent = Tangent.of(self.canvas, prior, at, velocity_mm, False)
        elif kept is None and last is not None:
            self._tangent = Tangent.of(self.canvas, last.prior, last.place, last.velocity_mm, True)
        return self._tangent

    def _coarser(self) -> list[LevelImages]:
        """Levels of the solver whose voxels are clearly larger than those of the canvas."""
        return [images for images in self._problem.levels if 3 * images.moving.numel() < self.canvas.voxels]

    def _warm_up(self, prior: Prior) -> None:
        """Take one step on the coarsest level: the first derivative of a process takes longer than all of a preview."""
        images = self._problem.levels[0]
        descent = Descent([images], None, prior, self._settings, Pace())
        descent.advance_until(time.perf_counter() + 0.05, lambda: None)

    def _attempt(self, canvas: Canvas, prior: Prior) -> float:
        """Do what a preview does, a response and its picture; return the time of this thread that it took, in ms."""
        start = torch.full_like(canvas.images.moving, 3.0 * min(canvas.grid.spacing)).expand(-1, 3, -1, -1, -1)
        tangent = Tangent.of(canvas, prior, np.zeros(1), start.contiguous(), True)
        begin = time.thread_time()
        before = self.prior(self.axes.values([0.5] * len(self.axes.ranges)), prior)
        velocity_mm, displacement_vox = canvas.flow(start + tangent.response(canvas, before, prior))
        sharpness = torch.zeros_like(canvas.images.moving)
        canvas.picture(displacement_vox, canvas.closed_form(velocity_mm, prior, sharpness), 0.0)
        return 1e3 * (time.thread_time() - begin)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other))


def _sketch(prior: Prior, place: np.ndarray, descent: Descent) -> Sketch:
    velocity_mm = descent.velocity_mm
    return Sketch(
        prior=prior, place=place, velocity_mm=velocity_mm, is_final=descent.is_done, kept=velocity_mm, work=descent
    )


def _resampled(velocity_mm: Tensor, shape: Sequence[int]) -> Tensor:
    if tuple(velocity_mm.shape[2:]) == tuple(shape):
        return velocity_mm
    return F.interpolate(velocity_mm, size=tuple(shape), mode="trilinear", align_corners=True)

"""A trained network, live: the pair is encoded once for each grid, a move of a slider only decodes."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from SPRCore.geometry import Volume, resample
from SPRCore.live.canvas import Canvas, Easel
from SPRCore.live.method import Check, Exact, Sketch
from SPRCore.live.settings import Axes
from SPRCore.live.visited import Visited
from SPRCore.networks import RegistrationOutput
from SPRCore.networks.network import Features
from SPRCore.registration.job import Job, Model
from SPRCore.registration.network import (
    PreparedPair,
    check_output,
    code_of,
    has_velocity,
    lengthened,
    model_prior,
    shortened,
)
from SPRCore.registration.pair import deformation_of, problem_of, start_mm
from SPRCore.registration.result import Deformation
from SPRCore.regularization import Prior
from SPRCore.regularization.naming import with_hyperparameters
from SPRCore.typing import Tensor


class NetworkMethod:
    """A pair for a network, perhaps refined.

    Args:
        fixed: Fixed image.
        moving: Moving image, on any grid.
        affine_ras: Alignment as a whole, or None.
        job: How to deform; with a model.
        budget_ms: Time of a preview.

    Attributes:
        canvas: The grid of the previews, over that of the network.
        axes: The hyperparameters that the network takes.
    """

    remembers = False

    def __init__(
        self, fixed: Volume, moving: Volume, affine_ras: np.ndarray | None, job: Job, budget_ms: float
    ) -> None:
        model: Model = job.model
        self._fixed, self._moving, self._affine_ras, self._job = fixed, moving, affine_ras, job
        self._model, self._network = model, model.network
        self._pair = PreparedPair.of(fixed, moving, model.network, model.card, affine_ras)
        self._features: Features | None = None
        self._coarse: tuple[Canvas, Features] | None = None
        images = (shortened(image, self._pair.grid.shape) for image in (self._pair.fixed, self._pair.moving))
        easel = Easel(*images, self._pair.grid, affine_ras, job.config)
        self.canvas = easel.fitting(functools.partial(self._attempt, job.prior), budget_ms)
        self.axes = Axes({name: model.card.ranges[name] for name in model.card.conditioning})

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters, within what the model takes."""
        return model_prior(self._model.card, with_hyperparameters(current, changes))

    @torch.no_grad()
    def begin(
        self, prior: Prior, place: np.ndarray, visited: Visited, last: Sketch | None, deadline: float, check: Check
    ) -> Sketch:
        """Decode the pair as it was encoded on the canvas; the canvas was chosen so that this fits the budget."""
        with interruptible(self._network, check):
            velocity_mm, displacement_vox, weight = self._decoded(self.canvas, prior)
        return Sketch(
            prior=prior, place=place, velocity_mm=velocity_mm, displacement_vox=displacement_vox, weight=weight
        )

    def improved(self, sketch: Sketch, deadline: float, check: Check) -> Sketch:
        """Return the sketch: there is nothing between it and the exact solution."""
        return sketch

    def settle(self, prior: Prior, place: np.ndarray, velocity_mm: Tensor) -> None:
        """Do nothing: the network itself knows what other settings give."""

    def exact(self, prior: Prior, check: Check) -> Exact:
        """Decode the pair on the grid of the model, as `SPRCore.register` computes it, and refine it if asked."""
        code = self._code(prior)
        with torch.no_grad(), interruptible(self._network, check):
            if self._features is None:
                self._features = self._network.encode(self._pair.moving, self._pair.fixed)
            output = self._network.decode(self._features, code)
        check()
        found = self._pair.deformation(output, prior)
        check()
        return self._refined(found, prior, check) if self._job.refine else self._as_it_is(found, prior)

    def keep_only(self, prior: Prior | None) -> None:
        """Do nothing: what is kept serves all settings."""

    def stiffen(self, stiffness: Volume | None) -> None:
        """Change the painted stiffness of the refinement."""
        self._job = dataclasses.replace(self._job, stiffness=stiffness)

    def _refined(self, found: Deformation, prior: Prior, check: Check) -> Exact:
        problem = problem_of(self._fixed, self._moving, self._affine_ras, self._job)
        course = problem.course(prior, start_mm(found, self._job.device))
        solved = course.completed(lambda _: check())
        return Exact(found=deformation_of(solved, self._fixed), weight_gap=0.0)

    def _as_it_is(self, found: Deformation, prior: Prior) -> Exact:
        gap = 0.0
        if found.velocity is not None:
            weight = resample(found.weight, self.canvas.grid, outside=1.0).to_tensor().to(self._job.device)
            gap = self.canvas.weight_gap(self.canvas.velocity_mm(found.velocity), weight, prior)
        return Exact(found=found, weight_gap=gap)

    def _code(self, prior: Prior) -> Tensor | None:
        code = code_of(self._model.card, prior)
        return None if code is None else code.to(self._job.device)

    def _decoded(self, canvas: Canvas, prior: Prior) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Velocity in mm, or else displacement in voxels, and weight on a canvas."""
        features, shape = self._encoded(canvas), canvas.grid.shape
        if has_velocity(self._network):
            velocity_vox, weight = self._network.decode_velocity(features, self._code(prior))
            check_output(RegistrationOutput(displacement=velocity_vox, weight=weight))
            return shortened(velocity_vox, shape) * canvas.images.spacing, None, shortened(weight, shape)
        output = self._network.decode(features, self._code(prior), inverse=False)
        check_output(output)
        return None, shortened(output.displacement, shape), shortened(output.weight, shape)

    def _encoded(self, canvas: Canvas) -> Features:
        if self._coarse is None or self._coarse[0] is not canvas:
            moving, fixed = (lengthened(image) for image in (canvas.images.moving, canvas.fixed))
            self._coarse = canvas, self._network.encode(moving, fixed)
        return self._coarse[1]

    @torch.no_grad()
    def _attempt(self, prior: Prior, canvas: Canvas) -> float:
        """Do what a preview does, the pair encoded; return the time it took, in ms."""
        self._encoded(canvas)
        start = time.perf_counter()
        velocity_mm, displacement_vox, weight = self._decoded(canvas, prior)
        if velocity_mm is not None:
            velocity_mm, displacement_vox = canvas.flow(velocity_mm)
            closed = canvas.closed_form(velocity_mm, prior)
            weight = closed if weight is None else weight
        canvas.picture(displacement_vox, canvas.fixed if weight is None else weight, 0.0)
        return 1e3 * (time.perf_counter() - start)


@contextmanager
def interruptible(network: nn.Module, check: Check) -> Iterator[None]:
    """Let a check be made before each part of a network runs.

    Args:
        network: The network.
        check: Raises to leave it.

    Yields:
        Nothing.
    """

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        check()

    hooks = [module.register_forward_pre_hook(before) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

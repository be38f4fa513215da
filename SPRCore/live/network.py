"""A trained network, live: the pair is encoded once for each grid, a move of a slider only decodes."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.geometry import Field, MaskedVolume, Volume, fill
from SPRCore.live.canvas import Canvas, Easel
from SPRCore.live.method import Check, Exact, Sketch
from SPRCore.live.settings import Axes
from SPRCore.live.visited import NEIGHBORS, Visited, blended
from SPRCore.networks import RegistrationOutput
from SPRCore.networks.network import Features
from SPRCore.registration.job import LoadedModel, RegistrationJob
from SPRCore.registration.network import (
    NetworkInput,
    check_output,
    code_of,
    has_velocity,
    model_prior,
    shortened,
)
from SPRCore.registration.pair import problem_of, start_mm, to_world
from SPRCore.registration.result import DeformationFields
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import with_hyperparameters
from SPRCore.typing import Tensor


class NetworkMethod:
    """A pair for a network, perhaps refined.

    A network knows voxels of the size that it was trained with and no coarser ones, so previews are what it gave on its
    own grid, sampled on the canvas: decoded for the move where that is quick enough, otherwise interpolated between the
    settings that were decoded before.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        affine_ras: Alignment as a whole, or None.
        job: How to deform; with a model.
        budget_ms: Time of a preview.

    Attributes:
        canvas: The grid of the previews, over that of the network.
        axes: The hyperparameters that the network takes.
        has_stages: Whether the network's own answer is worth showing before the exact one.
    """

    def __init__(
        self,
        fixed: MaskedVolume,
        moving: MaskedVolume,
        affine_ras: np.ndarray | None,
        job: RegistrationJob,
        budget_ms: float,
    ) -> None:
        model: LoadedModel = job.model
        self._fixed, self._moving, self._affine_ras, self._job = fixed, moving, affine_ras, job
        self._model, self._network = model, model.network
        self.has_stages = job.refine > 0
        self._pair = NetworkInput.of(fixed, moving, model.network, model.card, affine_ras)
        self._features: Features | None = None
        self._decoding_s = math.inf
        images = (shortened(image, self._pair.grid.shape) for image in (self._pair.fixed, self._pair.moving))
        known = self._pair.known
        easel = Easel(*images, self._pair.grid, affine_ras, job.config, None if known is None else known.float())
        canvas = easel.fitting(functools.partial(self._attempt, job.prior), budget_ms)
        self.canvas = canvas.stiffened(_factors(job.stiffness, job.device))
        self.axes = Axes({name: _above_zero(*model.card.ranges[name]) for name in model.card.conditioning})

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters, within what the model takes."""
        return model_prior(self._model.card, with_hyperparameters(current, changes))

    def begin(
        self, prior: Prior, place: np.ndarray, visited: Visited, last: Sketch | None, deadline: float, check: Check
    ) -> Sketch:
        """Decode if that is done in time or nothing is known; interpolate between what was decoded otherwise."""
        check()
        found = visited.coarse(place)
        if found is None or (not visited.knows(prior) and time.perf_counter() + self._decoding_s < deadline):
            return self._decoded(prior, place, check)
        return self._sketch(prior, place, found[0], visited.knows(prior))

    def improved(self, sketch: Sketch, deadline: float, check: Check) -> Sketch:
        """Decode what was interpolated."""
        return self._decoded(sketch.prior, sketch.place, check)

    def settle(self, prior: Prior, place: np.ndarray, velocity_mm: Tensor) -> None:
        """Do nothing: the network itself knows what other settings give."""

    def exact(self, prior: Prior, place: np.ndarray, check: Check) -> Exact:
        """Decode the pair on the grid of the model, as `SPRCore.register` computes it, and refine it if asked."""
        with torch.no_grad(), interruptible(self._network, check):
            output = self._network.decode(self._encoded(), self._code(prior), inverse=False)
        check()
        found = self._pair.to_world(output, prior, inverse=False)
        check()
        if self._job.refine:
            return self._refined(found, prior, check)
        field = output.velocity if has_velocity(self._network) else output.displacement
        sketch = self._sketch(prior, place, self._on_canvas(field, output.weight), True)
        known = sketch.velocity_mm is not None and sketch.weight is not None
        gap = self.canvas.weight_gap(sketch.velocity_mm, sketch.weight, prior) if known else 0.0
        invert = functools.partial(self._inverse, prior)
        return Exact(found=found, weight_gap=gap, sketch=sketch, invert=invert, longest_mm=self._longest(output))

    def _longest(self, output: RegistrationOutput) -> float | None:
        """Length of the longest displacement in mm, measured where the field is; None where it is sampled anew."""
        pair = self._pair
        if not pair.grid.matches(pair.fixed_grid):
            return None
        field = shortened(pair.continued(output).displacement, pair.grid.shape)[0]
        to_mm = torch.tensor(pair.grid.affine[:3, :3], dtype=field.dtype, device=field.device)
        return float((to_mm @ field.reshape(3, -1)).square().sum(dim=0).max().sqrt())

    @torch.no_grad()
    def _inverse(self, prior: Prior) -> Field:
        """Decode once more for the inverse, which a commit alone needs: fields of a brain are too large to be kept."""
        return self._pair.inverse(self._network.decode(self._encoded(), self._code(prior)))

    def keep_only(self, prior: Prior | None) -> None:
        """Do nothing: what is kept serves all settings."""

    def stiffen(self, stiffness: Volume | None) -> None:
        """Change the painted stiffness of the refinement."""
        self._job = dataclasses.replace(self._job, stiffness=stiffness)
        self.canvas = self.canvas.stiffened(_factors(stiffness, self._job.device))

    def _refined(self, found: DeformationFields, prior: Prior, check: Check) -> Exact:
        problem = problem_of(self._fixed, self._moving, self._affine_ras, self._job)
        course = problem.course(prior, start_mm(found, self._job.device))
        solved = course.completed(check)
        return Exact(found=to_world(solved, self._fixed.grid), weight_gap=0.0)

    def _code(self, prior: Prior) -> Tensor | None:
        code = code_of(self._model.card, prior)
        return None if code is None else code.to(self._job.device)

    def _encoded(self) -> Features:
        if self._features is None:
            self._features = self._network.encode(self._pair.moving, self._pair.fixed)
        return self._features

    @torch.no_grad()
    def _decoded(self, prior: Prior, place: np.ndarray, check: Check) -> Sketch:
        with interruptible(self._network, check):
            features, start = self._encoded(), time.perf_counter()
            if has_velocity(self._network):
                field, weight = self._network.decode_velocity(features, self._code(prior))
            else:
                output = self._network.decode(features, self._code(prior), inverse=False)
                field, weight = output.displacement, output.weight
        check_output(RegistrationOutput(displacement=field, weight=weight))
        sketch = self._sketch(prior, place, self._on_canvas(field, weight), True)
        spent_s, before_s = time.perf_counter() - start, self._decoding_s
        self._decoding_s = spent_s if math.isinf(before_s) else max(spent_s, 0.8 * before_s)
        return sketch

    def _on_canvas(self, field_vox: Tensor, weight: Tensor | None) -> Tensor:
        """Bring what the network gave to the canvas, whose corners are those of its grid: a field in mm, the weight."""
        parts = [field_vox * field_vox.new_tensor(self._pair.grid.spacing).view(1, 3, 1, 1, 1)]
        parts += [] if weight is None or self._job.refine else [weight]  # the weight of the refinement is another one
        whole = shortened(torch.cat(parts, dim=1), self._pair.grid.shape)
        if self._pair.known is not None:
            whole = fill(whole, self._pair.known)
            whole[:, 3:] = torch.where(self._pair.known, whole[:, 3:], 1.0)
        return F.interpolate(whole, size=self.canvas.grid.shape, mode="trilinear", align_corners=True)

    def _sketch(self, prior: Prior, place: np.ndarray, whole: Tensor, is_final: bool) -> Sketch:
        field_mm, weight = whole[:, :3], whole[:, 3:] if whole.shape[1] > 3 else None
        fields = {"velocity_mm": field_mm}
        if not has_velocity(self._network):
            fields = {"velocity_mm": None, "displacement_vox": field_mm / self.canvas.images.spacing}
        return Sketch(prior=prior, place=place, **fields, weight=weight, is_final=is_final, kept=whole)

    def _attempt(self, prior: Prior, canvas: Canvas) -> float:
        """Do what a preview does, interpolate and draw; return the time of this thread that it took, in ms."""
        field_mm = torch.full_like(canvas.images.moving, 3.0 * min(canvas.grid.spacing)).expand(-1, 4, -1, -1, -1)
        known = [(prior, np.array([float(at)]), field_mm) for at in range(NEIGHBORS)]
        start = time.thread_time()
        field_mm, _ = blended(np.array([0.5]), known)
        velocity_mm, displacement_vox = canvas.flow(field_mm[:, :3])
        closed = canvas.closed_form(velocity_mm, prior)
        canvas.picture(displacement_vox, closed, float((closed - field_mm[:, 3:]).abs().mean()))
        return 1e3 * (time.thread_time() - start)


def _above_zero(low: float, high: float) -> tuple[float, float]:
    """Ends of a slider: not 0, where a prior is none."""
    return max(low, 0.01 * high), high


def _factors(stiffness: Volume | None, device: torch.device) -> Tensor | None:
    return None if stiffness is None else stiffness.to_tensor().to(device)


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

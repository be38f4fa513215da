"""Live registration by a trained network: the pair is encoded once, a change of the setting only decodes."""

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

from SPRCore.analysis.warnings import setting_warnings
from SPRCore.geometry import Field, Volume, fill
from SPRCore.live.method import Check, CoarseSolution, ExactSolution
from SPRCore.live.pair import LivePair
from SPRCore.live.preview_grid import PreviewGrid, PreviewPyramid
from SPRCore.live.settings import Axes
from SPRCore.live.velocity_cache import NEIGHBORS, VelocityCache, interpolate
from SPRCore.networks import RegistrationOutput
from SPRCore.networks.network import Features
from SPRCore.registration.instance import InstanceProblem
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
from SPRCore.regularization.gradient_units import MM, is_isotropic
from SPRCore.regularization.priors import hyperparameters, with_hyperparameters
from SPRCore.typing import Tensor


class NetworkMethod:
    """Live registration of a pair by a network, optionally refined.

    A network is valid only at the voxel size of its training, so previews are its output on its own grid, resampled to
    the preview grid: decoded for the setting if the budget allows, otherwise interpolated between decoded settings.

    Args:
        pair: The pair.
        job: Model, prior, refinement, painted stiffness and device.
        budget_ms: Time budget of a preview.
    """

    def __init__(self, pair: LivePair, job: RegistrationJob, budget_ms: float) -> None:
        model: LoadedModel = job.model
        self._fixed, self._moving, self._affine_ras, self._job = pair.fixed, pair.moving, pair.affine_ras, job
        self._model, self._network = model, model.network
        self.has_stages = job.refine > 0  # exact results differ from the network's output by refinement only
        self._pair = NetworkInput.of(pair.fixed, pair.moving, model.network, model.card, pair.affine_ras)
        self._features: Features | None = None
        self._problem: InstanceProblem | None = None
        self._decoding_s = math.inf
        self.measures_gap = model.card.units == MM or is_isotropic(self._pair.grid.spacing)
        images = (shortened(image, self._pair.grid.shape) for image in (self._pair.fixed, self._pair.moving))
        known = None if self._pair.known is None else self._pair.known.float()
        pyramid = PreviewPyramid(*images, self._pair.grid, pair.affine_ras, job.config, known)
        preview_grid = pyramid.fitting(functools.partial(self._attempt, job.prior), budget_ms)
        self.preview_grid = preview_grid.stiffened(_factors(job.stiffness, job.device))
        self.axes = Axes(job.slider_ranges)
        self.trained = {name: model.card.ranges[name][1] for name in model.card.conditioning}

    def prior(self, changes: Mapping[str, float], current: Prior) -> Prior:
        """Return a prior with changed hyperparameters, within the ranges in which the model may be used."""
        return model_prior(self._model.card, with_hyperparameters(current, changes))

    def warnings(self, prior: Prior) -> tuple[str, ...]:
        """Return a warning for each hyperparameter beyond the training."""
        return tuple(setting_warnings(self._model.card, prior))

    def begin(
        self, prior: Prior, velocities: VelocityCache, last: CoarseSolution | None, deadline: float, check: Check
    ) -> CoarseSolution:
        """Decode if the deadline allows or nothing is cached; otherwise interpolate decoded settings."""
        check()
        position = self.axes.position(hyperparameters(prior))
        found, is_known = velocities.coarse(position), velocities.has_converged(prior)
        if found is None or (not is_known and time.perf_counter() + self._decoding_s < deadline):
            return self._decoded(prior, position, check)
        return self._solution(prior, position, found[0], is_known)

    def improved(self, solution: CoarseSolution, deadline: float, check: Check) -> CoarseSolution:
        """Decode an interpolated setting."""
        return self._decoded(solution.prior, solution.position, check)

    def settle(self, prior: Prior, position: np.ndarray, velocity_mm: Tensor) -> None:
        """No-op: the network itself gives other settings."""

    def exact(self, prior: Prior, position: np.ndarray, check: Check) -> ExactSolution:
        """Decode the pair on the grid of the model, as `SPRCore.register` does, and refine it if requested."""
        with torch.no_grad(), _interruptible(self._network, check):
            output = self._network.decode(self._encoded(), self._code(prior), inverse=False)
        check()
        deformation = self._pair.to_world(output, prior, inverse=False)
        check()
        if self._job.refine:
            return self._refined(deformation, prior, check)
        field = output.velocity if has_velocity(self._network) else output.displacement
        coarse = self._solution(prior, position, self._on_preview_grid(field, output.weight), True)
        return ExactSolution(
            deformation=deformation,
            weight_gap=self._weight_gap(coarse, prior),
            coarse=coarse,
            invert=functools.partial(self._inverse, prior),
            max_displacement_mm=self._max_displacement_mm(output),
        )

    def _weight_gap(self, coarse: CoarseSolution, prior: Prior) -> float:
        if not self.measures_gap:
            return math.nan
        known = coarse.velocity_mm is not None and coarse.weight is not None
        return self.preview_grid.weight_gap(coarse.velocity_mm, coarse.weight, prior) if known else 0.0

    def _max_displacement_mm(self, output: RegistrationOutput) -> float | None:
        """Length of the longest displacement, if the output is on the fixed grid."""
        pair = self._pair
        if not pair.grid.matches(pair.fixed_grid):
            return None
        field = shortened(pair.continued(output).displacement, pair.grid.shape)[0]
        to_mm = torch.tensor(pair.grid.affine[:3, :3], dtype=field.dtype, device=field.device)
        return float((to_mm @ field.reshape(3, -1)).square().sum(dim=0).max().sqrt())

    @torch.no_grad()
    def _inverse(self, prior: Prior) -> Field:
        """Decode again for the inverse of a commit, because the fields of a brain are too large to keep."""
        return self._pair.inverse(self._network.decode(self._encoded(), self._code(prior)))

    def keep_only(self, prior: Prior | None) -> None:
        """No-op: the features serve all settings."""

    def problem(self) -> InstanceProblem:
        """Return the pair prepared for the solver; it is kept."""
        if self._problem is None:
            self._problem = problem_of(self._fixed, self._moving, self._affine_ras, self._job)
        return self._problem

    def stiffen(self, stiffness: Volume | None) -> None:
        """Replace the painted stiffness of the refinement."""
        self._job, self._problem = dataclasses.replace(self._job, stiffness=stiffness), None
        self.preview_grid = self.preview_grid.stiffened(_factors(stiffness, self._job.device))

    def _refined(self, deformation: DeformationFields, prior: Prior, check: Check) -> ExactSolution:
        problem = problem_of(self._fixed, self._moving, self._affine_ras, self._job)
        course = problem.course(prior, start_mm(deformation, self._job.device))
        solved = course.completed(check)
        return ExactSolution(deformation=to_world(solved, self._fixed.grid), weight_gap=0.0)

    def _code(self, prior: Prior) -> Tensor | None:
        code = code_of(self._model.card, prior)
        return None if code is None else code.to(self._job.device)

    def _encoded(self) -> Features:
        if self._features is None:
            self._features = self._network.encode(self._pair.moving, self._pair.fixed)
        return self._features

    @torch.no_grad()
    def _decoded(self, prior: Prior, position: np.ndarray, check: Check) -> CoarseSolution:
        with _interruptible(self._network, check):
            features, start = self._encoded(), time.perf_counter()
            if has_velocity(self._network):
                field, weight = self._network.decode_velocity(features, self._code(prior))
            else:
                output = self._network.decode(features, self._code(prior), inverse=False)
                field, weight = output.displacement, output.weight
        check_output(RegistrationOutput(displacement=field, weight=weight))
        solution = self._solution(prior, position, self._on_preview_grid(field, weight), True)
        spent_s, before_s = time.perf_counter() - start, self._decoding_s
        self._decoding_s = spent_s if math.isinf(before_s) else max(spent_s, 0.8 * before_s)
        return solution

    def _on_preview_grid(self, field_vox: Tensor, weight: Tensor | None) -> Tensor:
        """Resample the output of the network to the preview grid, which has the same corners: field in mm, weight."""
        parts = [field_vox * field_vox.new_tensor(self._pair.grid.spacing).view(1, 3, 1, 1, 1)]
        parts += [] if weight is None or self._job.refine else [weight]  # the refinement has another weight
        channels = shortened(torch.cat(parts, dim=1), self._pair.grid.shape)
        if self._pair.known is not None:
            channels = fill(channels, self._pair.known)
            channels[:, 3:] = torch.where(self._pair.known, channels[:, 3:], 1.0)
        return F.interpolate(channels, size=self.preview_grid.grid.shape, mode="trilinear", align_corners=True)

    def _solution(self, prior: Prior, position: np.ndarray, channels: Tensor, is_final: bool) -> CoarseSolution:
        field_mm, weight = channels[:, :3], channels[:, 3:] if channels.shape[1] > 3 else None
        fields = {"velocity_mm": field_mm}
        if not has_velocity(self._network):
            fields = {"velocity_mm": None, "displacement_vox": field_mm / self.preview_grid.images.spacing}
        fields |= {"weight": weight, "interpolable": channels}
        return CoarseSolution(prior=prior, position=position, **fields, is_final=is_final)

    def _attempt(self, prior: Prior, preview_grid: PreviewGrid) -> float:
        """Interpolate and compute a preview; return the thread time in ms."""
        field_mm = torch.full_like(preview_grid.fixed, 3.0 * min(preview_grid.grid.spacing))
        field_mm = field_mm.expand(-1, 4, -1, -1, -1)
        entries = [(prior, np.array([float(at)]), field_mm) for at in range(NEIGHBORS)]
        start = time.thread_time()
        field_mm, _ = interpolate(np.array([0.5]), entries)
        velocity_mm, displacement_vox = preview_grid.flow(field_mm[:, :3])
        closed = preview_grid.closed_form(velocity_mm, prior)
        preview_grid.preview(displacement_vox, closed, float((closed - field_mm[:, 3:]).abs().mean()))
        return 1e3 * (time.thread_time() - start)


def _factors(stiffness: Volume | None, device: torch.device) -> Tensor | None:
    return None if stiffness is None else stiffness.to_tensor().to(device)


@contextmanager
def _interruptible(network: nn.Module, check: Check) -> Iterator[None]:
    """Call `check` before each module of a network runs; it raises to interrupt."""

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        check()

    hooks = [module.register_forward_pre_hook(before) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

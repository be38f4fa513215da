"""A pair that stays open while its hyperparameters change."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from SPRCore.functional import kept_memory, trim_memory
from SPRCore.geometry import Annotations, Volume
from SPRCore.io import AnnotationsLike, as_pair
from SPRCore.live.cache import ByteCache
from SPRCore.live.cached_result import CachedResult
from SPRCore.live.choosing import SettingChooser
from SPRCore.live.instance import InstanceMethod, solver_of
from SPRCore.live.method import Check, CoarseSolution, LiveMethod
from SPRCore.live.network import NetworkMethod
from SPRCore.live.options import LiveOptions
from SPRCore.live.pair import LivePair
from SPRCore.live.parts import ChosenSetting
from SPRCore.live.preview_evaluator import PreviewEvaluator
from SPRCore.live.preview_grid import Preview
from SPRCore.live.protocol import SweepPoint
from SPRCore.live.reply import Reply, Setting, ShouldStop, UncertaintyReply
from SPRCore.live.settings import Key, checked, key_of
from SPRCore.live.timing import SLICE_S, default_budget_ms, milliseconds_since, slices_of, stop_check
from SPRCore.live.uncertainty import EstimatedDeformation, UncertaintyEstimator
from SPRCore.live.velocity_cache import VelocityCache
from SPRCore.metrics import uncertainty_metrics
from SPRCore.registration import LoadedModel, RegistrationJob, prealign
from SPRCore.registration.devices import pick_device
from SPRCore.registration.job import INSTANCE, check_refine, make_job, model_path, stiffness_on
from SPRCore.registration.network import check_channels
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import as_prior, hyperparameters
from SPRCore.typing import Vectors

_VELOCITY_SHARE = 0.25  # of the cache


class LiveSession(AbstractContextManager):
    """One pair and one method; made by `open`.

    A call that is stopped (`ComputationStopped`) or fails leaves the setting unchanged. Not thread-safe.

    Attributes:
        on_progress: Receives the fraction done (0 to 1) of an exact solution, or None.
    """

    on_progress: Callable[[float], None] | None = None

    def __init__(self, pair: LivePair, job: RegistrationJob, budget_ms: float, cache_bytes: int) -> None:
        self._pair, self._job, self._budget_s = pair, job, 1e-3 * budget_ms
        self._resources = ExitStack()
        self._resources.enter_context(kept_memory())
        kind = InstanceMethod if job.model is None else NetworkMethod
        self._method: LiveMethod = kind(pair, job, budget_ms)
        self._evaluator = PreviewEvaluator(pair.annotations, self._method.preview_grid.grid)
        self._chooser = SettingChooser(pair, job)
        velocity_bytes = int(_VELOCITY_SHARE * cache_bytes)
        self._velocities = VelocityCache(velocity_bytes)
        self._results: ByteCache[CachedResult] = ByteCache(cache_bytes - velocity_bytes)
        self._latest: CoarseSolution | None = None  # of any setting, as a start
        self._background: CoarseSolution | None = None  # of the sweep
        self._swept: set[Key] = set()
        self._estimator = UncertaintyEstimator(pair, self._method.problem)
        self._drawing_s = 0.0
        self._set_current(job.prior)

    @classmethod
    def open(
        cls,
        fixed: Volume,
        moving: Volume,
        *,
        method: str | Path = INSTANCE,
        prior: Prior | None = None,
        device: str = "auto",
        annotations: AnnotationsLike | None = None,
        options: LiveOptions | None = None,
    ) -> LiveSession:
        """Open a pair.

        Args:
            fixed: Fixed image.
            moving: Moving image, on any grid.
            method: "instance", or the name or path of a model.
            prior: Prior on the weight and initial setting; None for the default of the method.
            device: "auto", "cpu", "cuda" or "mps".
            annotations: Labels and landmarks for evaluation, and masks of valid voxels; or a mapping of their names.
            options: Pre-alignment, start, refinement, painted stiffness, time and memory.

        Raises:
            InputError: As `SPRCore.register`.
        """
        options = options or LiveOptions()
        *images, annotations = as_pair(fixed, moving, annotations)
        check_refine(method == INSTANCE, options.refine)
        target, path = pick_device(device), model_path(method)
        model = None if path is None else LoadedModel.read(path, target)
        config = solver_of(options.start, method)
        given = {name: getattr(options, name) for name in ("refine", "stiffness", "similarity")}
        given |= {"prior": as_prior(prior), "config": config}
        job = make_job(model, images[0].grid, target, **given)
        if model is not None:
            check_channels(*images, model.network, model.card)  # before the alignment, which takes time
        pair = LivePair.of(*images, annotations, prealign(*images, options.init), model)
        pair = dataclasses.replace(pair, similarity=job.similarity)
        budget_ms = default_budget_ms(pair.fixed.grid) if options.budget_ms is None else options.budget_ms
        return cls(pair, job, budget_ms, int(options.cache_mb * 2**20))

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all memory of the session."""
        self._results.clear()
        self._velocities.clear()
        self._solution = self._latest = self._result = self._background = None
        self._method.keep_only(None)
        self._estimator.drop()
        self._resources.close()

    @property
    def setting(self) -> Setting:
        """The last answered setting."""
        return hyperparameters(self._prior)

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Minimum and maximum of each hyperparameter with a slider."""
        return dict(self._method.axes.ranges)

    @property
    def trained(self) -> Mapping[str, float]:
        """Largest value of each of them in the training of the model; empty without a model."""
        return dict(self._method.trained)

    @property
    def has_stages(self) -> bool:
        """Whether exact replies take much longer than previews."""
        return self._method.has_stages

    @property
    def pair(self) -> LivePair:
        """The pair with its pre-alignment."""
        return self._pair

    def update(self, *, should_stop: ShouldStop | None = None, **changes: float) -> Reply:
        """Return a preview within the time budget, or a cached exact reply, with some hyperparameters changed.

        Raises:
            InputError: An unknown hyperparameter, or a value out of range.
            ComputationStopped: `should_stop`, called between the parts of the computation, returned True.
        """
        start = time.perf_counter()
        prior = self._method.prior(checked(changes, tuple(self.setting)), self._prior)
        result = self._results.get(key_of(hyperparameters(prior))) or (self._result if prior == self._prior else None)
        if result is not None:
            self._set_current(prior, result=result)
            return dataclasses.replace(result.reply, milliseconds=milliseconds_since(start))
        solution = self._begun(prior, start + self._budget_s - self._drawing_s, stop_check(should_stop))
        reply = self._reply(solution, start, "preview")
        self._set_current(prior, solution)
        return reply

    def improve(self, *, should_stop: ShouldStop | None = None) -> Reply | None:
        """Return the next better reply for the last setting: previews, then the exact reply without metrics, then None.

        Raises:
            ComputationStopped: `should_stop` returned True; the next call resumes the computation.
        """
        if self._result is not None:
            return None
        start, check = time.perf_counter(), stop_check(should_stop, self.on_progress)
        # With the detail of an exact solution nearby, coarse steps would change little.
        is_final = self._solution is not None and self._solution.is_final
        if not self._method.has_stages or self._slices <= 0 or self._velocities.has_exact or is_final:
            return self._solved(start, check).reply
        solution = self._solution or self._begun(self._prior, start + self._budget_s, check)
        solution = self._method.improved(solution, start + SLICE_S, check)
        reply = self._reply(solution, start, "better preview")
        self._set_solution(solution)
        self._slices -= 1
        return reply

    def commit(self, *, should_stop: ShouldStop | None = None) -> Reply:
        """Return the exact reply for the last setting, with inverse, warped image and metrics.

        Raises:
            ComputationStopped: `should_stop` returned True; the next call resumes the computation.
        """
        start, check = time.perf_counter(), stop_check(should_stop, self.on_progress)
        result = self._result or self._solved(start, check)
        if result.annotations is not self._pair.annotations:
            check()
            result = result.completed(self._pair).measured(self._pair)
            trim_memory()
            self._set_result(result)
        return dataclasses.replace(result.reply, milliseconds=milliseconds_since(start))

    def sweep_step(self, *, should_stop: ShouldStop | None = None) -> SweepPoint | None:
        """Compute the next point of the sweep, None if it is complete; its velocity also improves later previews.

        Raises:
            ComputationStopped: `should_stop` returned True; the next call resumes the computation.
        """
        start, check = time.perf_counter(), stop_check(should_stop)
        unfinished, wanted = self._velocities.unfinished(), self._next_of_sweep()
        if wanted is None:
            return None
        if unfinished is not None:  # the detail of an exact solution needs its converged coarse solution
            self._converged(unfinished, check)
        preview = self._preview(self._converged(wanted, check))
        point = self._evaluator.point(hyperparameters(wanted), preview, start)
        self._swept.add(key_of(point.setting))
        return point

    def uncertainty(self, *, should_stop: ShouldStop | None = None) -> UncertaintyReply:
        """Return the uncertainty of the displacement at the last setting: of the exact reply if that is known.

        It is computed with the settings of `SPRCore.register` after `commit`, otherwise with coarser ones, and kept
        with exact replies.

        Raises:
            ComputationStopped: `should_stop` returned True; the next call resumes the computation.
        """
        start, check = time.perf_counter(), stop_check(should_stop)
        if self._result is None and self._solution is None:
            self._set_solution(self._begun(self._prior, start + self._budget_s, check))
        result = self._result
        is_committed = result is not None and result.deformation is None
        if result is None or result.uncertainty is None or (is_committed and not result.is_fine):
            source, grid = result or self._solution, self._method.preview_grid
            found = self._estimator.estimated(source, self._estimated, grid, is_committed, check)
            trim_memory()
            if result is not None:
                result = dataclasses.replace(result, uncertainty=found, is_fine=is_committed)
                self._set_result(result)
        else:
            found = result.uncertainty
        check()
        displacement = result.reply.displacement if result else self._preview(self._solution).displacement
        given = {"fixed": self._pair.fixed, "annotations": self._pair.annotations}
        return UncertaintyReply(
            uncertainty=found.deviation,
            setting=dict(self.setting),
            exact=result is not None,
            fine=result is not None and result.is_fine,
            metrics=uncertainty_metrics(found.on(self._pair.fixed.grid), displacement, **given),
            milliseconds=milliseconds_since(start),
        )

    def choose(self, *, should_stop: ShouldStop | None = None) -> ChosenSetting:
        """Choose a setting as `SPRCore.register(prior="auto")` does; the last setting is kept.

        Raises:
            InputError: The session has a model, which has its own settings.
            ComputationStopped: `should_stop` returned True; the next call resumes the computation.
        """
        return self._chooser.chosen(stop_check(should_stop, self.on_progress))

    def set_stiffness(self, stiffness: Volume | None) -> None:
        """Replace the painted stiffness (factor > 0 of the weight, on any grid; None for 1) and drop the results.

        Raises:
            InputError: A factor that is not above 0, or a network without refinement.
        """
        painted = None if stiffness is None else stiffness_on(stiffness, self._pair.fixed.grid)
        job = dataclasses.replace(self._job, stiffness=painted)
        self._method.stiffen(painted)
        self._job, self._background, self._chooser = job, None, SettingChooser(self._pair, job)
        self._set_current(self._prior)
        self._results.clear()
        self._velocities.forget_coarse()
        self._swept.clear()

    def set_annotations(self, annotations: Annotations) -> None:
        """Replace labels, on any grids, and landmarks; masks and deformations are kept.

        Raises:
            InputError: As in `open`; the previous annotations are kept.
        """
        pair = self._pair.annotated(annotations, self._job.model)
        self._evaluator = PreviewEvaluator(pair.annotations, self._method.preview_grid.grid)
        self._pair = pair
        self._swept.clear()

    def _begun(self, prior: Prior, deadline: float, check: Check) -> CoarseSolution:
        return self._method.begin(prior, self._velocities, self._latest, deadline, check)

    def _set_current(
        self, prior: Prior, solution: CoarseSolution | None = None, result: CachedResult | None = None
    ) -> None:
        """Set the last answered setting."""
        self._prior, self._solution, self._result = prior, None, result
        self._slices = slices_of(self._pair.fixed.grid)
        self._method.keep_only(prior)
        if solution is not None:
            self._set_solution(solution)

    def _set_solution(self, solution: CoarseSolution) -> None:
        """Set the best coarse solution of the current setting."""
        self._solution = self._latest = solution
        self._cache(solution)

    def _set_result(self, result: CachedResult) -> None:
        self._result = result
        self._results.put(key_of(result.reply.setting), result, result.nbytes)

    def _cache(self, solution: CoarseSolution) -> None:
        if solution.is_final and solution.interpolable is not None:
            self._velocities.add_coarse(solution.prior, solution.position, solution.interpolable)

    def _converged(self, prior: Prior, check: Check) -> CoarseSolution:
        """Return the converged coarse solution of any setting; an interrupted one is resumed."""
        if self._background is None or self._background.prior != prior:
            self._background = self._begun(prior, time.perf_counter() + self._budget_s, check)
        while not self._background.is_final:
            self._background = self._method.improved(self._background, time.perf_counter() + SLICE_S, check)
        self._cache(self._background)
        return self._background

    def _next_of_sweep(self) -> Prior | None:
        for values in self._method.axes.sweep():
            prior = self._method.prior(values, self._prior)
            if key_of(hyperparameters(prior)) not in self._swept:
                return prior
        return None

    def _reply(self, solution: CoarseSolution, start: float, stage: str) -> Reply:
        begin = time.perf_counter()
        preview = self._preview(solution)
        self._drawing_s = max(time.perf_counter() - begin, 0.8 * self._drawing_s)
        decoded = solution.weight is not None and solution.is_final  # a network gave the weight for this setting
        return Reply(
            **preview._asdict(),
            setting=dict(hyperparameters(solution.prior)),
            exact=False,
            stage=stage,
            weight_known=decoded or self._velocities.is_near_exact(solution.position),
            milliseconds=milliseconds_since(start),
            warnings=self._method.warnings(solution.prior),
        )

    def _estimated(self) -> EstimatedDeformation:
        """Return the deformation at the current setting whose uncertainty is estimated."""
        if self._result is not None:
            fields, velocity_mm = self._result.reply, self._result.velocity_mm
        else:
            fields, has_velocity = self._preview(self._solution), self._solution.velocity_mm is not None
            velocity_mm = self._flow_of(self._solution)[0] if has_velocity else None
        given = {"displacement": fields.displacement, "weight": fields.weight, "velocity_mm": velocity_mm}
        return EstimatedDeformation(prior=self._prior, **given)

    def _flow_of(self, solution: CoarseSolution) -> tuple[Vectors, Vectors]:
        """Return field in mm and displacement in voxels, with the detail of exact solutions nearby."""
        grid, displacement_vox = self._method.preview_grid, solution.displacement_vox
        if solution.velocity_mm is None:
            return displacement_vox * grid.images.spacing, displacement_vox
        detail = self._velocities.detail(solution.position)
        return grid.flow(solution.velocity_mm if detail is None else solution.velocity_mm + detail)

    def _preview(self, solution: CoarseSolution) -> Preview:
        """Return the preview of a coarse solution, with the detail of exact solutions nearby."""
        grid = self._method.preview_grid
        field_mm, displacement_vox = self._flow_of(solution)
        sharpness = self._velocities.sharpness(solution.position) if solution.weight is None else None
        closed = grid.closed_form(field_mm, solution.prior, sharpness)
        weight = closed if solution.weight is None else solution.weight
        gap = float((weight - closed).abs().mean()) if self._method.measures_gap else math.nan
        return grid.preview(displacement_vox, weight, gap)

    def _solved(self, start: float, check: Check) -> CachedResult:
        """Compute the exact result of the current setting."""
        position, grid = self._method.axes.position(self.setting), self._method.preview_grid
        if self._method.has_stages and self._solution is None:
            self._set_solution(self._begun(self._prior, start + self._budget_s, check))
        exact = self._method.exact(self._prior, position, check)
        trim_memory()
        velocity = exact.deformation.velocity
        if exact.coarse is not None:
            self._set_solution(exact.coarse)
        elif velocity is not None and self._solution.velocity_mm is not None:
            velocity_mm, solution = grid.velocity_mm(velocity), self._solution
            self._velocities.add_exact(self._prior, position, velocity_mm, solution.velocity_mm, solution.is_final)
            self._velocities.add_sharpness(self._prior, position, grid.sharpness(velocity))
            self._method.settle(self._prior, position, velocity_mm)
        result = CachedResult.of(exact, self._pair, grid, self.setting)
        warnings = self._method.warnings(self._prior)
        reply = dataclasses.replace(result.reply, milliseconds=milliseconds_since(start), warnings=warnings)
        result = dataclasses.replace(result, reply=reply, setting_warnings=warnings)
        self._set_result(result)
        return result

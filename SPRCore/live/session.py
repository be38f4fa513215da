"""A pair that stays open while its hyperparameters change."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from SPRCore.analysis.annotations import Annotations
from SPRCore.analysis.given import given_pair
from SPRCore.errors import InputError
from SPRCore.functional import kept_memory, trim_memory
from SPRCore.geometry import Volume
from SPRCore.live.cache import ByteCache
from SPRCore.live.canvas import Picture
from SPRCore.live.choosing import Chooser
from SPRCore.live.instance import InstanceMethod, solver_of
from SPRCore.live.known import Known, Pair
from SPRCore.live.method import Check, Method, Sketch
from SPRCore.live.network import NetworkMethod
from SPRCore.live.reply import ChosenSetting, Reply, Setting, ShouldStop, SweepPoint
from SPRCore.live.settings import Key, checked, key_of
from SPRCore.live.sweep import Yardstick
from SPRCore.live.timing import SLICE_S, asking, default_budget_ms, milliseconds_since, slices_of
from SPRCore.live.visited import Visited
from SPRCore.registration import LoadedModel, RegistrationJob, prealign
from SPRCore.registration.devices import pick_device
from SPRCore.registration.job import INSTANCE, check_refine, make_job, model_path, stiffness_on
from SPRCore.regularization import Prior
from SPRCore.regularization.priors import as_prior, hyperparameters

_REMEMBERED = 0.25  # of the memory, for velocities on the grid of the previews


class LiveSession(AbstractContextManager):
    """One pair and one method, answering for one setting after the other.

    A call either completes or, given up with `Superseded` or failed, leaves the session at the setting at which it was.
    Not for several threads at once. Made by `open`.

    Attributes:
        on_progress: Told the part done (0 to 1) of an exact solution of the solver; None for nobody.
    """

    on_progress: Callable[[float], None] | None = None

    def __init__(self, pair: Pair, job: RegistrationJob, budget_ms: float, cache_bytes: int) -> None:
        self._pair, self._job, self._budget_s = pair, job, 1e-3 * budget_ms
        self._resources = ExitStack()
        self._resources.enter_context(kept_memory())
        kind = InstanceMethod if job.model is None else NetworkMethod
        self._method: Method = kind(pair.fixed, pair.moving, pair.affine_ras, job, budget_ms)
        self._yardstick, self._chooser = Yardstick(pair.given, self._method.canvas.grid), Chooser(pair, job)
        self._visited = Visited(int(_REMEMBERED * cache_bytes))
        self._exact: ByteCache[Known] = ByteCache(cache_bytes - int(_REMEMBERED * cache_bytes))
        self._last, self._background = None, None  # sketches: of any setting, to begin from; of the map
        self._points: dict[Key, SweepPoint] = {}
        self._drawing_s = 0.0
        self._arrive(job.prior, None, None)

    @classmethod
    def open(
        cls,
        fixed: Volume,
        moving: Volume,
        *,
        method: str | Path = INSTANCE,
        prior: Prior | None = None,
        refine: int = 0,
        start: str = "rest",
        init: str = "none",
        fixed_labels: Volume | None = None,
        moving_labels: Volume | None = None,
        fixed_points: np.ndarray | None = None,
        moving_points: np.ndarray | None = None,
        fixed_mask: Volume | None = None,
        moving_mask: Volume | None = None,
        stiffness: Volume | None = None,
        device: str = "auto",
        budget_ms: float | None = None,
        cache_mb: float = 1024.0,
    ) -> LiveSession:
        """Open a pair.

        Args:
            fixed: Fixed image.
            moving: Moving image, on any grid.
            method: "instance", or the name of a model or the path of its bundle.
            prior: Prior on the weight and where to start; None for the default of the method.
            refine: Most steps of the instance solver that go on from what a model gave, for exact replies; 0 for none.
            start: What the instance solver starts from: "rest", or "search", a discrete search that is run once.
            init: Alignment beforehand: "none", "center", "rigid", "affine" or "auto".
            fixed_labels: Label map of the fixed image; labels and landmarks measure and never register.
            moving_labels: Label map of the moving image.
            fixed_points: Landmarks of the fixed image in RAS mm, shape (N, 3).
            moving_points: Their partners in the moving image.
            fixed_mask: Voxels of the fixed image that count (not 0); NaN and padding are left out by themselves.
            moving_mask: Likewise of the moving image.
            stiffness: Factor > 0 of the weight of each voxel, painted on any grid; outside it is 1.
            device: "auto", "cpu", "cuda" or "mps".
            budget_ms: Time that a preview may take; None for 80 ms, 200 ms above a million voxels. The grid of the
                previews is chosen for it by measuring.
            cache_mb: Most memory for what settings were visited, in MiB; the last exact reply is held beside it.

        Returns:
            The session.

        Raises:
            InputError: As `SPRCore.register`; a budget or a memory that is not above 0.
        """
        marks = {"fixed_labels": fixed_labels, "moving_labels": moving_labels, "fixed_points": fixed_points}
        marks |= {"moving_points": moving_points, "fixed_mask": fixed_mask, "moving_mask": moving_mask}
        *images, given = given_pair(fixed, moving, **marks)
        budget_ms = default_budget_ms(images[0].grid) if budget_ms is None else budget_ms
        for name, value in (("budget_ms", budget_ms), ("cache_mb", cache_mb)):
            if not 0 < value < math.inf:
                raise InputError(name, got=f"{value:g}", expected="a number above 0")
        check_refine(method == INSTANCE, refine)
        target, path = pick_device(device), model_path(method)
        model = None if path is None else LoadedModel.read(path, target)
        asked = {"prior": as_prior(prior), "refine": refine, "config": solver_of(start, method), "stiffness": stiffness}
        job = make_job(model, images[0].grid, target, **asked)
        pair = Pair.of(*images, given, prealign(*images, init), model)
        return cls(pair, job, budget_ms, int(cache_mb * 2**20))

    def __exit__(self, *raised: object) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """Free what the session holds."""
        self._exact.clear()
        self._visited.clear()
        self._sketch = self._last = self._known = self._background = None
        self._method.keep_only(None)
        self._resources.close()

    @property
    def setting(self) -> Setting:
        """The last setting that was answered for."""
        return hyperparameters(self._prior)

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest value of each hyperparameter that may be changed, for sliders and the sweep."""
        return dict(self._method.axes.ranges)

    @property
    def pair(self) -> Pair:
        """What is registered, with what was done beforehand."""
        return self._pair

    @property
    def preview_shape(self) -> tuple[int, int, int]:
        """Number of voxels of a preview along each axis."""
        return self._method.canvas.grid.shape

    @property
    def cached_bytes(self) -> int:
        """Bytes held for visited settings."""
        return self._exact.nbytes + self._visited.nbytes

    def update(self, *, should_stop: ShouldStop | None = None, **changes: float) -> Reply:
        """Answer for a setting within the budget.

        Args:
            should_stop: Asked between the parts of the computation; true gives it up.
            changes: Hyperparameters to change, by their names.

        Returns:
            A preview, or the exact reply where it is known.

        Raises:
            InputError: A hyperparameter that there is not, or a value out of range.
            Superseded: `should_stop` said so.
        """
        start = time.perf_counter()
        prior = self._method.prior(checked(changes, tuple(self.setting)), self._prior)
        known = self._exact.get(key_of(hyperparameters(prior))) or (self._known if prior == self._prior else None)
        if known is not None:
            self._arrive(prior, None, known)
            return dataclasses.replace(known.reply, milliseconds=milliseconds_since(start))
        deadline = start + self._budget_s - self._drawing_s
        sketch = self._begun(prior, deadline, asking(should_stop))
        reply = self._drawn(sketch, start, "preview")
        self._arrive(prior, sketch, None)
        return reply

    def improve(self, *, should_stop: ShouldStop | None = None) -> Reply | None:
        """Give the next better reply for the last setting.

        Args:
            should_stop: Asked between the parts of the computation; true gives it up.

        Returns:
            A better preview or, at last, the exact reply without metrics; None once that has been given.

        Raises:
            Superseded: `should_stop` said so. What was done so far is not lost.
        """
        if self._known is not None:
            return None
        start, check = time.perf_counter(), asking(should_stop, self.on_progress)
        # With the detail of an exact solution at hand, coarse steps would show little more than the preview did.
        is_done = self._sketch is not None and self._sketch.is_final
        if not self._method.has_stages or self._slices <= 0 or self._visited.has_exact or is_done:
            return self._solved(start, check).reply
        sketch = self._sketch or self._begun(self._prior, start + self._budget_s, check)
        sketch = self._method.improved(sketch, start + SLICE_S, check)
        reply = self._drawn(sketch, start, "better preview")
        self._take(sketch)
        self._slices -= 1
        return reply

    def commit(self, *, should_stop: ShouldStop | None = None) -> Reply:
        """Give the exact reply for the last setting, with the inverse, the warped image and all metrics.

        Args:
            should_stop: Asked between the parts of the computation; true gives it up.

        Returns:
            The exact reply.

        Raises:
            Superseded: `should_stop` said so. What was done so far is not lost.
        """
        start, check = time.perf_counter(), asking(should_stop, self.on_progress)
        known = self._known or self._solved(start, check)
        if known.given is not self._pair.given:
            check()
            known = known.completed(self._pair).measured(self._pair)
            trim_memory()
            self._keep(known)
        return dataclasses.replace(known.reply, milliseconds=milliseconds_since(start))

    def sweep_step(self, *, should_stop: ShouldStop | None = None) -> SweepPoint | None:
        """Compute one more point of the settings map; the velocities make later previews better, too.

        Args:
            should_stop: Asked between the parts of the computation; true gives it up.

        Returns:
            The point; None once the map is full.

        Raises:
            Superseded: `should_stop` said so. What was done so far is not lost.
        """
        start, check = time.perf_counter(), asking(should_stop)
        prior, wanted = self._visited.unfinished(), self._next_point()
        if wanted is None:
            return None
        if prior is not None:  # what the others are compared with
            self._finished(prior, check)
        picture = self._picture(self._finished(wanted, check))
        point = self._yardstick.point(hyperparameters(wanted), picture, start)
        self._points[key_of(point.setting)] = point
        return point

    def settings_map(self) -> tuple[SweepPoint, ...]:
        """Return the points of the settings map so far, in the order in which they were computed."""
        return tuple(self._points.values())

    def choose(self, *, should_stop: ShouldStop | None = None) -> ChosenSetting:
        """Choose a setting for the pair as `SPRCore.register(prior="auto")` does; the last setting stays in force.

        Args:
            should_stop: Asked between the parts of the computation; true gives it up.

        Returns:
            The choice.

        Raises:
            InputError: There is a model, which has settings of its own.
            Superseded: `should_stop` said so. What was done so far is not lost.
        """
        return self._chooser.chosen(asking(should_stop, self.on_progress))

    def set_stiffness(self, stiffness: Volume | None) -> None:
        """Paint the stiffness anew; what is known of visited settings begins anew, too.

        Args:
            stiffness: Factor > 0 of the weight of each voxel, on any grid; None for 1 everywhere.

        Raises:
            InputError: A factor that is not above 0, or a network that is not refined.
        """
        painted = None if stiffness is None else stiffness_on(stiffness, self._pair.fixed.grid)
        job = dataclasses.replace(self._job, stiffness=painted)
        self._method.stiffen(painted)
        self._job, self._background, self._chooser = job, None, Chooser(self._pair, job)
        self._arrive(self._prior, None, None)
        self._exact.clear()
        self._visited.forget_coarse()
        self._points.clear()

    def set_annotations(self, given: Annotations) -> None:
        """Measure with other labels and landmarks from now on; the deformations stay as they are.

        Args:
            given: Labels of the images, on any grids, and landmarks; each may be absent. Masks stay as they are.

        Raises:
            InputError: As for those of `open`; the session measures with what it had.
        """
        pair = self._pair.marked(given, self._job.model)
        self._yardstick = Yardstick(pair.given, self._method.canvas.grid)
        self._pair = pair
        self._points.clear()

    def _begun(self, prior: Prior, deadline: float, check: Check) -> Sketch:
        place = self._method.axes.place(hyperparameters(prior))
        return self._method.begin(prior, place, self._visited, self._last, deadline, check)

    def _arrive(self, prior: Prior, sketch: Sketch | None, known: Known | None) -> None:
        """Take a setting as the last one answered for."""
        self._prior, self._sketch, self._known = prior, None, known
        self._slices = slices_of(self._pair.fixed.grid)
        self._method.keep_only(prior)
        if sketch is not None:
            self._take(sketch)

    def _take(self, sketch: Sketch) -> None:
        """Take a sketch as the best one of the setting."""
        self._sketch = self._last = sketch
        self._remember(sketch)

    def _finished(self, prior: Prior, check: Check) -> Sketch:
        """Return the final sketch for any setting; given up, it is gone on with the next time."""
        if self._background is None or self._background.prior != prior:
            self._background = self._begun(prior, time.perf_counter() + self._budget_s, check)
        while not self._background.is_final:
            self._background = self._method.improved(self._background, time.perf_counter() + SLICE_S, check)
        self._remember(self._background)
        return self._background

    def _remember(self, sketch: Sketch) -> None:
        if sketch.is_final and sketch.kept is not None:
            self._visited.add_coarse(sketch.prior, sketch.place, sketch.kept)

    def _next_point(self) -> Prior | None:
        for values in self._method.axes.sweep():
            prior = self._method.prior(values, self._prior)
            if key_of(hyperparameters(prior)) not in self._points:
                return prior
        return None

    def _drawn(self, sketch: Sketch, start: float, stage: str) -> Reply:
        begin = time.perf_counter()
        picture = self._picture(sketch)
        self._drawing_s = max(time.perf_counter() - begin, 0.8 * self._drawing_s)
        setting = hyperparameters(sketch.prior)
        fields = {**picture._asdict(), "setting": setting, "exact": False, "stage": stage}
        return Reply(**fields, weight_known=self._is_weight_known(sketch), milliseconds=milliseconds_since(start))

    def _is_weight_known(self, sketch: Sketch) -> bool:
        """Whether the weight of a sketch is that of its setting: given by a network, or vouched for by an exact one."""
        return (sketch.weight is not None and sketch.is_final) or self._visited.is_near_exact(sketch.place)

    def _picture(self, sketch: Sketch) -> Picture:
        """Show a sketch, with the detail that exact solutions of visited settings have."""
        canvas, displacement_vox = self._method.canvas, sketch.displacement_vox
        if sketch.velocity_mm is None:
            field_mm = displacement_vox * canvas.images.spacing
        else:
            detail = self._visited.detail(sketch.place)
            field_mm, displacement_vox = canvas.flow(
                sketch.velocity_mm if detail is None else sketch.velocity_mm + detail
            )
        sharpness = self._visited.sharpness(sketch.place) if sketch.weight is None else None
        closed = canvas.closed_form(field_mm, sketch.prior, sharpness)
        weight = closed if sketch.weight is None else sketch.weight
        return canvas.picture(displacement_vox, weight, float((weight - closed).abs().mean()))

    def _solved(self, start: float, check: Check) -> Known:
        """Compute the exact solution of the setting."""
        place, canvas = self._method.axes.place(self.setting), self._method.canvas
        if self._method.has_stages and self._sketch is None:
            self._take(self._begun(self._prior, start + self._budget_s, check))
        exact = self._method.exact(self._prior, place, check)
        trim_memory()
        if exact.sketch is not None:
            self._take(exact.sketch)
        elif exact.found.velocity is not None and self._sketch.velocity_mm is not None:
            velocity_mm, sketch = canvas.velocity_mm(exact.found.velocity), self._sketch
            self._visited.add_exact(self._prior, place, velocity_mm, sketch.velocity_mm, sketch.is_final)
            self._visited.add_sharpness(self._prior, place, canvas.sharpness(exact.found.velocity))
            self._method.settle(self._prior, place, velocity_mm)
        known = Known.of(exact, self._pair, canvas, self.setting)
        reply = dataclasses.replace(known.reply, milliseconds=milliseconds_since(start))
        self._keep(dataclasses.replace(known, reply=reply))
        return self._known

    def _keep(self, known: Known) -> None:
        self._known = known
        self._exact.put(key_of(known.reply.setting), known, known.nbytes)

"""One registration behind a page: its parameters, its worker, and what the page may ask for. No web in here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from SPRRegistrationLib import messages, models, suggestion
from SPRRegistrationLib.parameters import (
    HYPERPARAMETERS,
    INSTANCE,
    Prior,
    SPRRegistrationParameters,
    apply_setting,
    setting_of,
)
from SPRRegistrationLib.scene import charts, display, geometry, inputs, legends, outputs, samples, snapshots
from SPRRegistrationLib.session import RegistrationSession, Stage, kind_of
from SPRRegistrationLib.sliders import FIELDS, recommended_of, take_model

from SPRCore.live.events import Deadlines
from SPRExplorer import changes, nodes, painting
from SPRExplorer.fields import PAIR
from SPRExplorer.pace import AtRest, Pace
from SPRExplorer.transport import AsyncTransport

logger = logging.getLogger("SPRRegistration")

SAMPLE_SETTING = {"alpha": 0.01, "lambda_max": 1.0}
"""Lets the lungs of the sample pair slide along the ribs, as they do, and shows where."""

BUDGET_MS = 30.0
"""Of a preview. Less than the worker takes by itself: server and browser draw on the same processor."""


class Panel:
    """Brings the parameter node, the worker and whoever shows them together.

    Args:
        scene: The scene, which is `slicer.mrmlScene`.
        command: What starts a worker.
        on_change: Called after anything has changed that the page shows.
        on_pictures: Called after the images of a result have changed.
        deadlines: When a worker counts as hung.

    Attributes:
        parameters: The registration.
        session: Its worker, or None as long as none was needed.
        models: The task models there are.
        cursor: What is under the mouse, in words.
        pace: How the views keep up with the results.
        is_held: Whether no worker is started by itself yet, since there is something better to do.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        command: Sequence[str],
        on_change: Callable[[], object],
        on_pictures: Callable[[], object],
        deadlines: Deadlines | None = None,
    ) -> None:
        self._command, self._on_change, self._on_pictures = list(command), on_change, on_pictures
        self._deadlines = deadlines
        self.pace: Pace = AtRest()
        self.is_held = False
        node = scene.AddNode(slicer.vtkMRMLScriptedModuleNode())
        node.SetName("SPRRegistration")
        self.scene, self.parameters = scene, SPRRegistrationParameters(node)
        self.models = models.find_models()
        self.session: RegistrationSession | None = None
        self.transport = AsyncTransport()
        self.cursor = ""
        self._opened: tuple = ()
        self._sample: frozenset = frozenset()
        self._asked: dict[str, float] | None = None
        self._seen: Any = None
        self._cursor_node: display.LinkedCursor | None = None

    @property
    def model(self) -> models.TaskModel:
        """The method that is chosen."""
        name = self.parameters.method
        missing = models.TaskModel(name, None, {}, "This task model is not installed here.")
        return next((model for model in self.models if model.name == name), missing)

    @property
    def is_busy(self) -> bool:
        """Whether something runs that Cancel would end."""
        return self.session is not None and self.session.is_busy

    @property
    def is_committing(self) -> bool:
        """Whether an exact result is being computed, so that Apply has nothing to ask for."""
        return self.is_busy and self.session.stage is Stage.COMMITTING

    def load_sample(self) -> None:
        """Make the sample pair and choose it."""
        was_modifying, self._sample = self.parameters.StartModify(), frozenset()
        apply_setting(self.parameters, SAMPLE_SETTING)
        self.choose(samples.load())
        self._sample = self._images()
        self.parameters.EndModify(was_modifying)
        self.record()

    def add(self, field: str, title: str, content: Sequence[np.ndarray]) -> None:
        """Put an image, segments or landmarks into the scene, as `nodes.add` does, and choose them."""
        self.choose({field: nodes.add(self.scene, field, title, content)})

    def add_model(self, path: Path) -> None:
        """Take a task model into the user's folder, and choose it.

        Args:
            path: Its file; nothing in it is executed.

        Raises:
            InputError: It is no model; nothing was copied.
        """
        model = models.import_model(path)
        self.models = models.find_models()
        self._opened = ()  # of the same name, it is another one nevertheless
        self.change("method", model.name)
        self._after_change()

    def choose(self, chosen: Mapping[str, slicer.vtkMRMLNode | None]) -> None:
        """Choose images; segments and landmarks of an image that is replaced are let go.

        Args:
            chosen: Nodes by the names of the fields of the parameters.
        """
        was_modifying = self.parameters.StartModify()
        chosen = self._without_half_a_sample(chosen)
        is_other_pair = bool(chosen.keys() & {"fixedVolume", "movingVolume"})
        try:
            for side in ("fixed", "moving"):
                if f"{side}Volume" in chosen:
                    setattr(self.parameters, f"{side}Labels", None)
                    setattr(self.parameters, f"{side}Landmarks", None)
            if chosen.keys() & {"fixedVolume", "fixedLabels"}:
                was_painted = painting.forget(self.parameters)
                if was_painted and not is_other_pair and self.session is not None:
                    self.session.paint(None)
            for field, node in chosen.items():
                setattr(self.parameters, field, node)
            if is_other_pair:
                self._begin_pair()
        finally:
            self.parameters.EndModify(was_modifying)
        if is_other_pair:
            self._show_inputs()
        self._after_change()

    def _without_half_a_sample(self, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let go of the other image of the sample pair: nobody wants a heart on a chest, not even for a moment."""
        if self._images() != self._sample or len(chosen.keys() & {"fixedVolume", "movingVolume"}) != 1:
            return chosen
        return {"fixedVolume": None, "movingVolume": None} | dict(chosen)

    def _images(self) -> frozenset:
        return frozenset(inputs.chosen(self.parameters, ("fixedVolume", "movingVolume")))

    def _begin_pair(self) -> None:
        """Let go of what belongs to other images: results, the setting of the sample pair, and the task model."""
        self.parameters.quality = self.parameters.report = ""
        if self._sample and self._images() != self._sample:
            self._sample = frozenset()
            recommended = recommended_of(self.model, self.parameters.anatomy)
            apply_setting(
                self.parameters, {name: recommended[field] for name, field in HYPERPARAMETERS[Prior.BETA].items()}
            )
        self._propose()

    def _propose(self) -> None:
        """Choose the task model that is made for images like these; a choice of the user stays."""
        if self.parameters.method == INSTANCE and self.parameters.fixedVolume and self.parameters.movingVolume:
            model = models.best_match(self.models, inputs.words_about(self.parameters))
            if model.name != INSTANCE:
                take_model(self.parameters, model)

    def paint(self, label: int, factor: float) -> None:
        """Make a label of the fixed image stiffer or freer; arguments and errors as for `painting.paint`."""
        painting.paint(self.parameters, label, factor)
        if self.session is not None and self.session.stage is not Stage.FAILED:  # a pair that is opened anew brings it
            self.session.paint(*(inputs.painted_stiffness(self.parameters) or (None,)))
            if self._can_preview and self.session.ranges:
                self._preview(setting_of(self.parameters))
        self._after_change(looks=False)

    def swap(self) -> None:
        """Exchange fixed and moving."""
        sides = {"fixed": "moving", "moving": "fixed"}
        pairs = {
            field: field.replace(*side, 1) for field in PAIR for side in sides.items() if field.startswith(side[0])
        }
        self.choose({field: getattr(self.parameters, other) for field, other in pairs.items()})

    def change(self, field: str, value: Any) -> None:
        """Take a value from the page; arguments and errors as for `changes.take`."""
        if not changes.take(self, field, value):
            return
        self._after_change(field not in FIELDS)

    def recommend(self, field: str) -> None:
        """Set a hyperparameter (by its field) to the recommended value."""
        if field in FIELDS:
            self.change(field, recommended_of(self.model, self.parameters.anatomy)[field])

    def go_to(self, setting: Mapping[str, float]) -> None:
        """Set the sliders to a setting."""
        apply_setting(self.parameters, dict(setting))
        self._after_change()
        self.record()

    def record(self) -> None:
        """Note the setting in force, for undo: when a gesture has ended."""
        snapshots.record(self.parameters)
        self._on_change()

    def step(self, by: int) -> None:
        """Undo (-1) or redo (1)."""
        if snapshots.step(self.parameters, by) is not None:
            self._after_change()

    def keep(self, name: str) -> None:
        """Keep what is shown as a snapshot."""
        if name in snapshots.NAMES and outputs.is_alive(self.parameters):
            shown = None if self.session is None else self.session.shown
            snapshots.keep(self.parameters, name, {} if shown is None else vars(shown.quality))
            self._on_change()

    def recall(self, name: str) -> None:
        """Return to a snapshot."""
        if snapshots.recall(self.parameters, name) is not None:
            self._after_change()
            self._on_pictures()

    def show_difference(self) -> None:
        """Show how far apart snapshots A and B move the tissue, until the views change again."""
        volume = snapshots.difference_mm(self.parameters, "A", "B")
        if volume is not None:
            slicer.util.setSliceViewerLayers(foreground=volume, foregroundOpacity=0.6)
            self._on_pictures()

    def apply(self) -> None:
        """Compute the exact result; nothing else happens while that is being done."""
        if not self.is_committing and not messages.why_not_apply(self.parameters):
            if self._ensure_session().stage is not Stage.FAILED:
                self.session.commit(setting_of(self.parameters))
        self._on_change()

    def suggest(self) -> None:
        """Have a setting chosen for the pair, in the background."""
        if suggestion.shown(self.parameters, self.session).can_ask and self._ensure_session().stage is not Stage.FAILED:
            self.session.choose()
        self._on_change()

    def cancel(self) -> None:
        """Give up what is being computed; nothing happens where nothing is."""
        if self.is_busy:
            self.session.cancel()
        self._on_change()

    def release(self) -> None:
        """Let the worker start by itself from now on."""
        if self.is_held:
            self.is_held = False
            self._after_change()

    def catch_up(self) -> None:
        """Ask for a preview of the setting in force, unless there is one or the last one has not been seen yet.

        While a slider moves it stays at the preview: what would make it better would take the time of the next one.
        """
        setting = setting_of(self.parameters)
        if self._can_preview and setting not in (self._asked, self.session.setting) and not self.pace.is_behind:
            self._preview(setting, improve=not self.pace.is_moving)

    def settle(self) -> None:
        """Let the preview become exact, because the slider rests."""
        shown = None if self.session is None else self.session.shown
        if shown is not None and shown.exact:
            display.set_detail(self.parameters, fine=True)
        elif shown is not None and self._can_preview and self.session.stage is Stage.READY:
            self._preview(setting_of(self.parameters))

    def _preview(self, setting: dict[str, float], improve: bool = True) -> None:
        self._asked = setting  # what the worker makes of it may differ, where its ranges are narrower
        self.session.preview(setting, improve=improve)

    @property
    def _can_preview(self) -> bool:
        stages = (Stage.NO_PAIR, Stage.FAILED, Stage.PREVIEWING)
        return self.session is not None and self.parameters.live and self.session.stage not in stages

    def restart(self) -> None:
        """Start anew after a failure."""
        if self.session is not None and not messages.why_not_apply(self.parameters):
            self.session.close()
            self._opened = ()
            self.apply()

    def measure_segments(self) -> None:
        """List measures of each segment of the fixed image."""
        charts.update_segment_table(self.parameters)
        self._on_change()

    async def close(self) -> None:
        """End the worker."""
        if self._cursor_node is not None:
            self._cursor_node.remove()
        if self.session is not None:
            self.session.close()
        await self.transport.stop()

    def _after_change(self, looks: bool = True) -> None:
        """Bring the worker to the parameters, and the views, unless it is known that they stay (`looks`)."""
        pair = inputs.chosen(self.parameters, inputs.OPENING)
        why_not = messages.why_not_apply(self.parameters)
        if why_not and self.session is not None:
            self.session.close()
        elif not why_not and self.parameters.live and not self.is_held:
            self._ensure_session().remeasure()
            self.catch_up()
        elif self.session is not None and pair != self._opened:
            self.session.close()
        elif self.session is not None:
            self.session.remeasure()
        if self.session is not None and self.session.ranges and self.session.sweeping != self.parameters.sweep:
            self.session.sweep(self.parameters.sweep)
        if looks:
            self.show()
        self._on_change()

    def _ensure_session(self) -> RegistrationSession:
        """Return the worker that has opened, or is opening, the pair as the parameters name it now."""
        if self.session is None:
            self.session = RegistrationSession(
                self.parameters,
                self.transport,
                self._command,
                self._session_changed,
                self._deadlines,
                BUDGET_MS,
            )
            self.transport.on_output, self.transport.on_log = self.session.feed, self.session.feed_log
            self.transport.on_ended, self.transport.on_tick = self.session.ended, self.session.tick
        pair = inputs.chosen(self.parameters, inputs.OPENING)
        if pair != self._opened or self.session.stage in (Stage.NO_PAIR, Stage.FAILED):
            self._opened, self._asked = pair, None
            self.session.open()
        return self.session

    def _session_changed(self, session: RegistrationSession) -> None:
        shown = session.shown
        if shown is not self._seen:
            is_other_kind = None in (self._seen, shown) or kind_of(self._seen) != kind_of(shown)
            self._seen = shown
            if is_other_kind:
                self.show()
            self._on_pictures()
        if session.stage is Stage.READY and shown is None and session.ranges and self.parameters.live:
            self._preview(setting_of(self.parameters))  # what the sliders say is to be seen without moving them
        if session.ranges and self.parameters.sweep and not session.sweeping and not session.points and shown:
            session.sweep(True)
        self.catch_up()
        self._on_change()

    def _show_inputs(self) -> None:
        """Show the images as they are, until there is a deformation."""
        fixed, moving = self.parameters.fixedVolume, self.parameters.movingVolume
        self._seen = None
        if fixed is not None or moving is not None:
            both = fixed is not None and moving is not None
            slicer.util.setSliceViewerLayers(
                background=fixed or moving, foreground=moving if both else None, foregroundOpacity=0.5 if both else 0.0
            )
        if fixed is not None:
            self.parameters.gridSpacingMm = float(display.fitting_grid_mm(fixed))
            if self._cursor_node is not None:
                self._cursor_node.remove()
            self._cursor_node = display.LinkedCursor(self.parameters, self._moved)

    def show(self) -> None:
        """Bring the views to what the parameters say, once there is a deformation."""
        has_result = self.parameters.displacementTransform is not None and self._seen is not None
        if has_result and outputs.is_alive(self.parameters):
            display.show(self.parameters)
            legends.show(self.parameters, None)  # the page has its own, with sharper letters
            self._on_pictures()

    def _moved(self, place: tuple[float, float, float] | None) -> None:
        self.cursor = ""
        if place is not None and self.parameters.displacementTransform is not None:
            (there,) = geometry.moved_points(self.parameters.displacementTransform, [place])
            length = float(np.linalg.norm(there - np.array(place)))
            self.cursor = messages.cursor(geometry.value_at(self.parameters.weightVolume, place), length)

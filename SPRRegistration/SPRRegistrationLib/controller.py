"""The decisions of the panel for one registration, without Qt and without the web.

The sections of the panel in 3D Slicer and the page of the Explorer show its state (`panel_state`) and call its methods.
A face that changes the parameters by itself calls `changed` afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer

from SPRRegistrationLib import anatomies, messages, models, suggestion
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.parameters import (
    HYPERPARAMETERS,
    INSTANCE,
    Alignment,
    AnatomyChoice,
    PriorChoice,
    apply_setting,
    setting_of,
)
from SPRRegistrationLib.scene import (
    charts,
    display,
    geometry,
    inputs,
    outputs,
    painting,
    samples,
    snapshots,
    uncertainty,
    warping,
)
from SPRRegistrationLib.session import SessionStage
from SPRRegistrationLib.sliders import FIELDS, recommended_of, take_model
from SPRRegistrationLib.worker_control import WorkerControl

SAMPLE_SETTING = {"alpha": 0.01, "lambda_max": 1.0}
"""Lets the lungs of the sample pair slide along the ribs, and shows where."""

IMAGES = ("fixedVolume", "movingVolume")


class Controller(WorkerControl):
    """What the user can do with one registration; arguments and attributes as for `WorkerControl`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._images = inputs.chosen(self.parameters, IMAGES)
        self._outputs = inputs.chosen(self.parameters, outputs.CHOSEN)
        self._sample: frozenset = frozenset()
        self._is_updating = False

    def changed(self, in_gesture: bool = False) -> None:
        """Act on changed parameters.

        Args:
            in_gesture: Whether further changes of the same gesture follow, so that undo does not return to this one.
        """
        if self._is_updating:  # by a change that is made below
            return
        self._is_updating, self.problem = True, ""
        try:
            self._update_images()
            self._update_outputs()
            if not in_gesture:
                snapshots.record(self.parameters)
            self._update_session()
        finally:
            self._is_updating = False
        self.announce()

    def end_gesture(self) -> None:
        """Return to the parameters after a slider was dragged, and let undo return here."""
        self._target = setting_of(self.parameters)
        self.changed()

    def open_by_itself(self) -> None:
        """Open pairs as soon as they are chosen, from now on."""
        if not self.opens_by_itself:
            self.opens_by_itself = True
            self.changed()

    def load_sample(self) -> dict[str, slicer.vtkMRMLNode]:
        """Add the sample pair to the scene and choose it; return its nodes by the fields of the parameters."""
        nodes, self._sample = samples.load(), frozenset()
        was_modifying = self.parameters.StartModify()
        try:
            apply_setting(self.parameters, SAMPLE_SETTING)
            self.choose(nodes)
            self._sample = frozenset(self._images)
        finally:
            self.parameters.EndModify(was_modifying)
        return nodes

    def choose(self, chosen: Mapping[str, slicer.vtkMRMLNode | None]) -> None:
        """Choose images and what comes with them; what came with an image that is replaced is removed from the pair.

        The initial transform is removed with any image that is replaced.

        Args:
            chosen: Nodes by the fields of the parameters.
        """
        was_modifying = self.parameters.StartModify()
        try:
            replaced = chosen.keys() & set(IMAGES)
            if len(replaced) == 1 and frozenset(inputs.chosen(self.parameters, IMAGES)) == self._sample:
                chosen = dict.fromkeys(IMAGES) | dict(chosen)  # no heart is registered to the chest of the sample
            for side in ("fixed", "moving"):
                if f"{side}Volume" in chosen:
                    for part in ("Channel", "Labels", "Landmarks", "Mask"):
                        setattr(self.parameters, f"{side}{part}", None)
                    self.parameters.initialTransform = None
            if chosen.keys() & {"fixedVolume", "fixedLabels"}:
                painting.forget(self.parameters)
            for field, node in chosen.items():
                setattr(self.parameters, field, node)
        finally:
            self.parameters.EndModify(was_modifying)
        self.changed()

    def choose_only_pair(self) -> None:
        """Choose the images if the scene has exactly two and none is chosen."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        images = [volume for volume in volumes if not volume.IsA("vtkMRMLLabelMapVolumeNode")]
        if len(images) == 2 and inputs.chosen(self.parameters, IMAGES) == (None, None):
            self.choose(dict(zip(IMAGES, images, strict=True)))

    def swap(self) -> None:
        """Exchange the fixed and the moving image, with their annotations; the initial transform is removed."""
        other = {"fixed": "moving", "moving": "fixed"}
        fields = [(f"{side}{part}", f"{other[side]}{part}") for side in other for part in inputs.PARTS]
        had_initial = self.parameters.initialTransform is not None
        self.choose({field: getattr(self.parameters, counterpart) for field, counterpart in fields})
        if had_initial:
            self.problem = _("The initial transform was removed: it is from the other image.")
            self.announce()

    def warp(self) -> slicer.vtkMRMLTransformableNode | None:
        """Return a copy of `nodeToWarp`, deformed as the moving image is; None without a deformation or such a node.

        With a map of the uncertainty, models are colored by it, and it is in the description of other copies.

        Raises:
            InputError: It cannot be deformed.
        """
        parameters = self.parameters
        node, transform = parameters.nodeToWarp, parameters.displacementTransform
        if node is None or transform is None or not outputs.is_alive(parameters):
            return None
        if geometry.displacement_of(transform) is None:
            return None
        copy = warping.warp(node, transform, geometry.grid_of(parameters.fixedVolume))
        uncertainty.attach(parameters, copy)
        return copy

    def align(self, alignment: Alignment) -> None:
        """Choose the affine pre-alignment."""
        self.parameters.alignment = alignment
        self.changed()

    def import_model(self, path: str | Path) -> None:
        """Copy a task model into the user's folder and choose it; errors as `models.import_model`."""
        model = models.import_model(path)
        self.models = models.find_models()
        self._opened = ()  # a model of the same name may be another one
        self.take_model(model)

    def take_model(self, model: models.TaskModel) -> None:
        """Choose a method; prior and sliders take what it recommends."""
        take_model(self.parameters, model)
        self.changed()

    def choose_anatomy(self, anatomy: AnatomyChoice) -> None:
        """Choose an anatomy preset."""
        anatomies.choose(self.parameters, anatomy)
        self.changed()

    def recommend(self, field: str) -> None:
        """Set a slider, by its field, to the recommended value."""
        if field in FIELDS:
            setattr(self.parameters, field, recommended_of(self.model, self.parameters.anatomy)[field])
            self.changed()

    def go_to(self, setting: Mapping[str, float]) -> None:
        """Set prior and sliders to a setting; an empty one changes nothing."""
        if setting:
            apply_setting(self.parameters, dict(setting))
            self.changed()

    def take_suggestion(self) -> None:
        """Set prior and sliders to the suggestion, if there is one."""
        self.go_to(suggestion.marked(self.parameters))

    def suggest(self) -> None:
        """Have a setting chosen for the pair, in the background."""
        if suggestion.state_of(self.parameters, self.session).can_ask and self.ready_session() is not None:
            self.session.choose()
        self.announce()

    def paint(self, label: int, factor: float) -> None:
        """Set the stiffness factor of a label of the fixed image; errors as `painting.paint`."""
        was_modifying = self.parameters.StartModify()
        try:
            painting.paint(self.parameters, label, factor)
        finally:
            self.parameters.EndModify(was_modifying)
        self.changed()

    def type_factor(self, segment: str, text: str) -> None:
        """Set the stiffness factor of a segment, by its identifier, as typed; an impossible one is a `problem`."""
        try:
            factor = float(text.replace(",", "."))
        except ValueError:
            factor = 0.0
        if 0.001 <= factor <= 1000:
            factors = painting.factors_of(self.parameters) | {segment: factor}
            self.parameters.stiffnessFactors = json.dumps(factors)
            self.changed()
        else:
            self.problem = _("A stiffness factor is a number from 0.001 to 1000, not “{text}”.").format(text=text)
            self.announce()

    def apply(self) -> None:
        """Compute the exact result, unless it is being computed."""
        if not self.is_committing and self.ready_session() is not None:
            self._target = self._requested = setting_of(self.parameters)
            self.session.commit(self._target)
        self.announce()

    def cancel(self) -> None:
        """Cancel the computation, if there is one."""
        if self.is_busy:
            self.session.cancel()
        self.announce()

    def restart(self) -> None:
        """Start a new worker after a failure, and compute the exact result."""
        if self.session is not None and not self.why_not:
            self.end_session()
            self.apply()

    def undo(self) -> None:
        """Return to the setting before."""
        self._step(-1)

    def redo(self) -> None:
        """Return to the setting that was undone."""
        self._step(1)

    def keep(self, name: str) -> None:
        """Keep what is shown as a snapshot A, B or C."""
        if name in snapshots.NAMES and outputs.is_alive(self.parameters):
            snapshots.keep(self.parameters, name, self._quality())
            self.announce()

    def recall(self, name: str) -> None:
        """Return to a snapshot."""
        if snapshots.recall(self.parameters, name) is not None:
            self.changed()
            self.on_result()

    def show_difference(self) -> None:
        """Show the distance between the displacements of snapshots A and B, until the views change."""
        volume = snapshots.difference_mm(self.parameters, "A", "B")
        if volume is not None:
            slicer.util.setSliceViewerLayers(foreground=volume, foregroundOpacity=0.6)
            self.on_result()

    def measure_segments(self) -> None:
        """Fill the table of measures per segment of the fixed image."""
        charts.update_segment_table(self.parameters)
        self.announce()

    def list_landmarks(self) -> None:
        """Fill the table of distances of the landmarks."""
        charts.update_landmark_table(self.parameters)
        self.announce()

    def _quality(self) -> Mapping[str, float | None]:
        shown = None if self.session is None else self.session.shown
        return snapshots.read_json(self.parameters.quality) if shown is None else vars(shown.quality)

    def _step(self, by: int) -> None:
        was_modifying = self.parameters.StartModify()  # one change: between them is a setting that was never chosen
        try:
            snapshots.step(self.parameters, by)
        finally:
            self.parameters.EndModify(was_modifying)
        self.changed()

    def _update_outputs(self) -> None:
        """Refuse the inputs as outputs, and bring a result that is there into nodes that were just chosen for it."""
        for field in outputs.mistaken(self.parameters):
            name = getattr(self.parameters, field).GetName()
            self.problem = messages.no_output(name)
            setattr(self.parameters, field, None)
        before, self._outputs = self._outputs, inputs.chosen(self.parameters, outputs.CHOSEN)
        is_chosen = any(
            new not in (None, old) and not (old is None and outputs.is_own(getattr(self.parameters, field)))
            for field, old, new in zip(outputs.CHOSEN, before, self._outputs, strict=True)
        )
        session = self.session
        if is_chosen and session is not None and session.shown is not None:
            if session.stage is SessionStage.DONE:
                session.commit(session.setting)
            else:
                self.catch_up(again=True)

    def _update_images(self) -> None:
        """Begin with other images: without the measures of those before, with the task model made for these."""
        before, self._images = self._images, inputs.chosen(self.parameters, IMAGES)
        if self._images == before:
            return
        parameters, model = self.parameters, self.model
        parameters.quality = parameters.report = ""
        if self._sample and self._sample != frozenset(self._images):
            self._sample = frozenset()
            recommended = recommended_of(model, parameters.anatomy)
            fields = HYPERPARAMETERS[PriorChoice.BETA]
            apply_setting(parameters, {name: recommended[field] for name, field in fields.items()})
        if parameters.fixedVolume is not None and self._images[0] != before[0]:
            parameters.gridSpacingMm = float(display.fitting_grid_mm(parameters.fixedVolume))
        if parameters.method == INSTANCE and None not in self._images:
            model = models.best_match(self.models, inputs.words_about(parameters))
            if model.name != INSTANCE:
                take_model(parameters, model)
        self._setting = self._target = setting_of(parameters)  # not chosen by a slider

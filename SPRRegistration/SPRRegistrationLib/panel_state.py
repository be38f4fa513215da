"""What both faces show of a registration, as plain values computed from its controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from SPRRegistrationLib import map_contrast, messages, settings_map, suggestion, verdict
from SPRRegistrationLib.checks import PairCheck, pair_check
from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import charts, geometry, inputs, snapshots, uncertainty
from SPRRegistrationLib.session import SessionStage
from SPRRegistrationLib.sliders import SliderStates, sliders_of


@dataclass(frozen=True)
class RunState:
    """Apply, Cancel and the progress.

    Attributes:
        missing: What Apply needs first, without a full stop; empty for nothing.
        can_apply: Whether Apply has an effect.
        is_busy: Whether Cancel has an effect.
        has_failed: Whether another attempt is offered.
        status: What is being done, or what went wrong.
        progress: Part done, 0 to 1; None if unknown or nothing is done.
    """

    missing: str
    can_apply: bool
    is_busy: bool
    has_failed: bool
    status: str
    progress: float | None


def run_state(controller: Controller) -> RunState:
    """Return the state of the computation."""
    session, why_not, is_busy = controller.session, controller.why_not, controller.is_busy
    is_silent = session is None or (why_not and not is_busy)
    return RunState(
        missing=why_not.rstrip("."),
        can_apply=not why_not and not controller.is_committing,
        is_busy=is_busy,
        has_failed=session is not None and session.stage is SessionStage.FAILED and not why_not,
        status=controller.problem or ("" if is_silent else session.words),
        progress=None if session is None or not is_busy else session.progress,
    )


def check_state(controller: Controller) -> PairCheck:
    """Return the check of the pair; reads voxels, so only for another pair."""
    opened = None if controller.session is None else controller.session.opened
    return pair_check(controller.parameters, str(controller.model.card.get("modality", "")), opened)


def check_key(controller: Controller) -> tuple:
    """Return what the check of the pair depends on, to be compared."""
    parameters, session = controller.parameters, controller.session
    volumes = (parameters.fixedVolume, parameters.movingVolume)
    times = (volume and volume.GetMTime() for volume in volumes)
    return (
        *times,
        *inputs.opening_of(parameters),
        *inputs.chosen(parameters, inputs.MEASURED),
        session and session.opened,
    )


def slider_states(controller: Controller) -> SliderStates:
    """Return the sliders of the chosen prior."""
    return sliders_of(controller.parameters, controller.session, controller.model)


def suggestion_state(controller: Controller) -> suggestion.SuggestionState:
    """Return what is shown of the suggestion."""
    return suggestion.state_of(controller.parameters, controller.session)


def map_contrast_state(controller: Controller) -> map_contrast.MapContrastState:
    """Return what is shown about the contrast of the stiffness map."""
    return map_contrast.state_of(controller.session)


def latency(controller: Controller) -> str:
    """Return kind and time of the result that is shown, and whether it is beyond training; empty for no result."""
    shown = None if controller.session is None else controller.session.shown
    if shown is None:
        return ""
    beyond = messages.is_beyond(shown.setting, controller.session.trained)
    return messages.latency(shown.age_ms, shown.exact, beyond)


def badge(controller: Controller) -> verdict.Badge | None:
    """Return the verdict on the result: of the worker's last one, or as saved with the scene; None for no result."""
    parameters, session = controller.parameters, controller.session
    extent_mm = inputs.extent_mm(parameters.fixedVolume)
    if session is None or session.shown is None:
        facts = verdict.of_report(parameters.quality, parameters.report, extent_mm)
        return None if facts is None else verdict.badge(facts)
    return verdict.badge(verdict.of_result(session.shown, session.opened, extent_mm))


def map_points(controller: Controller) -> list[Any]:
    """Return the points of the settings map: those of the worker, or those saved with the scene."""
    session = controller.session
    return charts.saved_points(controller.parameters) if session is None else session.points


def map_table(controller: Controller) -> settings_map.MapTable:
    """Return the settings map."""
    parameters, session = controller.parameters, controller.session
    marks = suggestion.marked(parameters), {} if session is None else session.trained
    return settings_map.table_of(map_points(controller), parameters.mapMeasure, *marks)


def map_key(controller: Controller) -> tuple:
    """Return what the settings map depends on, to be compared."""
    parameters, session = controller.parameters, controller.session
    return id(session), len(map_points(controller)), parameters.mapMeasure, tuple(suggestion.marked(parameters).items())


def map_titles(table: settings_map.MapTable) -> list[str]:
    """Return what rows and columns of the settings map are called."""
    names = messages.setting_names()
    return [names.get(name, name) for name in table.names]


def kept_settings(controller: Controller) -> dict[str, str]:
    """Return the settings of the snapshots in words, by their names."""
    kept = snapshots.snapshots_of(controller.parameters)
    return {name: _in_words(snapshot.setting) for name, snapshot in kept.items()}


def cursor_text(controller: Controller, position: tuple[float, float, float] | None) -> str:
    """Return stiffness and displacement at a point of the fixed image, in RAS mm; empty where there is none."""
    parameters = controller.parameters
    if position is None or parameters.displacementTransform is None:
        return ""
    (moved,) = geometry.moved_points(parameters.displacementTransform, [position])
    length = float(np.linalg.norm(moved - np.array(position)))
    (deviation,) = uncertainty.values_mm(parameters, [position])
    stiffness = geometry.value_at(parameters.weightVolume, position)
    return messages.cursor(stiffness, length, None if np.isnan(deviation) else float(deviation))


def uncertainty_text(controller: Controller) -> str:
    """Return the uncertainty of what is shown, or that it is being computed; empty while it is off or unknown."""
    session, parameters = controller.session, controller.parameters
    if not parameters.showUncertainty:
        return ""
    if session is None or session.uncertainty is None or not uncertainty.has_map(parameters):
        is_computed = session is not None and session.awaits_uncertainty and session.stage is not SessionStage.FAILED
        return (
            _("The uncertainty is being computed.") if is_computed else _("The uncertainty comes with the next result.")
        )
    found = session.uncertainty
    calibrated = session.opened is None or session.opened.similarity == "lncc"
    return messages.uncertainty(found.metrics["uncertainty_mm"], found.exact, calibrated)


def _in_words(setting: Mapping[str, float]) -> str:
    names = messages.setting_names()
    return ", ".join(f"{names.get(name, name)} {value:.3g}" for name, value in setting.items())

"""Registrations that a script makes, with the controller and the worker of the panel; no Qt, no web."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import slicer

from SPRCore.config import check_name
from SPRCore.errors import InputError, SPRError
from SPRRegistrationLib import anatomies
from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.parameters import AnatomyChoice, SPRRegistrationParameters
from SPRRegistrationLib.scene import outputs, snapshots
from SPRRegistrationLib.session import SessionStage
from SPRRegistrationLib.sliders import take_model

logger = logging.getLogger("SPRRegistration")

_FIRST = ("method", "anatomy")
"""Fields that set others: what is set besides goes before what they set."""


class RegistrationFailed(SPRError, RuntimeError):
    """A registration ended without a result; the text says why."""


class RegistrationRun:
    """A registration that a script has started.

    Args:
        controller: The controller of the registration, which computes its exact result.
        process_events: Lets the worker's answers in.
        keeps_worker: Whether the worker stays at the end, because it was there before.

    Attributes:
        registration: The parameters of the registration: its choices, and its results as nodes.
        running: Whether it is being computed.
        failure: Why there is no result; None while it runs and after success.
    """

    def __init__(self, controller: Controller, process_events: Callable[[], object], keeps_worker: bool) -> None:
        self._controller, self._process_events, self._keeps_worker = controller, process_events, keeps_worker
        self.registration = controller.parameters
        self.running, self.failure = True, None
        self._calls: list[tuple[Callable | None, Callable | None, Callable | None]] = []
        controller.apply()  # tells its watchers of the opening, too
        controller.watchers.append(self._follow)
        self._follow()

    @property
    def progress(self) -> float | None:
        """Part done, 0 to 1; None if unknown."""
        session = self._controller.session
        return 1.0 if not self.running else None if session is None else session.progress

    def then(
        self,
        done: Callable[[SPRRegistrationParameters], object] | None = None,
        failed: Callable[[RegistrationFailed], object] | None = None,
        progress: Callable[[float | None], object] | None = None,
    ) -> RegistrationRun:
        """Set what is called at the end, at once if that was before, and during the computation.

        Args:
            done: Called with the registration.
            failed: Called with the reason, also after `cancel`.
            progress: Called with the part done, 0 to 1, None if unknown.

        Returns:
            The run.
        """
        self._calls.append((done, failed, progress))
        if not self.running:
            self._tell_end(done, failed)
        return self

    def wait(self, timeout: float | None = None) -> SPRRegistrationParameters:
        """Wait for the result, while the events of the application are processed.

        Args:
            timeout: Most seconds; after these the computation is cancelled. None for no limit.

        Raises:
            RegistrationFailed: There is no result.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.running:
            self._process_events()
            if self.running and end is not None and time.monotonic() > end:
                self.cancel(f"it took longer than {timeout:g} s")
            time.sleep(0.005)
        if self.failure is not None:
            raise self.failure
        return self.registration

    def cancel(self, reason: str = "it was cancelled") -> None:
        """Cancel the computation; without effect after its end."""
        if self.running:
            self._finish(reason)

    def _follow(self) -> None:
        if not self.running:
            return
        controller, session = self._controller, self._controller.session
        if session is not None and session.awaits_result:
            for _done, _failed, progress in self._calls:
                if progress is not None:
                    progress(session.progress)
        elif session is not None and session.stage is SessionStage.DONE:
            if not session.awaits_uncertainty:
                self._finish("")
        else:
            self._finish(
                controller.why_not or controller.problem or ("it was ended" if session is None else session.words)
            )

    def _finish(self, reason: str) -> None:
        controller = self._controller
        self.running = False
        controller.watchers.remove(self._follow)
        if reason:
            self.failure = RegistrationFailed("registration", got=reason.rstrip("."))
            logger.warning("%s", self.failure)
        if not self._keeps_worker:  # its memory is needed for the next pair
            controller.end_session()
        elif reason:
            controller.cancel()
        for done, failed, _progress in self._calls:
            self._tell_end(done, failed)

    def _tell_end(self, done: Callable | None, failed: Callable | None) -> None:
        if self.failure is None and done is not None:
            done(self.registration)
        elif self.failure is not None and failed is not None:
            failed(self.failure)


def start(
    controller: Controller,
    nodes: Mapping[str, slicer.vtkMRMLNode | None],
    settings: Mapping[str, Any],
    process_events: Callable[[], object],
) -> RegistrationRun:
    """Choose images, outputs and settings, and start the registration.

    Args:
        controller: The controller of the registration.
        nodes: Images and results by the fields of the parameters; results that are None stay as they are.
        settings: Further values by the fields of the parameters, such as `anatomy="lung"` or `fixedMask=node`. An
            anatomy or a task model sets prior and sliders first. Choices may be given by the names that the worker
            knows.
        process_events: Lets the worker's answers in.

    Raises:
        InputError: An unknown field, a value that it does not take, or images that cannot be registered.
    """
    had_session = controller.session is not None
    try:
        _prepare(controller, nodes, settings)
    except InputError:
        if not had_session:
            controller.end_session()
        raise
    return RegistrationRun(controller, process_events, keeps_worker=had_session)


def _prepare(
    controller: Controller, nodes: Mapping[str, slicer.vtkMRMLNode | None], settings: Mapping[str, Any]
) -> None:
    """Bring nodes and settings into the parameters; arguments and errors as `start`."""
    parameters = controller.parameters
    for name in settings:
        check_name(name, fields(), "setting of a registration")
    images = {name: node for name, node in nodes.items() if name not in outputs.CLASSES}
    _checked("image", "two images", lambda: controller.choose(images))
    results = {name: node for name, node in nodes.items() if name in outputs.CLASSES and node is not None}
    ordered = {name: settings[name] for name in _FIRST if name in settings} | dict(settings) | results
    was_modifying = parameters.StartModify()
    try:
        for name, value in ordered.items():
            _set(controller, name, value)
        wrong = outputs.mistaken(parameters)
        if wrong:
            expected = "another node than the images and the other results"
            raise InputError(wrong[0], got=f"“{getattr(parameters, wrong[0]).GetName()}”", expected=expected)
    finally:
        parameters.EndModify(was_modifying)
    controller.changed()
    if controller.why_not:
        raise InputError("registration", got=controller.why_not.rstrip("."))


def fields() -> list[str]:
    """Return the fields of the parameters that a script can set."""
    kept = ("snapshots", "history", "quality", "report", "suggestion")
    return [name for name in SPRRegistrationParameters.allParameters if name not in kept]


def is_untouched(parameters: SPRRegistrationParameters, images: Sequence[slicer.vtkMRMLNode] = ()) -> bool:
    """Return whether a registration refers to no nodes but these images, and its setting was never changed."""
    node = parameters.parameterNode
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    has_nodes = any(node.GetNodeReference(role) not in (None, *images) for role in roles)
    return not has_nodes and not parameters.snapshots and not snapshots.history_of(parameters).can_undo


def _set(controller: Controller, name: str, value: Any) -> None:
    parameters = controller.parameters
    kind = type(getattr(parameters, name))
    if issubclass(kind, Enum) and not isinstance(value, kind):
        expected = " | ".join(item.value for item in kind)
        value = _checked(name, expected, lambda: kind(value), value)
    if name == "anatomy" and value is not AnatomyChoice.NONE:
        anatomies.choose(parameters, value)
    elif name == "method":
        _checked(name, "the name of a method", lambda: setattr(parameters, name, value), value)
        take_model(parameters, controller.model)
    else:
        info = "a value of the field's type and range"
        _checked(name, info, lambda: setattr(parameters, name, value), value)


def _checked(name: str, expected: str, act: Callable[[], Any], value: Any = None) -> Any:
    """Call a function; what the parameter node refuses is an `InputError`."""
    try:
        return act()
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        got = " ".join(repr(value).split())[:80]
        raise InputError(name, got=got, expected=expected, remedy=" ".join(str(error).split())[:200]) from error

"""The worker of one registration: when a pair is opened, a preview requested, the settings map filled.

No Qt, no web. `controller.Controller` adds what the user can do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from SPRCore.errors import SPRError
from SPRCore.live.events import Deadlines
from SPRRegistrationLib import messages, models
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.models import INSTANCE
from SPRRegistrationLib.parameters import HYPERPARAMETERS, setting_of
from SPRRegistrationLib.scene import display, inputs, painting
from SPRRegistrationLib.session import RegistrationSession, SessionStage
from SPRRegistrationLib.transport import Transport


@dataclass
class WorkerOptions:
    """How workers are started.

    Attributes:
        command: Program and arguments.
        deadlines: When a worker counts as hung.
        budget_ms: Time of a preview; None for the worker's default.
    """

    command: Sequence[str]
    deadlines: Deadlines | None = None
    budget_ms: float | None = None


class Rendering(Protocol):
    """Load of the views.

    Attributes:
        is_behind: Whether a result waits to be drawn; no further preview is requested then.
        is_moving: Whether a slider is being dragged; previews are not refined then.
    """

    is_behind: bool
    is_moving: bool


@dataclass
class IdleRendering:
    """Views that are drawn at once."""

    is_behind: bool = False
    is_moving: bool = False


class WorkerControl:
    """Keeps the worker in step with the parameters.

    Args:
        parameters: The parameters of the registration.
        worker: How workers are started; read whenever one is.
        transport: The process of the worker.
        on_change: Called after anything changed that a face shows.
        on_result: Called after a new result is in the scene.

    Attributes:
        session: The session on the worker; None while there is none.
        models: The task models that are installed.
        rendering: Load of the views.
        may_start: Whether a worker can be started now without asking the user, for instance for an installation.
        watchers: Called after anything changed, besides `on_change` of the face: those of scripts.
        opens_by_itself: Whether a pair is opened as soon as it is chosen; otherwise with the first change of the
            setting, or by Apply.
        problem: What was wrong with the last change of the parameters; empty for nothing.
    """

    def __init__(
        self,
        parameters: Any,
        worker: WorkerOptions,
        transport: Transport,
        on_change: Callable[[], object] = lambda: None,
        on_result: Callable[[], object] = lambda: None,
    ) -> None:
        self.parameters, self.worker, self.transport = parameters, worker, transport
        self.on_change, self.on_result = on_change, on_result
        self.watchers: list[Callable[[], object]] = []
        self.session: RegistrationSession | None = None
        self.models = models.find_models()
        self.rendering: Rendering = IdleRendering()
        self.may_start: Callable[[], bool] = lambda: True
        self.opens_by_itself, self.problem = False, ""
        self._opened: tuple = ()
        self._swept: tuple = (None, False)
        self._estimated: tuple = (None, False)
        self._painted: tuple = ()
        self._setting = self._target = setting_of(parameters)
        self._requested: dict[str, float] | None = None
        self._is_outdated = False
        self._shown: Any = None

    @property
    def model(self) -> models.TaskModel:
        """The chosen method; without a card if it is not installed."""
        name = self.parameters.method
        missing = models.TaskModel(name, None, {}, _("This task model is not installed here."))
        return next((model for model in self.models if model.name == name), missing)

    @property
    def why_not(self) -> str:
        """Why nothing can be computed, in one sentence; empty if it can."""
        return messages.why_not_apply(self.parameters)

    @property
    def is_busy(self) -> bool:
        """Whether Cancel has something to end."""
        return self.session is not None and self.session.is_busy

    @property
    def is_committing(self) -> bool:
        """Whether an exact result is being computed."""
        return self.session is not None and self.session.stage is SessionStage.COMMITTING

    def slide(self, field: str, value: float) -> None:
        """Preview a slider value that is not in the parameters yet, because the slider is being dragged."""
        names = {own: name for name, own in HYPERPARAMETERS[self.parameters.prior].items()}
        setting = setting_of(self.parameters) | ({names[field]: value} if field in names else {})
        if setting != self._target:
            self._target = setting
            if self.parameters.live and self._can_open():
                self._ensure_session()
                self.catch_up()

    def catch_up(self, again: bool = False) -> None:
        """Request a preview of the current setting, unless the one before is not computed or drawn yet.

        While a slider moves, a preview is not refined: that would delay the next one.

        Args:
            again: Whether to request a setting that was requested already.
        """
        is_new = (
            again or self._is_outdated or self._target not in (self._requested, self.session and self.session.setting)
        )
        if is_new and self._can_preview and not self.rendering.is_behind:
            # What the worker makes of the setting may differ, where its ranges are narrower.
            self._requested, self._is_outdated = dict(self._target), False
            self.session.preview(self._requested, improve=not self.rendering.is_moving)

    def settle(self) -> None:
        """Refine the preview, because the slider rests."""
        shown = None if self.session is None else self.session.shown
        if shown is not None and shown.exact:
            display.set_detail(self.parameters, fine=True)
        elif shown is not None and self.session.stage is SessionStage.READY:
            self.catch_up(again=True)

    def ready_session(self) -> RegistrationSession | None:
        """Return a session with the current pair; None if it cannot be opened."""
        if self.why_not or self._ensure_session().stage is SessionStage.FAILED:
            return None
        return self.session

    def end_session(self) -> None:
        """End the worker; the results in the scene stay."""
        session, self.session, self._shown = self.session, None, None
        if session is not None:
            session.close()
            self._tell_watchers()

    def announce(self) -> None:
        """Tell the face and the watchers that something has changed."""
        self.on_change()
        self._tell_watchers()

    def _tell_watchers(self) -> None:
        for call in list(self.watchers):
            call()

    def _update_session(self) -> None:
        """Bring the worker to the parameters."""
        setting = setting_of(self.parameters)
        is_other = setting != self._setting
        if is_other:
            self._setting = self._target = setting
        if (self.opens_by_itself or is_other) and self.parameters.live and self._can_open():
            self._ensure_session()
        elif self.session is not None and self._pair() != self._opened:
            is_failed = self.session.stage is SessionStage.FAILED and not self.why_not
            if not is_failed:  # its message stays until the next attempt
                self.end_session()
        if self.session is not None:
            self.session.remeasure()
            self._repaint()
            self.catch_up()
            self._update_sweep()
            self._update_uncertainty()

    def _pair(self) -> tuple:
        return inputs.opening_of(self.parameters)

    def _can_open(self) -> bool:
        return not self.why_not and (self._is_open() or self.may_start())

    def _is_open(self) -> bool:
        stages = (SessionStage.NO_PAIR, SessionStage.FAILED)
        return self.session is not None and self._pair() == self._opened and self.session.stage not in stages

    def _ensure_session(self) -> RegistrationSession:
        """Return a session that has opened, or is opening, the current pair."""
        if self._is_open():
            return self.session
        if self.session is None:
            options = self.worker
            self.session = session = RegistrationSession(
                self.parameters,
                self.transport,
                options.command,
                self._session_changed,
                options.deadlines,
                options.budget_ms,
            )
            self.transport.on_output, self.transport.on_log = session.feed, session.feed_log
            self.transport.on_ended, self.transport.on_tick = session.ended, session.tick
        self._opened, self._requested, self._is_outdated = self._pair(), None, False
        self._painted = painting.state_of(self.parameters)
        self.session.open()
        return self.session

    @property
    def _can_preview(self) -> bool:
        stages = (SessionStage.NO_PAIR, SessionStage.FAILED, SessionStage.PREVIEWING)
        return self.session is not None and self.parameters.live and self.session.stage not in stages

    def _repaint(self) -> None:
        """Send the painted stiffness, if it changed."""
        state = painting.state_of(self.parameters)
        if state == self._painted or not self._is_open():
            return
        self._painted = state
        try:
            painted = inputs.painted_stiffness(self.parameters)
        except SPRError as error:
            self.problem = messages.refused(error)
        else:
            self.session.paint(*(painted or (None,)))
            self._is_outdated = self.session.shown is not None

    def _update_sweep(self) -> None:
        """Start or stop the sweep.

        It fills the settings map, and for a network it warms up the previews, which lie between settings that it has
        computed: so with a network it runs whether or not the map is wanted.
        """
        session = self.session
        if session is None or not session.ranges:
            return
        wanted = self.parameters.sweep or self.parameters.method != INSTANCE
        before, self._swept = self._swept, (session.opened, wanted)
        if self._swept != before and (wanted or before[0] is session.opened):
            session.sweep(wanted)

    def _update_uncertainty(self) -> None:
        """Start or stop computing the uncertainty; a worker that was started again is told again."""
        session, wanted = self.session, self.parameters.showUncertainty
        if session is None or session.opened is None:
            return
        before, self._estimated = self._estimated, (session.opened, wanted)
        if self._estimated != before and (wanted or before[0] is session.opened):
            session.estimate(wanted)

    def _session_changed(self, session: RegistrationSession) -> None:
        if session is not self.session:
            return
        if session.shown is not self._shown:
            self._shown = session.shown
            self.on_result()
        is_first = session.stage is SessionStage.READY and session.shown is None and bool(session.ranges)
        self.catch_up(again=is_first)
        self._update_sweep()
        self._update_uncertainty()
        self.announce()

"""One registration on a live worker: sends requests, and puts the answers into the scene.

Nothing here blocks: a `Transport` owns the process and moves the bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partialmethod
from typing import Any

import numpy as np

from SPRCore.errors import SPRError
from SPRCore.live import protocol
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.conversation import Conversation
from SPRCore.live.events import Arrived, Deadlines, Event, KillWorker, StartWorker, WorkerState
from SPRRegistrationLib import map_contrast, messages, suggestion
from SPRRegistrationLib.scene import charts, display, inputs, outputs, results, uncertainty
from SPRRegistrationLib.transport import Transport

logger = logging.getLogger("SPRRegistration")


class SessionStage(Enum):
    """State of a registration."""

    NO_PAIR = "no pair"
    OPENING = "opening"
    READY = "ready"
    PREVIEWING = "previewing"
    COMMITTING = "committing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


def kind_of(result: Any) -> tuple[bool, bool, bool]:
    """Return what decides how a result is shown: whether it is exact, its stiffness is known and has contrast."""
    return result.exact, result.weight_known, map_contrast.is_possible(result)


class RegistrationSession:
    """One registration on one worker.

    Args:
        parameters: The parameters of the registration.
        transport: Owner of the process.
        command: Program and arguments of a worker.
        on_change: Called with the session after a change, at most once for each call of the transport.
        deadlines: When a worker counts as hung.
        budget_ms: Time of a preview; None for the worker's default.

    Attributes:
        stage: State of the registration.
        words: The state in one sentence for the user.
        progress: Part done, 0 to 1; None if unknown or idle.
        shown: The last result in the scene, without its arrays; None for none.
        opened: The answer of the worker when it opened the pair; None before.
        points: The known points of the settings map.
        ranges: Lowest and highest value of each hyperparameter.
        setting: The hyperparameters of the last request.
        sweeping: Whether the settings map is being computed.
        uncertainty: The uncertainty of the result that is shown, without its map; None if it is not computed.
    """

    def __init__(
        self,
        parameters: Any,
        transport: Transport,
        command: Sequence[str],
        on_change: Callable[[RegistrationSession], None],
        deadlines: Deadlines | None = None,
        budget_ms: float | None = None,
    ) -> None:
        self.parameters, self._transport, self._command = parameters, transport, list(command)
        self._on_change, self._deadlines, self._budget_ms = on_change, deadlines, budget_ms
        self._store: SessionFolder | None = None
        self._talk: Conversation | None = None
        self._versions: dict[str, str] = {}
        self._forget_pair()
        self._move(SessionStage.NO_PAIR, messages.no_pair())

    def open(self) -> None:
        """Open the pair of the parameters at their setting; an open one is closed.

        If the images cannot be used, the stage is FAILED and `words` says why.
        """
        self._forget_pair()
        self._measured = inputs.chosen(self.parameters, inputs.MEASURED)
        try:
            arrays, self._asked = inputs.arrays_of(self.parameters), inputs.options_of(self.parameters)
            self._ensure_started()
            self._open_id = self._floor = self._talk.open(arrays, budget_ms=self._budget_ms, **self._asked)
        except SPRError as error:
            self._move(SessionStage.FAILED, messages.refused(error))
        else:
            self._move(SessionStage.OPENING, messages.opening())
        self._advance([])

    def preview(self, setting: dict[str, float], improve: bool = True) -> None:
        """Request a fast deformation at a setting, and refined ones after it (`improve`)."""
        self._ask("update", SessionStage.PREVIEWING, messages.previewing(), improve=improve, **setting)

    def commit(self, setting: dict[str, float]) -> None:
        """Request the exact result at a setting."""
        self._ask("commit", SessionStage.COMMITTING, messages.committing(), **setting)

    def sweep(self, on: bool) -> None:
        """Start or stop computing the settings map while the worker is idle."""
        self._ask("sweep", self.stage, self.words, on=on)

    def estimate(self, on: bool) -> None:
        """Start or stop computing the uncertainty of what is shown, while the worker is idle."""
        self._ask("uncertainty", self.stage, self.words, on=on)

    def choose(self) -> None:
        """Request a suggestion for the pair, computed while the worker is idle; it is kept in the parameters."""
        self._ask("choose", self.stage, self.words)

    def paint(self, stiffness: np.ndarray | None, affine: np.ndarray | None = None) -> None:
        """Change the painted stiffness.

        Args:
            stiffness: Factor above 0 of the stiffness at each voxel, shape (X, Y, Z); None for none.
            affine: Its voxel index to RAS mm, shape (4, 4).
        """
        self._drop_uncertainty()
        self._ask("paint", self.stage, self.words, stiffness, affine)

    def remeasure(self) -> None:
        """Measure with the labels and landmarks of the parameters, if they have changed.

        Deformations are kept; an exact result is measured again. Annotations that cannot be used are left out, and
        `words` says why.
        """
        chosen = inputs.chosen(self.parameters, inputs.MEASURED)
        if self._open_id is None or chosen == self._measured:
            return
        self._measured, refused = chosen, ""
        try:
            arrays = inputs.annotations_of(self.parameters)
        except SPRError as error:
            arrays, refused = {}, messages.refused(error)
        self.points.clear()
        self._ask("annotate", self.stage, refused or self.words, arrays)
        if self.sweeping or self.parameters.sweep:
            self.sweep(True)
        if self.stage in (SessionStage.DONE, SessionStage.COMMITTING) and not refused:
            self.commit(self.setting)

    def cancel(self) -> None:
        """Cancel all requests; the results in the scene stay."""
        is_busy = self.stage in (SessionStage.OPENING, SessionStage.PREVIEWING, SessionStage.COMMITTING)
        stage, why = (
            (SessionStage.CANCELLED, messages.cancelled(self.shown is not None))
            if is_busy
            else (self.stage, self.words)
        )
        self._ask("cancel", stage, why)

    def restart(self) -> None:
        """Restart the worker with the same pair."""
        if self._talk is not None:
            self._move(SessionStage.OPENING, messages.opening())
            self._advance(self._talk.restart())

    def close(self) -> None:
        """End the worker and forget the pair; the results in the scene stay. Can be called repeatedly."""
        talk, store, self._talk, self._store = self._talk, self._store, None, None
        if talk is not None:
            talk.close()
            self._transport.write(talk.take())
            self._transport.kill()  # nothing that it still computes is wanted
            store.close()
        self._forget_pair()
        self._move(SessionStage.NO_PAIR, messages.no_pair())
        self._notify()

    def _handle(self, method: str, argument: Any) -> None:
        if self._talk is not None:  # otherwise the session was closed
            self._advance(getattr(self._talk, method)(argument))

    feed = partialmethod(_handle, "feed")
    """Handle bytes of the worker's standard output."""
    feed_log = partialmethod(_handle, "feed_log")
    """Handle bytes of the worker's standard error."""
    ended = partialmethod(_handle, "ended")
    """Handle the end of the worker: its exit code, minus a signal, or None if it could not be started."""
    tick = partialmethod(_handle, "tick")
    """Handle the time, in seconds of any clock, about every half second."""

    def _ensure_started(self) -> None:
        if self._talk is None:
            self._store = SessionFolder()
            self._talk = Conversation(self._store, self._deadlines, client="3D Slicer")
            self._dispatch([StartWorker()])
        elif self._talk.status.state in (WorkerState.FAILED, WorkerState.CLOSED):
            self._dispatch(self._talk.restart())

    def _ask(self, verb: str, stage: SessionStage, why: str, *arguments: Any, **options: Any) -> None:
        if self._talk is None or self._open_id is None:
            return
        try:
            asked = getattr(self._talk, verb)(*arguments, **options)
        except SPRError as error:
            self._move(SessionStage.FAILED, messages.refused(error))
        else:
            self._move(stage, why)
            if verb == "commit":
                self._commit_id = asked
            elif verb == "choose":
                self._choose_id = asked
            elif verb == "cancel":
                self._floor, self._commit_id, self._choose_id, self.sweeping = asked, None, None, False
            elif verb == "sweep":
                self.sweeping = options["on"]
        self._advance([])

    def _advance(self, events: list[Event]) -> None:
        """Handle events, write the requests, and call `on_change`."""
        self._dispatch(events)
        if self._talk is not None:
            self._transport.write(self._talk.take())
        self._notify()

    def _notify(self) -> None:
        if self._has_news:
            self._has_news = False
            self._on_change(self)

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, StartWorker):
                said = self._talk.started()
                self._transport.start(self._command)
                self._dispatch(said)
            elif isinstance(event, KillWorker):
                self._transport.kill()
            elif isinstance(event, Arrived):
                getattr(self, f"_on_{event.message.kind}", lambda message, arrays: None)(event.message, event.arrays)
            else:
                self._on_status(event)
            if self._talk is None:  # closed, because the scene is
                return

    def _on_status(self, status: Any) -> None:
        if status.state is WorkerState.RESTARTING:
            self.sweeping, self._commit_id, self._choose_id = False, None, None
            self._move(SessionStage.OPENING, status.words)
        elif status.state is WorkerState.FAILED:
            self.sweeping, self._commit_id, self._choose_id = False, None, None
            self._move(SessionStage.FAILED, status.words)
        elif status.state is WorkerState.OPEN and self.stage is SessionStage.OPENING:
            self._move(SessionStage.READY, messages.ready())

    def _on_ready(self, message: protocol.Ready, arrays: dict) -> None:
        self._versions = {"SPRCore": message.version, "torch": message.torch}

    def _on_opened(self, message: protocol.Opened, arrays: dict) -> None:
        self.ranges, self.prior, self.opened = dict(message.ranges), message.prior, message
        self.trained = dict(message.trained)
        self._has_news = True
        if self.stage is SessionStage.OPENING:
            self._move(SessionStage.READY, messages.ready())

    def _on_result(self, message: protocol.ReplyMessage, arrays: dict) -> None:
        if message.id < self._floor or (self.shown is not None and message.id < self.shown.id):
            return  # of another pair, cancelled, or outdated
        if not outputs.is_alive(self.parameters):
            self.close()
            return
        is_final = message.id == self._commit_id
        if self.uncertainty is None or self.uncertainty.setting != message.setting:
            self._drop_uncertainty()
        report = None
        if is_final:
            facts = inputs.report_of(self.parameters, self._asked, message, self.opened)
            report = {"versions": self._versions} | facts
        is_new_kind = self.shown is None or kind_of(self.shown) != kind_of(message)
        results.show(self.parameters, message, arrays, is_new_kind, report)
        self.shown, self.progress = message, None
        if is_final:
            self._commit_id = None
            self._move(SessionStage.DONE, messages.done(message.age_ms))  # the waiting time of the user
        elif self.stage is SessionStage.COMMITTING:
            self._has_news = True
        else:
            self._move(SessionStage.READY, messages.shown(message.exact))

    def _on_uncertainty(self, message: protocol.UncertaintyMessage, arrays: dict) -> None:
        shown = self.shown
        is_of_shown = shown is not None and message.setting == shown.setting and message.exact >= shown.exact
        if not is_of_shown or message.id < self._floor or not outputs.is_alive(self.parameters):
            return
        self.uncertainty, self._has_news = message, True
        self.shown = results.show_uncertainty(self.parameters, shown, message, arrays)

    def _drop_uncertainty(self) -> None:
        self.uncertainty = None
        if uncertainty.clear(self.parameters):
            display.show(self.parameters)

    def _on_chosen(self, message: protocol.Chosen, arrays: dict) -> None:
        if message.id == self._choose_id:
            self._choose_id = self.progress = None
            if outputs.is_alive(self.parameters):
                suggestion.keep(self.parameters, message)
            self._has_news = True

    def _on_superseded(self, message: protocol.Superseded, arrays: dict) -> None:
        if message.id == self._choose_id:
            self._choose_id, self._has_news = None, True
        if message.id == self._commit_id:
            self._commit_id = None
            if self.stage is SessionStage.COMMITTING:
                self._move(SessionStage.READY, messages.ready())

    def _on_error(self, message: protocol.Error, arrays: dict) -> None:
        logger.warning("The worker refused: %s", message.words())
        if message.id is not None and message.id < self._floor:
            return
        if message.code == "worker" and self._talk.status.state is not WorkerState.OPEN:
            return  # a status follows
        if message.id == self._open_id:
            self._open_id = None
        if message.id == self._commit_id:
            self._commit_id = None
        if message.id is None:
            self.sweeping = False
        is_choice = message.id is not None and message.id == self._choose_id
        self._choose_id = None if is_choice else self._choose_id
        self._move(self.stage if is_choice else SessionStage.FAILED, messages.failed(message))

    def _on_progress(self, message: protocol.ProgressReport, arrays: dict) -> None:
        self.progress = message.fraction
        self._has_news = True

    def _on_point(self, message: protocol.SweepPoint, arrays: dict) -> None:
        self.points.append(message)
        self._has_news = True

    def _on_idle(self, message: protocol.Idle, arrays: dict) -> None:
        self.sweeping = False
        if self.points and outputs.is_alive(self.parameters):
            charts.update_map(self.parameters, self.points)
        self._has_news = True

    def _on_log(self, message: protocol.Log, arrays: dict) -> None:
        logger.log(logging.getLevelName(message.level.upper()), message.text)

    def _forget_pair(self) -> None:
        self.shown: protocol.ReplyMessage | None = None
        self.uncertainty: protocol.UncertaintyMessage | None = None
        self.opened: protocol.Opened | None = None
        self.points: list[protocol.SweepPoint] = []
        self.ranges: dict[str, tuple[float, ...]] = {}
        self.trained: dict[str, float] = {}
        self.prior, self.sweeping, self.progress = "", False, None
        self._open_id: int | None = None
        self._commit_id: int | None = None
        self._choose_id: int | None = None
        self._floor = 0
        self._measured: tuple = ()
        self._asked: dict[str, Any] = {}

    @property
    def awaits_result(self) -> bool:
        """Whether an exact result was requested and has not arrived."""
        return self._commit_id is not None

    @property
    def awaits_uncertainty(self) -> bool:
        """Whether the uncertainty of the result that is shown was requested and has not arrived."""
        is_there = self.uncertainty is not None and (self.uncertainty.fine or self.stage is not SessionStage.DONE)
        return self.shown is not None and self.parameters.showUncertainty and not is_there

    @property
    def is_choosing(self) -> bool:
        """Whether a suggestion is being computed."""
        return self._choose_id is not None

    @property
    def is_busy(self) -> bool:
        """Whether Cancel has something to end."""
        return self.is_choosing or self.stage in (SessionStage.OPENING, SessionStage.COMMITTING)

    @property
    def setting(self) -> dict[str, float]:
        """The hyperparameters of the last request."""
        return {} if self._talk is None else dict(self._talk.setting)

    def _move(self, stage: SessionStage, why: str) -> None:
        self.stage, self.words = stage, why
        if stage not in (SessionStage.OPENING, SessionStage.COMMITTING):
            self.progress = None
        self._has_news = True

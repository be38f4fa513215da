"""The client's side of a conversation with a live worker, independent of the transport.

The transport (`QProcess`, `subprocess`, asyncio or a test) moves bytes, passes the time, starts and kills the process.
Neither torch nor Qt is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.live import protocol
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.events import (
    MAX_TICK,
    ActivityClock,
    Arrays,
    Arrived,
    Deadlines,
    ErrorOutput,
    Event,
    KillWorker,
    StartWorker,
    WorkerState,
    WorkerStatus,
)
from SPRCore.live.pending_requests import PendingRequests
from SPRCore.live.protocol import Error, Open, ReplyMessage, Superseded, UncertaintyMessage, Update
from SPRCore.live.schema import Checked
from SPRCore.live.wire import LineReader, Unreadable, read_answer

MAX_LOSSES = 3
"""Maximum number of worker losses without a result in between; after more, it is not restarted automatically."""

MAX_GARBAGE = 100
"""Maximum number of unreadable lines in a row; after more, the worker is killed."""

_SIGNS_OF_LIFE = (
    *(protocol.Ready, protocol.Opened, ReplyMessage, protocol.Chosen, protocol.Done),
    *(protocol.ProgressReport, protocol.SweepPoint, UncertaintyMessage),
)


class Conversation:
    """Requests, answers, deadlines, and the restart of a lost worker with the same pair.

    Requests return their number at once; all other methods return events. Call `tick` at least once a second, and write
    the bytes of `take` after every call. Not thread-safe.

    Requests raise `InputError` for an invalid value, for too many requests without an answer, and after the worker has
    failed or was closed; those with arrays raise `OutputError` without memory for them.

    Args:
        session: Session folder with its segments.
        deadlines: Limits after which a worker counts as hung.
        client: Name of the client, for the log of the worker.
    """

    def __init__(self, session: SessionFolder, deadlines: Deadlines | None = None, client: str = "") -> None:
        self.status = WorkerStatus(state=WorkerState.OFF, words="The worker has not been started.")
        self.setting: dict[str, float] = {}
        self._answered: dict[str, float] = {}  # the last setting with an answer
        self._store, self._folder, self._client = session.store, str(session.folder), client
        self._deadlines, self._clock = deadlines or Deadlines(), ActivityClock()
        self._pending = PendingRequests(session.store)
        self._reader, self._error_output = LineReader(), ErrorOutput()
        self._events: list[Event] = []
        self._losses = self._garbage = 0
        self._alive, self._closing, self._kill_reason = False, False, ""

    def open(self, arrays: Arrays, **options: Any) -> int:
        """Open a pair.

        Args:
            arrays: As `protocol.Open.segment`; copies are kept for a restarted worker.
            options: Other fields of `protocol.Open`.
        """
        self._require_worker()
        request = self._pending.send(Open, self._clock.time, segment=self._pending.put(arrays), **options)
        self._pending.keep(request)
        self.setting = self._answered = dict(request.setting)
        if self._alive:
            self._set_status(WorkerState.OPENING, "The pair is being opened.")
        return request.id

    def update(self, improve: bool = True, **setting: float) -> int:
        """Request a preview with changed hyperparameters, followed by improvements if `improve`."""
        self._require_worker()
        fields = {"setting": self.setting | setting, "improve": improve}
        request, superseded = self._pending.send_update(self._clock.time, **fields)
        self.setting = dict(request.setting)
        if superseded is not None:
            self._emit(superseded)
        return request.id

    def commit(self, **setting: float) -> int:
        """Request the exact result, with changed hyperparameters if given."""
        self._require_worker()
        request = self._pending.send(protocol.Commit, self._clock.time, setting=self.setting | setting)
        self.setting = dict(request.setting)
        return request.id

    def sweep(self, on: bool = True) -> int:
        """Turn the sweep on or off."""
        return self._send(protocol.ToggleSweep, on=on)

    def uncertainty(self, on: bool = True) -> int:
        """Turn the uncertainty on or off; a restarted worker has it off."""
        return self._send(protocol.ToggleUncertainty, on=on)

    def choose(self) -> int:
        """Request a setting chosen for the pair."""
        return self._send(protocol.Choose)

    def paint(self, stiffness: np.ndarray | None, affine: np.ndarray | None = None) -> int:
        """Replace the painted stiffness.

        Args:
            stiffness: Factor > 0 of the weight of each voxel, shape (X, Y, Z); None removes it.
            affine: Voxel index to RAS mm, shape (4, 4).
        """
        self._require_worker()
        segment = None if stiffness is None else self._pending.put({"stiffness": (stiffness, affine)})
        return self._send(protocol.Stiffness, segment=segment)

    def annotate(self, arrays: Arrays) -> int:
        """Replace labels and landmarks by those in `arrays`, with the names of `protocol.Open.segment`."""
        self._require_worker()
        return self._send(protocol.Annotate, segment=self._pending.put(arrays) if arrays else None)

    def cancel(self) -> int:
        """Cancel all computations and waiting requests."""
        return self._send(protocol.Cancel)

    def close(self) -> None:
        """End the worker; it is not restarted."""
        self._closing = True
        if not self._alive:
            self._answer_lost("it was closed")
            self._set_status(WorkerState.CLOSED, "The worker has been closed.")
        else:
            self._pending.send(protocol.Close, self._clock.time)

    def started(self) -> list[Event]:
        """Handle the start of a worker; after a loss it gets the pair and the last answered setting."""
        self._alive, self._kill_reason, self._reader = True, "", LineReader()
        waiting = self._pending.take()
        hello = {"protocol": protocol.PROTOCOL, "folder": self._folder, "client": self._client}
        self._pending.send_first(protocol.Hello, self._clock.time, **hello)
        if self.status.state is WorkerState.RESTARTING:
            self._pending.restore(self._clock.time)
        else:
            self._set_status(WorkerState.STARTING, "The worker is starting.")
        self._pending.extend(waiting)
        return self._take_events()

    def feed(self, data: bytes) -> list[Event]:
        """Handle bytes of the worker's standard output."""
        for line in self._reader.feed(data):
            if self._kill_reason:
                break
            try:
                message = read_answer(line)
            except Unreadable as error:
                self._on_unreadable(error)
            else:
                self._garbage = 0
                self._on_message(message)
        return self._take_events()

    def feed_log(self, data: bytes) -> list[Event]:
        """Handle bytes of the worker's standard error, whose last lines explain its end."""
        for text in self._error_output.feed(data):
            self._emit(protocol.Log(level="debug", text=text))
        return self._take_events()

    def ended(self, code: int | None) -> list[Event]:
        """Handle the end of the worker (exit code, negative for a signal, None if unknown), or its failure to start."""
        reason = self._kill_reason or self._error_output.reason(code)
        if self._closing or not self._kill_reason:
            self._answer_lost(reason)
        self._alive, self._losses = False, self._losses + 1
        self._store.sweep("w")
        if self._closing:
            self._set_status(WorkerState.CLOSED, "The worker has been closed.")
        elif self.status.state is WorkerState.FAILED or self._losses > MAX_LOSSES:
            self._answer_lost(reason)
            self._set_status(WorkerState.FAILED, f"The worker cannot be kept running: {_clause(reason)}.")
        else:
            if not self._kill_reason:
                self._set_restarting(reason)
            self._events.append(StartWorker())
        return self._take_events()

    def tick(self, now: float) -> list[Event]:
        """Check the deadlines at `now`, in seconds of any clock; pauses of the client and jumps do not count."""
        step = self._clock.tick(now)
        if abs(step) > 5 * MAX_TICK:
            self._emit(protocol.Log(level="info", text=f"Resumed after a jump of the clock by {step:.0f} s."))
        oldest = self._pending.newest() if self._closing else self._pending.oldest()
        if oldest is not None and self._alive and not self._kill_reason:
            request, since = oldest
            silence = self._clock.time - since if self._closing else self._clock.silence(since)
            if silence > self._deadlines.of(request.verb):
                self._kill(f"no sign of life for {silence:.0f} s during {request.verb}")
        return self._take_events()

    def restart(self) -> list[Event]:
        """Restart the worker at the user's request."""
        self._losses, self._closing = 0, False
        self._set_status(WorkerState.RESTARTING, "The worker is started again.")
        if self._alive:
            self._kill("a restart was requested")
        else:
            self._events.append(StartWorker())
        return self._take_events()

    def take(self) -> bytes:
        """Return the bytes for the worker's standard input and clear them."""
        return b"".join(self._pending.take()) if self._alive and not self._kill_reason else b""

    def _send(self, kind: type, **fields: Any) -> int:
        self._require_worker()
        return self._pending.send(kind, self._clock.time, **fields).id

    def _require_worker(self) -> None:
        if self.status.state in (WorkerState.FAILED, WorkerState.CLOSED):
            raise InputError("worker", got=self.status.words, expected="one that runs", remedy="start it again")

    def _on_message(self, message: Any) -> None:
        if isinstance(message, _SIGNS_OF_LIFE):
            self._clock.mark_active()
        arrays: Arrays = {}
        if isinstance(message, ReplyMessage | UncertaintyMessage):
            message, arrays = self._received(message)
            if message is None:
                return
        is_answer = hasattr(message, "id") and not isinstance(message, protocol.ProgressReport | UncertaintyMessage)
        request = None
        if is_answer and message.id is not None and not getattr(message, "improvement", False):
            request = self._pending.pop(message.id)
            if request is None:
                return  # already answered, or of an earlier worker
            pair = self._pending.pair
            if isinstance(request, Open) and pair is not None and request is not pair:
                message = Superseded(id=request.id, by=pair.id)
        self._emit(message, arrays)
        if request is not None:
            self._after(message, request)

    def _received(self, reply: ReplyMessage | UncertaintyMessage) -> tuple[Any, Arrays]:
        """Copy the arrays of a message and release its segment; None instead of the message if it is outdated."""
        is_answer = isinstance(reply, ReplyMessage) and not reply.improvement
        if isinstance(reply, UncertaintyMessage):
            outdated = reply.id < self._pending.last_update
        else:
            outdated = reply.improvement and reply.id != self._pending.last_update
        try:
            arrays = {} if outdated else self._store.get(reply.segment)
        except InputError as error:
            lost = Error(id=reply.id, code="worker", what=error.what, got=error.got, expected=error.expected)
            return (lost if is_answer else None), {}
        finally:
            self._pending.send_unanswered(protocol.Release(slot=reply.segment.slot))
        self._losses = 0
        return (None if outdated else reply), arrays

    def _after(self, message: Any, request: Any) -> None:
        """Update the state of the conversation after an answer."""
        if isinstance(message, Error):
            self._after_error(message, request)
        elif isinstance(message, ReplyMessage | protocol.Opened):
            self._answered = dict(message.setting)
        if isinstance(message, protocol.Opened):
            self.setting = self._answered | self.setting
            self._set_status(WorkerState.OPEN, "The pair is open.")
        elif isinstance(message, protocol.Ready) and self._pending.pair is not None:
            self._set_status(WorkerState.OPENING, "The pair is being opened.")
        elif isinstance(message, protocol.Ready):
            self._set_status(WorkerState.READY, "The worker is ready.")
        elif isinstance(message, ReplyMessage | protocol.Done) and isinstance(
            request, Update | protocol.Stiffness | protocol.Annotate
        ):
            self._pending.keep(request)
        if isinstance(request, Update):
            self._pending.send_held(self._clock.time)
        self._pending.release_slots()

    def _after_error(self, error: Error, request: Any) -> None:
        self._pending.forget(request)  # refused requests are not repeated after a restart
        if isinstance(request, protocol.Hello):
            self._fail(error.words())
        elif isinstance(request, Open):
            self._set_status(WorkerState.READY, f"The pair was not opened: {_clause(error.words())}.")
        elif isinstance(request, Update | protocol.Commit):
            self.setting = dict(self._answered)

    def _fail(self, reason: str) -> None:
        self._set_status(WorkerState.FAILED, f"The worker cannot be used: {_clause(reason)}.")
        self._kill(reason)

    def _on_unreadable(self, error: Unreadable) -> None:
        self._garbage += 1
        self._emit(protocol.Log(level="warning", text=f"The worker sent an unreadable line. {error}"))
        if error.what == "protocol":
            self._fail(str(error))
        elif self._garbage > MAX_GARBAGE:
            self._kill("it sent only unreadable lines")

    def _answer_lost(self, reason: str) -> None:
        """Answer all pending requests with an error."""
        for id_ in self._pending.clear():
            self._emit(Error(id=id_, code="worker", what="the worker was lost", got=reason[:4096]))
        self._pending.release_slots()
        self.setting = dict(self._answered)

    def _kill(self, reason: str) -> None:
        """Kill the worker; later requests are for the next one."""
        if self._alive and not self._kill_reason:
            self._kill_reason = reason
            self._events.append(KillWorker())
            self._answer_lost(reason)
            if not self._closing and self.status.state not in (WorkerState.FAILED, WorkerState.RESTARTING):
                self._set_restarting(reason)

    def _set_restarting(self, reason: str) -> None:
        words = f"The worker was lost: {_clause(reason)}. It is started again with the same pair."
        self._set_status(WorkerState.RESTARTING, words)

    def _emit(self, message: Checked, arrays: Arrays | None = None) -> None:
        self._events.append(Arrived(message=message, arrays=arrays or {}))

    def _set_status(self, state: WorkerState, words: str) -> None:
        self.status = WorkerStatus(state=state, words=words)
        self._events.append(self.status)

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _clause(text: str) -> str:
    """Return a sentence without its full stop."""
    return text.rstrip(". ")

"""The work of a live worker: requests in order, and improvements, uncertainty, choice and sweep in the background."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from SPRCore.config import check_name, finite
from SPRCore.errors import ConvergenceError, InputError, OutputError, is_out_of_memory
from SPRCore.live import protocol
from SPRCore.live.arrays import SegmentStore
from SPRCore.live.events import Arrays
from SPRCore.live.parts import ReplySummary, Segment, UncertaintySummary
from SPRCore.live.protocol import Error, ProgressReport, ReplyMessage, UncertaintyMessage
from SPRCore.live.request_queue import QueuedRequest, RequestQueue
from SPRCore.live.schema import Checked

logger = logging.getLogger("SPRCore")

BEAT = 1.0
"""Seconds between two signs of life of a long computation."""


REST = 0.05
"""Seconds without a request before background work: a running step cannot be stopped for some hundredths of a second,
which would delay the next preview while a slider moves."""

_STARTS_WORK = (
    *(protocol.Update, protocol.Commit, protocol.ToggleSweep, protocol.ToggleUncertainty),
    protocol.Choose,
)
_NEEDS_PAIR = (protocol.Update, protocol.Commit, protocol.Choose, protocol.Stiffness, protocol.Annotate)
_SHARED = tuple(ReplySummary.__dataclass_fields__)
_OF_UNCERTAINTY = tuple(UncertaintySummary.__dataclass_fields__)


class Backend(Protocol):
    """Opens sessions; `SPRCore.live.backend.TorchBackend` outside of tests."""

    stopped: type[Exception]
    """Raised by a session that was stopped."""

    def describe(self) -> dict[str, Any]:
        """Return `version`, `torch`, `device` and `threads`."""
        ...

    def open(self, request: protocol.Open, arrays: Arrays) -> Any:
        """Open a `LiveSession` or an equivalent."""
        ...

    def prior(self, session: Any) -> str:
        """Return the name of the prior of a session."""
        ...

    def volume(self, arrays: Arrays, name: str) -> Any:
        """Return an array as a volume; None if it is missing."""
        ...

    def annotations(self, arrays: Arrays) -> Any:
        """Return labels and landmarks as a session takes them."""
        ...


class Service:
    """Answers requests in the thread that calls `run`.

    Args:
        queue: Waiting requests.
        send: Sends a message to the client.
        backend: Opens sessions.
        pid: Number of the process.

    Attributes:
        store: Segments of the session folder; None before `hello`.
        session: The open session, or None.
    """

    def __init__(self, queue: RequestQueue, send: Callable[[Checked], None], backend: Backend, pid: int) -> None:
        self.store: SegmentStore | None = None
        self._queue, self._send, self._backend, self._pid = queue, send, backend, pid
        self.session: Any = None
        self._improved: QueuedRequest | None = None  # the update whose improvements are computed
        self._choice: QueuedRequest | None = None
        self._sweeps, self._estimates, self._idle_sent = False, False, True
        self._answered: QueuedRequest | None = None  # the last update or commit with an answer
        self._estimable: QueuedRequest | None = None  # the one whose uncertainty is computed
        self._last_sign, self._stopped_by = 0.0, None
        self._fraction: float | None = None
        self._rest_end = 0.0

    def run(self) -> None:
        """Work until the client closes or disconnects."""
        while not self._queue.is_disconnected:
            self._send_idle()
            rest_s = self._rest_end - time.monotonic()
            item = self._queue.take(has_background=self._has_background, rest_s=rest_s)
            if item is not None:
                self._answer(item)
                if isinstance(item.request, protocol.Close):
                    break
            elif self._has_background:
                self._work_in_background()
        self._close_pair()

    def _send_idle(self) -> None:
        if not self._idle_sent and not self._has_background and not self._queue.has_requests:
            self._idle_sent = True
            self._send(protocol.Idle())

    @property
    def _has_background(self) -> bool:
        items = (self._improved, self._estimable, self._choice)
        return self.session is not None and (self._sweeps or any(item is not None for item in items))

    def _answer(self, item: QueuedRequest) -> None:
        """Answer a request; errors become answers."""
        request = item.request
        self._idle_sent &= not isinstance(request, _STARTS_WORK)
        try:
            self._check(request)
            getattr(self, f"_{request.verb}")(item)
            return
        except self._backend.stopped:
            if self._stopped_by:
                self._send(protocol.Superseded(id=request.id, by=self._stopped_by))
            return
        except Exception as error:
            answer = _as_error(request.id, error)
        self._send_error(answer)

    def _check(self, request: Any) -> None:
        if self.store is None and not isinstance(request, protocol.Hello):
            raise _OutOfOrder("a conversation begins with hello", request.verb)
        if self.session is None and isinstance(request, _NEEDS_PAIR):
            raise InputError(request.verb, got="no pair that is open", expected="open first")
        if isinstance(request, (protocol.Update, protocol.Commit)):
            for name in request.setting:
                check_name(name, self.session.setting, "setting")

    def _work_in_background(self) -> None:
        """Do one step of the improvements, the uncertainty, the choice or the sweep, in this order.

        The uncertainty of a preview is shown before the exact result, if that takes much longer.
        """
        estimable = self._estimable if self._improved is None or self.session.has_stages else None
        choice = self._choice if self._improved is estimable is None else None
        try:
            if choice is not None:
                self._choose_in_background()
            elif estimable is not None:
                self._estimate()
            elif self._improved is not None:
                self._improve()
            else:
                self._sweep_in_background()
            return
        except self._backend.stopped:
            return
        except Exception as error:
            answer = _as_error(None if choice is None else choice.request.id, error)
        if estimable is not None:
            self._estimable = None
        elif choice is None:
            self._improved, self._sweeps = None, False
        self._send_error(answer)

    def _send_error(self, answer: Error) -> None:
        gc.collect()  # outside of the handler, whose traceback refers to the unfinished work
        self._send(answer)

    def _hello(self, item: QueuedRequest) -> None:
        if self.store is not None:
            raise _OutOfOrder("a conversation has one hello", "another")
        self.store = SegmentStore(Path(item.request.folder), "w", self._pid)
        logger.info("A conversation with %s.", item.request.client or "a client")
        facts = self._backend.describe()
        self._send(protocol.Ready(id=item.request.id, protocol=protocol.PROTOCOL, pid=self._pid, **facts))

    def _open(self, item: QueuedRequest) -> None:
        self._cancel_choice(item.request)
        self._close_pair()
        start = time.perf_counter()
        arrays = self.store.get(item.request.segment)
        self.session = self._backend.open(item.request, arrays)
        self.session.on_progress = self._set_fraction
        session = self.session
        facts = {"setting": dict(session.setting), "ranges": dict(session.ranges), "trained": dict(session.trained)}
        facts |= {"prior": self._backend.prior(self.session), "milliseconds": 1e3 * (time.perf_counter() - start)}
        pair = self.session.pair
        facts |= {"init": pair.alignment.mode, "init_reason": pair.alignment.reason}
        facts |= {"init_mm": pair.aligned_mm, "covered": pair.covered, "similarity": pair.similarity}
        self._send(protocol.Opened(id=item.request.id, **facts))

    def _update(self, item: QueuedRequest) -> None:
        self._improved = None
        self._reply(item, self.session.update(should_stop=self._stopper(item.request), **item.request.setting))
        self._improved = item if item.request.improve else None
        self._set_answered(item, item.request.improve)
        self._rest_end = time.monotonic() + REST

    def _commit(self, item: QueuedRequest) -> None:
        stop, improved, self._improved = self._stopper(item.request), self._improved, None
        if dict(self.session.setting) != dict(self.session.setting) | item.request.setting:
            self.session.update(should_stop=stop, **item.request.setting)
        elif improved is not None:  # shown before inverse and metrics, which may take longer
            while (reply := self.session.improve(should_stop=stop)) is not None:
                if self._queue.has_free_slot:
                    self._reply(improved, reply, improvement=True)
        self._reply(item, self.session.commit(should_stop=stop))
        self._set_answered(item)

    def _set_answered(self, item: QueuedRequest | None, is_final: bool = True) -> None:
        """Set the last update or commit with an answer; its uncertainty is computed if that is on and it is final."""
        self._answered = item
        self._estimable = item if self._estimates and is_final else None

    def _uncertainty(self, item: QueuedRequest) -> None:
        self._estimates = item.request.on
        self._set_answered(self._answered)
        self._send(protocol.Done(id=item.request.id))

    def _stiffness(self, item: QueuedRequest) -> None:
        arrays = {} if item.request.segment is None else self.store.get(item.request.segment)
        self.session.set_stiffness(self._backend.volume(arrays, "stiffness"))
        self._set_answered(None)
        self._send(protocol.Done(id=item.request.id))

    def _annotate(self, item: QueuedRequest) -> None:
        arrays = {} if item.request.segment is None else self.store.get(item.request.segment)
        self.session.set_annotations(self._backend.annotations(arrays))
        self._set_answered(self._answered)
        self._send(protocol.Done(id=item.request.id))

    def _sweep(self, item: QueuedRequest) -> None:
        self._sweeps = item.request.on
        self._send(protocol.Done(id=item.request.id))

    def _choose(self, item: QueuedRequest) -> None:
        self._cancel_choice(item.request)
        self._choice = item

    def _cancel_choice(self, by: Any) -> None:
        item, self._choice = self._choice, None
        if item is not None:
            self._send(protocol.Superseded(id=item.request.id, by=by.id))

    def _cancel(self, item: QueuedRequest) -> None:
        self._cancel_choice(item.request)
        self._improved, self._estimable, self._sweeps = None, None, False
        self._send(protocol.Done(id=item.request.id))

    def _close(self, item: QueuedRequest) -> None:
        self._cancel_choice(item.request)
        self._close_pair()
        self._send(protocol.Done(id=item.request.id))

    def _choose_in_background(self) -> None:
        """Continue the choice; if stopped, it is resumed later."""
        item, self._choice = self._choice, None
        try:
            chosen = self.session.choose(should_stop=self._stopper(item.request))
        except self._backend.stopped:
            self._choice = item
            raise
        self._send(protocol.Chosen(id=item.request.id, **vars(chosen)))

    def _improve(self) -> None:
        reply = self.session.improve(should_stop=self._stopper(None))
        if reply is None:
            self._improved = None
        else:
            self._reply(self._improved, reply, improvement=True)
            if reply.exact:
                self._set_answered(self._improved)

    def _estimate(self) -> None:
        reply, item = self.session.uncertainty(should_stop=self._stopper(None)), self._estimable
        self._estimable = None

        def message(segment: Segment) -> UncertaintyMessage:
            fields = {name: getattr(reply, name) for name in _OF_UNCERTAINTY} | {"metrics": finite(reply.metrics)}
            return UncertaintyMessage(id=item.request.id, segment=segment, **fields)

        self._send_arrays({"uncertainty": (reply.uncertainty.array, reply.uncertainty.affine)}, message)

    def _sweep_in_background(self) -> None:
        point = self.session.sweep_step(should_stop=self._stopper(None))
        self._sweeps = point is not None
        if point is not None:
            self._send(point)

    def _reply(self, item: QueuedRequest, reply: Any, improvement: bool = False) -> None:
        """Write the arrays of a reply into a segment and send it; inverse, image and metrics for a commit only."""
        is_commit = isinstance(item.request, protocol.Commit)
        names = ("displacement", "weight", "inverse", "warped") if is_commit else ("displacement", "weight")

        def message(segment: Segment) -> ReplyMessage:
            fields = {name: getattr(reply, name) for name in _SHARED}
            fields |= {"setting": dict(reply.setting)}
            fields |= {"metrics": finite(reply.metrics)} if is_commit else {"metrics": {}, "warnings": ()}
            age_ms = 1e3 * (time.perf_counter() - item.arrived)
            return ReplyMessage(id=item.request.id, improvement=improvement, age_ms=age_ms, segment=segment, **fields)

        self._send_arrays({name: (getattr(reply, name).array, getattr(reply, name).affine) for name in names}, message)

    def _send_arrays(self, arrays: Arrays, message: Callable[[Segment], Checked]) -> None:
        """Write arrays into a free segment and send the message with it."""
        slot = self._queue.acquire_slot()
        if slot is None:
            return
        try:
            self._send(message(self.store.put(slot, arrays)))
        except BaseException:
            self._queue.return_slot(slot)
            raise

    def _set_fraction(self, fraction: float) -> None:
        self._fraction = min(max(fraction, 0.0), 1.0)

    def _stopper(self, request: Any) -> Callable[[], bool]:
        """Return the `should_stop` of a computation, which also sends its signs of life."""
        self._last_sign, self._stopped_by, self._fraction = time.monotonic(), None, None
        # During improvements a waiting choice gives signs of life, too.
        is_waiting = request is None and self._choice is not None
        reported = self._choice.request if is_waiting else request

        def should_stop() -> bool:
            if reported is not None and time.monotonic() - self._last_sign > BEAT:
                self._last_sign = time.monotonic()
                state = {"stage": "waiting"} if is_waiting else {"stage": "computing", "fraction": self._fraction}
                self._send(ProgressReport(id=reported.id, **state))
            self._stopped_by = self._queue.superseded_by(request)
            return self._stopped_by is not None

        return should_stop

    def _close_pair(self) -> None:
        session, self.session = self.session, None
        self._improved, self._sweeps = None, False
        self._set_answered(None)
        if session is not None:
            session.close()


class _OutOfOrder(InputError):
    """A request at the wrong time."""

    def __init__(self, rule: str, verb: str) -> None:
        super().__init__("order of requests", got=verb, expected=rule)


def _as_error(request: int | None, error: Exception) -> Error:
    if is_out_of_memory(error):
        remedy = "close other programs or give smaller images"
        return Error(id=request, code="memory", what="not enough memory", remedy=remedy)
    kinds = {_OutOfOrder: "protocol", InputError: "input", OutputError: "memory", ConvergenceError: "computation"}
    for kind, code in kinds.items():
        if isinstance(error, kind):
            parts = {name: getattr(error, name)[:4096] for name in ("what", "got", "expected", "remedy")}
            return Error(id=request, code=code, **parts)
    logger.error("A fault of the program.", exc_info=error)
    got = f"{type(error).__name__}: {error}"[:4096]
    return Error(id=request, code="fault", what="the worker", got=got, remedy="please report it with the log")

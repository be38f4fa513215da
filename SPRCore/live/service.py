"""What a live worker does: one request after the other, and better results and the map of settings in between."""

from __future__ import annotations

import dataclasses
import gc
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from SPRCore.config import check_name, finite
from SPRCore.errors import ConvergenceError, InputError, OutputError, is_out_of_memory
from SPRCore.live import protocol
from SPRCore.live.arrays import Store
from SPRCore.live.desk import Desk, Job
from SPRCore.live.events import Arrays
from SPRCore.live.protocol import Error, Measures, Progress, Result
from SPRCore.live.schema import Checked

logger = logging.getLogger("SPRCore")

BEAT = 1.0
"""Seconds between two signs of life of a long computation."""


REST = 0.05
"""Seconds without a new request after which a slider rests: before, a better result would only be in the way of the
next preview, since what computes can be left only every few hundredths of a second."""

_LEADS_TO_WORK = (protocol.Update, protocol.Commit, protocol.Sweep, protocol.Choose)
_OF_A_PAIR = (protocol.Update, protocol.Commit, protocol.Choose, protocol.Stiffness, protocol.Annotate)


class Backend(Protocol):
    """Opens sessions; `SPRCore.live.backend.TorchBackend` outside of tests."""

    superseded: type[Exception]
    """What a session raises when it is stopped."""

    def describe(self) -> dict[str, Any]:
        """Return `version`, `torch`, `device` and `threads`."""
        ...

    def open(self, request: protocol.Open, arrays: Arrays) -> Any:
        """Open a session, a `LiveSession` or what behaves like one."""
        ...

    def prior(self, session: Any) -> str:
        """Return the name of the prior of a session."""
        ...

    def volume(self, arrays: Arrays, name: str) -> Any:
        """Return an array as a volume; None if it is not there."""
        ...

    def annotations(self, arrays: Arrays) -> Any:
        """Return labels and landmarks as a session takes them."""
        ...


class Service:
    """Answers requests; everything happens in the thread that calls `run`.

    Args:
        desk: Where requests wait.
        say: Sends a message to the client.
        backend: Opens sessions.
        pid: Number of the process.
    """

    def __init__(self, desk: Desk, say: Callable[[Checked], None], backend: Backend, pid: int) -> None:
        self.store: Store | None = None
        self._desk, self._say, self._backend, self._pid = desk, say, backend, pid
        self._session: Any = None
        self._shown: Job | None = None  # the update that can be improved
        self._choice: Job | None = None  # the choice that is asked for
        self._sweeps, self._told_idle = False, True
        self._beaten, self._stopped_by = 0.0, None
        self._fraction: float | None = None
        self._rests_at = 0.0

    def run(self) -> None:
        """Work until the client closes or is gone."""
        while not self._desk.is_over:
            self._tell_idle()
            job = self._desk.take(has_background=self._has_background, rest_s=self._rests_at - time.monotonic())
            if job is None and self._has_background:
                if self._shown is None and self._choice is not None:
                    self._guarded(self._choice.request, self._choose_on)
                else:
                    self._guarded(None, self._work_on)
            elif job is not None:
                self._told_idle &= not isinstance(job.request, _LEADS_TO_WORK)
                self._guarded(job.request, self._answer, job)
                if isinstance(job.request, protocol.Close):
                    break
        self._close_pair()

    def _tell_idle(self) -> None:
        if not self._told_idle and not self._has_background and not self._desk.has_requests:
            self._told_idle = True
            self._say(protocol.Idle())

    @property
    def _has_background(self) -> bool:
        has_work = self._shown is not None or self._choice is not None or self._sweeps
        return self._session is not None and has_work

    def _guarded(self, request: Any, function: Callable, *arguments: Any) -> None:
        """Call a function; whatever goes wrong becomes an answer."""
        try:
            function(*arguments)
            return
        except self._backend.superseded:
            if request is not None and self._stopped_by:
                self._say(protocol.Superseded(id=request.id, by=self._stopped_by))
            return
        except Exception as error:
            answer = _as_error(None if request is None else request.id, error)
        gc.collect()  # what was half computed goes before anything else is tried
        if request is None:
            self._shown, self._sweeps = None, False
        self._say(answer)

    def _answer(self, job: Job) -> None:
        request = job.request
        if self.store is None and not isinstance(request, protocol.Hello):
            raise _NotNow("a conversation begins with hello", request.verb)
        if self._session is None and isinstance(request, _OF_A_PAIR):
            raise InputError(request.verb, got="no pair that is open", expected="open first")
        if isinstance(request, (protocol.Update, protocol.Commit)):
            for name in request.setting:
                check_name(name, self._session.setting, "setting")
        getattr(self, f"_{request.verb}")(job)

    def _hello(self, job: Job) -> None:
        if self.store is not None:
            raise _NotNow("a conversation has one hello", "another")
        self.store = Store(Path(job.request.folder), "w", self._pid)
        logger.info("A conversation with %s.", job.request.client or "a client")
        facts = self._backend.describe()
        self._say(protocol.Ready(id=job.request.id, protocol=protocol.PROTOCOL, pid=self._pid, **facts))

    def _open(self, job: Job) -> None:
        self._give_up_choice(job.request)
        self._close_pair()
        start = time.perf_counter()
        arrays = self.store.get(job.request.segment)
        self._session = self._backend.open(job.request, arrays)
        self._session.on_progress = self._note_progress
        facts = {"setting": dict(self._session.setting), "ranges": dict(self._session.ranges)}
        facts |= {"prior": self._backend.prior(self._session), "milliseconds": 1e3 * (time.perf_counter() - start)}
        pair = self._session.pair
        facts |= {"init": pair.alignment.mode, "init_reason": pair.alignment.reason}
        facts |= {"init_mm": pair.aligned_mm, "covered": pair.covered}
        self._say(protocol.Opened(id=job.request.id, **facts))

    def _update(self, job: Job) -> None:
        self._shown = None
        reply = self._session.update(should_stop=self._stopper(job.request), **job.request.setting)
        self._send(job, reply)
        self._shown = job if job.request.improve else None
        self._rests_at = time.monotonic() + REST

    def _commit(self, job: Job) -> None:
        stop, shown, self._shown = self._stopper(job.request), self._shown, None
        if dict(self._session.setting) != dict(self._session.setting) | job.request.setting:
            self._session.update(should_stop=stop, **job.request.setting)
        elif shown is not None:  # inverse and metrics may take longer than the rest, so what is there is shown
            while (reply := self._session.improve(should_stop=stop)) is not None:
                if self._desk.has_place:
                    self._send(shown, reply, improvement=True)
        self._send(job, self._session.commit(should_stop=stop))

    def _stiffness(self, job: Job) -> None:
        arrays = {} if job.request.segment is None else self.store.get(job.request.segment)
        self._session.set_stiffness(self._backend.volume(arrays, "stiffness"))
        self._say(protocol.Done(id=job.request.id))

    def _annotate(self, job: Job) -> None:
        arrays = {} if job.request.segment is None else self.store.get(job.request.segment)
        self._session.set_annotations(self._backend.annotations(arrays))
        self._say(protocol.Done(id=job.request.id))

    def _sweep(self, job: Job) -> None:
        self._sweeps = job.request.on
        self._say(protocol.Done(id=job.request.id))

    def _choose(self, job: Job) -> None:
        self._give_up_choice(job.request)
        self._choice = job

    def _choose_on(self) -> None:
        """Go on with a choice; given up for something else, it is gone on with afterwards."""
        job, self._choice = self._choice, None
        try:
            chosen = self._session.choose(should_stop=self._stopper(job.request))
        except self._backend.superseded:
            self._choice = job
            return
        self._say(protocol.Chosen(id=job.request.id, **vars(chosen) | {"setting": dict(chosen.setting)}))

    def _give_up_choice(self, by: Any) -> None:
        job, self._choice = self._choice, None
        if job is not None:
            self._say(protocol.Superseded(id=job.request.id, by=by.id))

    def _cancel(self, job: Job) -> None:
        self._give_up_choice(job.request)
        self._shown, self._sweeps = None, False
        self._say(protocol.Done(id=job.request.id))

    def _close(self, job: Job) -> None:
        self._give_up_choice(job.request)
        self._close_pair()
        self._say(protocol.Done(id=job.request.id))

    def _work_on(self) -> None:
        stop = self._stopper(None)
        if self._shown is not None:
            reply = self._session.improve(should_stop=stop)
            if reply is None:
                self._shown = None
            else:
                self._send(self._shown, reply, improvement=True)
            return
        point = self._session.sweep_step(should_stop=stop)
        self._sweeps = point is not None
        if point is not None:
            values = finite(dataclasses.asdict(point))
            self._say(protocol.Point(**values | {"quality": Measures(**values["quality"])}))

    def _send(self, job: Job, reply: Any, improvement: bool = False) -> None:
        fields = {"displacement": reply.displacement, "weight": reply.weight}
        fields |= {
            name: getattr(reply, name) for name in ("inverse", "warped") if isinstance(job.request, protocol.Commit)
        }
        place = self._desk.place()
        if place is None:
            return
        try:
            segment = self.store.put(place, {name: (item.array, item.affine) for name, item in fields.items()})
            self._say(
                Result(
                    id=job.request.id,
                    improvement=improvement,
                    exact=reply.exact,
                    weight_known=reply.weight_known,
                    stage=reply.stage,
                    milliseconds=reply.milliseconds,
                    age_ms=1e3 * (time.perf_counter() - job.arrived),
                    setting=dict(reply.setting),
                    quality=Measures(**finite(dataclasses.asdict(reply.quality))),
                    segment=segment,
                    metrics=finite(reply.metrics) if isinstance(job.request, protocol.Commit) else {},
                    warnings=tuple(reply.warnings) if isinstance(job.request, protocol.Commit) else (),
                )
            )
        except BaseException:
            self._desk.give_back(place)
            raise

    def _note_progress(self, fraction: float) -> None:
        self._fraction = min(max(fraction, 0.0), 1.0)

    def _stopper(self, request: Any) -> Callable[[], bool]:
        self._beaten, self._stopped_by, self._fraction = time.monotonic(), None, None
        # While something else is computed in the background, a choice that waits gives signs of life, too.
        is_waiting = request is None and self._choice is not None
        told = self._choice.request if is_waiting else request

        def should_stop() -> bool:
            if told is not None and time.monotonic() - self._beaten > BEAT:
                self._beaten = time.monotonic()
                at = {"stage": "waiting"} if is_waiting else {"stage": "computing", "fraction": self._fraction}
                self._say(Progress(id=told.id, **at))
            self._stopped_by = self._desk.stops(request)
            return self._stopped_by is not None

        return should_stop

    def _close_pair(self) -> None:
        session, self._session = self._session, None
        self._shown, self._sweeps = None, False
        if session is not None:
            session.close()


class _NotNow(InputError):
    """A request that is out of place."""

    def __init__(self, rule: str, verb: str) -> None:
        super().__init__("order of requests", got=verb, expected=rule)


def _as_error(request: int | None, error: Exception) -> Error:
    if is_out_of_memory(error):
        remedy = "close other programs or give smaller images"
        return Error(id=request, code="memory", what="not enough memory", remedy=remedy)
    kinds = {_NotNow: "protocol", InputError: "input", OutputError: "memory", ConvergenceError: "computation"}
    for kind, code in kinds.items():
        if isinstance(error, kind):
            parts = {name: getattr(error, name)[:4096] for name in ("what", "got", "expected", "remedy")}
            return Error(id=request, code=code, **parts)
    logger.error("A fault of the program.", exc_info=error)
    got = f"{type(error).__name__}: {error}"[:4096]
    return Error(id=request, code="fault", what="the worker", got=got, remedy="please report it with the log")

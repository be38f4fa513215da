"""The client's half of the conversation with a live worker, whatever carries the bytes.

`QProcess`, `subprocess` or a test moves the bytes, tells the time, starts and kills the process; everything else
happens here. Neither torch nor Qt is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.live import protocol
from SPRCore.live.arrays import Session
from SPRCore.live.events import (
    LONGEST_TICK,
    Arrays,
    Arrived,
    Deadlines,
    Event,
    Kill,
    LastWords,
    Start,
    State,
    Status,
    Watch,
)
from SPRCore.live.ledger import Ledger
from SPRCore.live.protocol import Error, Open, Result, Superseded, Update
from SPRCore.live.schema import Checked
from SPRCore.live.wire import LineReader, Unreadable, read_answer, to_line

MOST_LOSSES = 3
"""A worker that is lost more often than this without a result in between is not started again by itself."""

MOST_GARBAGE = 100
"""A worker that sends more lines than this in a row that cannot be read is killed."""

_SIGNS_OF_LIFE = (
    *(protocol.Ready, protocol.Opened, Result, protocol.Chosen, protocol.Done, protocol.Progress, protocol.Point),
)


class Conversation:
    """Requests and answers in order, deadlines, and a new worker with the same pair when one is lost.

    Every request returns its number at once; every other method returns what there is to tell or to do. Call `tick`
    about once a second or more often, and write what `take` returns after every call. All calls from one thread.

    Requests raise `InputError` where a value is wrong, where too many have no answer, and where the worker has failed
    or was closed; those with arrays raise `OutputError` where there is no memory for them.

    Args:
        session: Folder and segments of the session.
        deadlines: When a worker counts as hung.
        client: Who is asking, for the log of the worker.
    """

    def __init__(self, session: Session, deadlines: Deadlines | None = None, client: str = "") -> None:
        self.status = Status(state=State.OFF, words="The worker has not been started.")
        self.setting: dict[str, float] = {}
        self._reached: dict[str, float] = {}  # the last setting that was answered
        self._store, self._folder, self._client = session.store, str(session.folder), client
        self._deadlines, self._watch, self._ledger = deadlines or Deadlines(), Watch(), Ledger(session.store)
        self._reader, self._last_words = LineReader(), LastWords()
        self._events: list[Event] = []
        self._losses = self._garbage = 0
        self._alive, self._closing, self._killed_for = False, False, ""

    def open(self, arrays: Arrays, **options: Any) -> int:
        """Ask to open a pair.

        Args:
            arrays: As `protocol.Open.segment` says. Their copies are kept for a worker that has to be started again.
            options: Other fields of `protocol.Open`.

        Returns:
            The number of the request.
        """
        self._refuse_if_over()
        request = self._ledger.make(Open, segment=self._ledger.put(arrays), **options)
        self._ledger.remember(request)
        self.setting = self._reached = dict(request.setting)
        if self._alive:
            self._move(State.OPENING, "The pair is being opened.")
        return self._send(request)

    def update(self, improve: bool = True, **setting: float) -> int:
        """Ask for the deformation at a setting.

        Args:
            improve: Whether better ones should follow the preview.
            setting: Hyperparameters to change.

        Returns:
            The number of the request.
        """
        self._refuse_if_over()
        request = self._ledger.make(Update, setting=self.setting | setting, improve=improve)
        self.setting = dict(request.setting)
        replaced = self._ledger.send_update(request, self._watch.time)
        if replaced is not None:
            self._tell(Superseded(id=replaced, by=request.id))
        return request.id

    def commit(self, **setting: float) -> int:
        """Ask for the exact result at a setting.

        Args:
            setting: Hyperparameters to change first.

        Returns:
            The number of the request.
        """
        self._refuse_if_over()
        request = self._ledger.make(protocol.Commit, setting=self.setting | setting)
        self.setting = dict(request.setting)
        return self._send(request)

    def sweep(self, on: bool = True) -> int:
        """Ask to turn the map of settings on or off; return the number of the request."""
        self._refuse_if_over()
        return self._send(self._ledger.make(protocol.Sweep, on=on))

    def choose(self) -> int:
        """Ask for a setting that suits the pair; return the number of the request."""
        self._refuse_if_over()
        return self._send(self._ledger.make(protocol.Choose))

    def paint(self, stiffness: np.ndarray | None, affine: np.ndarray | None = None) -> int:
        """Ask for another painted stiffness.

        Args:
            stiffness: Factor above 0 of the weight of each voxel, shape (X, Y, Z); None for none.
            affine: Its voxel index to RAS mm, shape (4, 4).

        Returns:
            The number of the request.
        """
        self._refuse_if_over()
        segment = None if stiffness is None else self._ledger.put({"stiffness": (stiffness, affine)})
        return self._send(self._ledger.make(protocol.Stiffness, segment=segment))

    def annotate(self, arrays: Arrays) -> int:
        """Ask to measure with other labels and landmarks.

        Args:
            arrays: Those of `protocol.Open.segment` that there are; the ones left out are no longer measured with.

        Returns:
            The number of the request.
        """
        self._refuse_if_over()
        segment = self._ledger.put(arrays) if arrays else None
        return self._send(self._ledger.make(protocol.Annotate, segment=segment))

    def cancel(self) -> int:
        """Ask to give up what is computed or waiting; return the number of the request."""
        self._refuse_if_over()
        return self._send(self._ledger.make(protocol.Cancel))

    def close(self) -> None:
        """Ask the worker to end; it is not started again."""
        self._closing = True
        if not self._alive:
            self._lose("it was closed")
            self._move(State.CLOSED, "The worker has been closed.")
        else:
            self._ledger.send(protocol.Close(id=self._ledger.next_id), self._watch.time)

    def started(self) -> list[Event]:
        """Take note that a worker was started; after a loss it gets the pair and the setting that was answered last."""
        self._alive, self._killed_for, self._reader = True, "", LineReader()
        waiting = self._ledger.take()
        hello = {"protocol": protocol.PROTOCOL, "folder": self._folder, "client": self._client}
        self._ledger.greet(protocol.Hello(id=self._ledger.next_id, **hello), self._watch.time)
        if self.status.state is State.RESTARTING:
            self._ledger.repeat(self._watch.time)
        else:
            self._move(State.STARTING, "The worker is starting.")
        for message in waiting:
            self._ledger.mention(message)
        return self._told()

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes from the worker's standard output."""
        for line in self._reader.feed(data):
            if self._killed_for:
                break
            try:
                message = read_answer(line)
            except Unreadable as error:
                self._hear_garbage(error)
            else:
                self._garbage = 0
                self._hear(message)
        return self._told()

    def feed_log(self, data: bytes) -> list[Event]:
        """Take bytes from the worker's standard error, whose last lines tell why it ended."""
        for text in self._last_words.feed(data):
            self._tell(protocol.Log(level="debug", text=text))
        return self._told()

    def ended(self, code: int | None) -> list[Event]:
        """Take note that the worker has ended, or could not be started.

        Args:
            code: Its exit code; minus the number of the signal that killed it; None if unknown.

        Returns:
            What there is to tell and to do.
        """
        why = self._killed_for or self._last_words.ending(code)
        if self._closing or not self._killed_for:
            self._lose(why)
        self._alive, self._losses = False, self._losses + 1
        self._store.sweep("w")
        if self._closing:
            self._move(State.CLOSED, "The worker has been closed.")
        elif self.status.state is State.FAILED or self._losses > MOST_LOSSES:
            self._lose(why)
            self._move(State.FAILED, f"The worker cannot be kept running: {_part(why)}.")
        else:
            if not self._killed_for:
                self._say_lost(why)
            self._events.append(Start())
        return self._told()

    def tick(self, now: float) -> list[Event]:
        """Take note of the time.

        Args:
            now: Seconds of any clock. Only what looks like time awake counts: jumps of the clock do not, and the worker
                is not blamed for a pause of the client.

        Returns:
            What there is to tell and to do.
        """
        step = self._watch.tick(now)
        if abs(step) > 5 * LONGEST_TICK:
            self._tell(protocol.Log(level="info", text=f"Went on after a jump of the clock by {step:.0f} s."))
        asked = self._ledger.newest() if self._closing else self._ledger.oldest()
        if asked is not None and self._alive and not self._killed_for:
            request, since = asked
            silent = self._watch.time - since if self._closing else self._watch.silent_since(since)
            if silent > self._deadlines.of(request.verb):
                self._kill(f"it gave no sign of life for {silent:.0f} s when asked to {request.verb}")
        return self._told()

    def restart(self) -> list[Event]:
        """Start again because the user wishes so: after a failure, or to get rid of a worker that is at work."""
        self._losses, self._closing = 0, False
        self._move(State.RESTARTING, "The worker is started again.")
        if self._alive:
            self._kill("a new start was asked for")
        else:
            self._events.append(Start())
        return self._told()

    def take(self) -> bytes:
        """Return the bytes to write to the worker's standard input, once."""
        can_hear = self._alive and not self._killed_for
        return b"".join(map(to_line, self._ledger.take())) if can_hear else b""

    def _send(self, request: Any) -> int:
        return self._ledger.send(request, self._watch.time)

    def _refuse_if_over(self) -> None:
        if self.status.state in (State.FAILED, State.CLOSED):
            raise InputError("worker", got=self.status.words, expected="one that runs", remedy="start it again")

    def _hear(self, message: Any) -> None:
        if isinstance(message, _SIGNS_OF_LIFE):
            self._watch.hear()
        arrays: Arrays = {}
        if isinstance(message, Result):
            message, arrays = self._received(message)
            if message is None:
                return
        is_answer = hasattr(message, "id") and not isinstance(message, protocol.Progress)
        asked = None
        if is_answer and message.id is not None and not getattr(message, "improvement", False):
            asked = self._ledger.answer(message.id)
            if asked is None:
                return  # answered before, or asked of a worker that is no more
            pair = self._ledger.pair
            if isinstance(asked, Open) and pair is not None and asked is not pair:
                message = Superseded(id=asked.id, by=pair.id)
        self._tell(message, arrays)
        if asked is not None:
            self._after(message, asked)

    def _received(self, result: Result) -> tuple[Any, Arrays]:
        """Copy the arrays of a result and give its segment back; None in its place if nobody waits for it."""
        stale = result.improvement and result.id != self._ledger.last_update
        try:
            arrays = {} if stale else self._store.get(result.segment)
        except InputError as error:
            lost = Error(id=result.id, code="worker", what=error.what, got=error.got, expected=error.expected)
            return (None if result.improvement else lost), {}
        finally:
            self._ledger.mention(protocol.Release(slot=result.segment.slot))
        self._losses = 0
        return (None if stale else result), arrays

    def _after(self, message: Any, asked: Checked) -> None:
        if isinstance(message, Error):
            self._after_error(message, asked)
        elif isinstance(message, Result | protocol.Opened):
            self._reached = dict(message.setting)
        if isinstance(message, protocol.Opened):
            self.setting = self._reached | self.setting
            self._move(State.OPEN, "The pair is open.")
        elif isinstance(message, protocol.Ready) and self._ledger.pair is not None:
            self._move(State.OPENING, "The pair is being opened.")
        elif isinstance(message, protocol.Ready):
            self._move(State.READY, "The worker is ready.")
        elif isinstance(message, Result | protocol.Done) and isinstance(
            asked, Update | protocol.Stiffness | protocol.Annotate
        ):
            self._ledger.remember(asked)
        if isinstance(asked, Update):
            self._ledger.send_held(self._watch.time)
        self._ledger.tidy()

    def _after_error(self, error: Error, asked: Checked) -> None:
        self._ledger.forget(asked)  # what was refused once is not asked again of the next worker
        if isinstance(asked, protocol.Hello):
            self._fail(error.words())
        elif isinstance(asked, Open):
            self._move(State.READY, f"The pair was not opened: {_part(error.words())}.")
        elif isinstance(asked, Update | protocol.Commit):
            self.setting = dict(self._reached)

    def _fail(self, why: str) -> None:
        self._move(State.FAILED, f"The worker cannot be used: {_part(why)}.")
        self._kill(why)

    def _hear_garbage(self, error: Unreadable) -> None:
        self._garbage += 1
        self._tell(protocol.Log(level="warning", text=f"The worker sent a line that cannot be read. {error}"))
        if error.what == "protocol":
            self._fail(str(error))
        elif self._garbage > MOST_GARBAGE:
            self._kill("it sent nothing that can be read")

    def _lose(self, why: str) -> None:
        for id_ in self._ledger.lose():
            self._tell(Error(id=id_, code="worker", what="the worker was lost", got=why[:4096]))
        self._ledger.tidy()
        self.setting = dict(self._reached)

    def _kill(self, why: str) -> None:
        """Give a worker up; what is asked from now on is for the next one."""
        if self._alive and not self._killed_for:
            self._killed_for = why
            self._events.append(Kill())
            self._lose(why)
            if not self._closing and self.status.state not in (State.FAILED, State.RESTARTING):
                self._say_lost(why)

    def _say_lost(self, why: str) -> None:
        self._move(State.RESTARTING, f"The worker was lost: {_part(why)}. It is started again with the same pair.")

    def _tell(self, message: Checked, arrays: Arrays | None = None) -> None:
        self._events.append(Arrived(message=message, arrays=arrays or {}))

    def _move(self, state: State, words: str) -> None:
        self.status = Status(state=state, words=words)
        self._events.append(self.status)

    def _told(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def _part(text: str) -> str:
    """Return a text as a part of a sentence that ends after it."""
    return text.rstrip(". ")

"""A conversation with a worker simulated by the test, without process and clock."""

from __future__ import annotations

import numpy as np

from SPRCore.live import protocol
from SPRCore.live.arrays import SegmentStore, SessionFolder
from SPRCore.live.conversation import Conversation
from SPRCore.live.events import (
    Arrived,
    Deadlines,
    WorkerStatus,
)
from SPRCore.live.protocol import PROTOCOL, DeformationQuality
from SPRCore.live.wire import read_request, to_line

IMAGE = (np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))
PAIR = {"fixed": IMAGE, "moving": IMAGE}
QUALITY = DeformationQuality(
    folding_percent=0.0, min_jacobian=0.5, max_displacement_mm=1.0, similarity=0.5, weight_gap=0.0
)


class Played:
    """A conversation and its simulated worker."""

    def __init__(self, **deadlines):
        self.session = SessionFolder()
        self.client = Conversation(self.session, Deadlines(**deadlines), client="test")
        self.store = SegmentStore(self.session.folder, "w")
        self.now = 1000.0
        self.events, self.written = [], []

    def start(self):
        self.events += self.client.started()
        (hello,) = self.requests()
        self.send(protocol.Ready(id=hello.id, protocol=PROTOCOL, version="0", torch="", device="cpu", threads=1, pid=1))

    def open(self):
        self.start()
        self.client.open(PAIR)
        self.answer_open()
        self.take_events()

    def answer_open(self, request=None):
        request = request or self.last(protocol.Open)
        ranges = {"alpha": (0.0, 1.0)}
        opened = {"prior": "beta", "setting": {"alpha": 0.1, "lambda_max": 1.0}, "ranges": ranges, "milliseconds": 1.0}
        opened |= {"init": "none", "init_reason": "requested", "init_mm": 0.0, "covered": 1.0}
        self.send(protocol.Opened(id=request.id, **opened))

    def requests(self):
        """Requests written since the last call."""
        requests = [read_request(line) for line in self.client.take().splitlines()]
        self.written += requests
        return requests

    def last(self, kind):
        self.requests()
        return next(request for request in reversed(self.written) if isinstance(request, kind))

    def send(self, *messages):
        self.events += self.client.feed(b"".join(map(to_line, messages)))

    def result(self, id_, value=1.0, improvement=False, place=0, setting=None):
        array = np.full((2, 3, 4, 3), value, dtype=np.float32)
        segment = self.store.put(place, {"displacement": (array, np.eye(4)), "weight": IMAGE})
        rest = {"setting": setting or {"alpha": value}, "quality": QUALITY, "segment": segment, "stage": "preview"}
        numbers = {"milliseconds": 1.0, "age_ms": 2.0, "exact": False, "weight_known": False}
        self.send(protocol.ReplyMessage(id=id_, improvement=improvement, **rest, **numbers))

    def die(self, code=-9):
        self.store = SegmentStore(self.session.folder, "w")
        self.events += self.client.ended(code)

    def pass_time(self, seconds, step=1.0):
        for _ in range(round(seconds / step)):
            self.now += step
            self.events += self.client.tick(self.now)

    def take_events(self):
        events, self.events = self.events + self.client.feed(b""), []
        return events

    def messages(self, kind):
        arrived = [event.message for event in self.take_events() if isinstance(event, Arrived)]
        return [message for message in arrived if isinstance(message, kind)]


def states(events):
    return [event.state for event in events if isinstance(event, WorkerStatus)]

"""A service of a live worker in a thread of the test."""

from __future__ import annotations

import threading
import time

import numpy as np

from SPRCore.live import protocol
from SPRCore.live.arrays import SessionFolder
from SPRCore.live.protocol import (
    PROTOCOL,
    Open,
    Update,
)
from SPRCore.live.request_queue import RequestQueue
from SPRCore.live.service import Service
from SPRCore.live.wire import read_answer, to_line

IMAGE = (np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.eye(4))


class Running:
    """A service in a thread; the test collects its messages and releases segments unless `releases` is False."""

    def __init__(self, backend):
        self.session, self.sent, self.releases = SessionFolder(), [], True
        self.changed = threading.Condition()
        self.queue = RequestQueue(self.hear)
        self.service = Service(self.queue, self.hear, backend, 1)
        self.thread = threading.Thread(target=self.service.run)
        self.thread.start()
        self.ids = 0

    def hear(self, message):
        message = read_answer(to_line(message))
        if isinstance(message, protocol.ReplyMessage | protocol.UncertaintyMessage) and self.releases:
            self.queue.put(protocol.Release(slot=message.segment.slot))
        with self.changed:
            self.sent.append((time.monotonic(), message))
            self.changed.notify_all()

    def ask(self, kind, **fields):
        self.ids += 1
        self.queue.put(kind(id=self.ids, **fields))
        return self.ids

    def open(self):
        self.ask(protocol.Hello, protocol=PROTOCOL, folder=str(self.session.folder))
        segment = self.session.store.put(0, {"fixed": IMAGE, "moving": IMAGE})
        return self.wait(self.ask(Open, segment=segment))

    def update(self, **setting):
        return self.ask(Update, setting=setting)

    def until(self, is_it, seconds=5.0):
        """The first message that satisfies `is_it`."""
        with self.changed:
            found = self.changed.wait_for(lambda: [m for _, m in self.sent if is_it(m)], seconds)
        assert found, [message for _, message in self.sent]
        return found[0]

    def wait(self, number, seconds=5.0):
        others = (protocol.ProgressReport, protocol.UncertaintyMessage)
        return self.until(lambda m: getattr(m, "id", None) == number and not isinstance(m, others), seconds)

    def kinds(self):
        return [message.kind for _, message in self.sent]

    def stop(self):
        self.queue.disconnect()
        self.thread.join(5.0)
        assert not self.thread.is_alive()
        if self.service.store is not None:
            self.service.store.sweep("w")
        self.session.close()

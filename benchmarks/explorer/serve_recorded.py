"""Serves the Explorer and records its events for the benchmark. Arguments: options as JSON, and the file of the events.

Each event is a line of JSON: time (milliseconds since 1970), kind, duration and details.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


class EventLog:
    """Events of one server."""

    def __init__(self, path):
        self._file = Path(path).open("w", encoding="utf-8", buffering=1)
        self.setting = {}
        """Setting of the result in the scene."""

    def add(self, what, took_ms=None, **about):
        event = {"at": time.time() * 1e3, "what": what, "took_ms": took_ms}
        self._file.write(json.dumps(event | about) + "\n")

    def timed(self, kind, method, what, about=lambda *arguments: {}):
        """Record the duration of each call of a method."""
        original = getattr(kind, method)

        def recorded(*arguments, **options):
            start = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                self.add(what, 1e3 * (time.perf_counter() - start), **about(*arguments))

        setattr(kind, method, recorded)


def record_events(log):
    """Record every step between the socket and the image."""
    from SPRRegistrationLib.session import RegistrationSession
    from trame_rca.encoders import RcaImageEncoder
    from trame_rca.utils import RcaViewAdapter
    from trame_slicer.rca_view.rca_view_factory import RcaWindow

    from SPRExplorer.app import Explorer

    def applied(session, message, arrays):
        log.setting = dict(message.setting)
        shape = arrays["displacement"][0].shape[:3]
        about = {"computed_ms": message.milliseconds, "exact": message.exact, "shape": shape}
        return {"setting": log.setting} | about

    def pushed(adapter, content, meta):
        return {"view": adapter.area_name, "bytes": len(content or b""), "setting": log.setting}

    log.timed(Explorer, "_fields_changed", "fields")
    log.timed(Explorer, "_push", "words")
    log.timed(RegistrationSession, "preview", "asked", lambda session, setting: {"setting": dict(setting)})
    log.timed(RegistrationSession, "_on_result", "applied", applied)
    log.timed(RcaImageEncoder, "encode", "encoded")
    log.timed(RcaViewAdapter, "push", "pushed", pushed)
    drawn = RcaWindow.img_cols_rows.fget

    def recorded(window):
        start = time.perf_counter()
        try:
            return drawn(window)
        finally:
            took_ms = 1e3 * (time.perf_counter() - start)
            log.add("drawn", took_ms, view=window.active_view_cursor.partition("_")[0])

    RcaWindow.img_cols_rows = property(recorded)


if __name__ == "__main__":
    os.environ.update(TRAME_ARGS="", WSLINK_WS_COMPRESS="0", WSLINK_READY_MSG="")
    from SPRExplorer import slicer_python

    slicer_python.install()
    record_events(EventLog(sys.argv[2]))
    from SPRExplorer.server import ServerOptions, serve

    options = json.loads(sys.argv[1])
    options["pair"] = tuple(map(Path, options["pair"]))
    serve(ServerOptions(**{"port": 0, "open_browser": False} | options), lambda line: os.write(1, f"{line}\n".encode()))

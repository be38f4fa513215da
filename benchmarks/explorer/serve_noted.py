"""Serves the Explorer and notes what it does, for the benchmark; arguments: options as JSON, and the file of the notes.

Each note is a line of JSON: when (milliseconds since 1970), what, how long it took, and what it was about.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


class Notes:
    """Notes of one server."""

    def __init__(self, path):
        self._file = Path(path).open("w", encoding="utf-8", buffering=1)
        self.setting = {}
        """Setting of the result that the scene holds."""

    def add(self, what, took_ms=None, **about):
        note = {"at": time.time() * 1e3, "what": what, "took_ms": took_ms}
        self._file.write(json.dumps(note | about) + "\n")

    def timed(self, kind, method, what, about=lambda *arguments: {}):
        """Let a method of a class note how long it takes."""
        plain = getattr(kind, method)

        def noted(*arguments, **options):
            start = time.perf_counter()
            try:
                return plain(*arguments, **options)
            finally:
                self.add(what, 1e3 * (time.perf_counter() - start), **about(*arguments))

        setattr(kind, method, noted)


def watch(notes):
    """Let everything between the socket and the picture be noted."""
    from SPRRegistrationLib.session import RegistrationSession
    from trame_rca.encoders import RcaImageEncoder
    from trame_rca.utils import RcaViewAdapter
    from trame_slicer.rca_view.rca_view_factory import RcaWindow

    from SPRExplorer.app import Explorer

    def applied(session, message, arrays):
        notes.setting = dict(message.setting)
        shape = arrays["displacement"][0].shape[:3]
        about = {"computed_ms": message.milliseconds, "exact": message.exact, "shape": shape}
        return {"setting": notes.setting} | about

    def pushed(adapter, content, meta):
        return {"view": adapter.area_name, "bytes": len(content or b""), "setting": notes.setting}

    notes.timed(Explorer, "_fields_changed", "fields")
    notes.timed(Explorer, "_push", "words")
    notes.timed(RegistrationSession, "preview", "asked", lambda session, setting: {"setting": dict(setting)})
    notes.timed(RegistrationSession, "_on_result", "applied", applied)
    notes.timed(RcaImageEncoder, "encode", "encoded")
    notes.timed(RcaViewAdapter, "push", "pushed", pushed)
    drawn = RcaWindow.img_cols_rows.fget

    def noted(window):
        start = time.perf_counter()
        try:
            return drawn(window)
        finally:
            took_ms = 1e3 * (time.perf_counter() - start)
            notes.add("drawn", took_ms, view=window.active_view_cursor.partition("_")[0])

    RcaWindow.img_cols_rows = property(noted)


if __name__ == "__main__":
    os.environ.update(TRAME_ARGS="", WSLINK_WS_COMPRESS="0", WSLINK_READY_MSG="")
    from SPRExplorer import slicer_python

    slicer_python.install()
    watch(Notes(sys.argv[2]))
    from SPRExplorer.server import ServerOptions, serve

    asked = json.loads(sys.argv[1])
    asked["pair"] = tuple(map(Path, asked["pair"]))
    serve(ServerOptions(**{"port": 0, "open_browser": False} | asked), lambda line: os.write(1, f"{line}\n".encode()))

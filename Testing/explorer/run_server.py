"""Serves the Explorer for a test. Argument: options as JSON; `quick` selects a worker that computes nothing."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

if __name__ == "__main__":
    from SPRExplorer.server import ServerOptions, serve

    logging.basicConfig(level=logging.WARNING)
    asked = json.loads(sys.argv[1])
    if asked.pop("quick", False):
        asked["worker"] = (sys.executable, str(HERE / "quick_worker.py"))
    for name in ("folder", "pair"):
        if name in asked:
            asked[name] = Path(asked[name]) if name == "folder" else tuple(map(Path, asked[name]))
    serve(ServerOptions(**{"port": 0, "open_browser": False} | asked), lambda line: os.write(1, f"{line}\n".encode()))

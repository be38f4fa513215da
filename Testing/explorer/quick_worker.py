"""A live worker that computes nothing, for tests of the page: exact results take two seconds."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slicer"))
sys.argv[1:] = ["2.0"]

if __name__ == "__main__":
    from panel_worker import Backend

    from SPRCore.live.worker import main

    if hasattr(signal, "alarm"):
        signal.alarm(900)  # ends a forgotten worker
    sys.exit(main(Backend()))

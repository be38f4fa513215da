"""What Slicer's Python runs as the worker: finds SPRCore beside the module, then serves."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.pop(0)  # the folder of this file, whose names are not meant for the worker
    # Installed, SPRCore lies beside the module; unpacked, one folder higher.
    sys.path[:0] = [str(folder) for folder in (here.parent, here.parent.parent) if (folder / "SPRCore").is_dir()]
    from SPRCore.live.worker import main

    sys.exit(main())

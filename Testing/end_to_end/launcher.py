"""Starts a program as `PythonSlicer` starts Python: as a child that shares the pipes, and crashes become code 1."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.run([sys.executable, *sys.argv[1:]], check=False).returncode
    sys.exit(1 if code < 0 else code)

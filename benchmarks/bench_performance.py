"""Entry of `make bench`: the whole benchmark at full size, results and table written into the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(0)
def test_performance():
    run = Path(__file__).with_name("run.py")
    assert subprocess.run([sys.executable, str(run)], check=False).returncode == 0

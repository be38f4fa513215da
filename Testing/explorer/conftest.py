"""The server in a process of its own, and a browser without a window."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "slicer")]


@functools.cache
def why_no_server():
    """Why the Explorer cannot be served here; empty if it can."""
    if importlib.util.find_spec("trame_slicer") is None:
        return "trame-slicer is not installed: pip install -e '.[explorer]'"
    from SPRExplorer.server import PROBE

    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=120, check=False)
    return "" if done.returncode == 0 else "there is no OpenGL to draw with"


@pytest.fixture(scope="session")
def server_possible():
    """Skip where the Explorer cannot be served."""
    if why_no_server():
        pytest.skip(why_no_server())


@pytest.fixture(scope="session")
def serve(server_possible):
    """Start a server with options; all end with the tests."""
    from driving import Server

    servers = []

    def start(**options):
        servers.append(Server(**options))
        return servers[-1]

    yield start
    for server in servers:
        if server.is_running:
            server.close()


@pytest.fixture(scope="session")
def browser():
    """A browser without a window."""
    from driving import make_browser, why_no_browser

    if why_no_browser():
        pytest.skip(why_no_browser())
    driver = make_browser()
    yield driver
    driver.quit()

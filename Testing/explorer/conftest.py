"""The server in a process of its own, and a headless browser."""

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
def missing_for_server():
    """What is missing to serve the Explorer; empty if nothing is."""
    if importlib.util.find_spec("trame_slicer") is None:
        return "trame-slicer is not installed: pip install -e '.[explorer]'"
    from SPRExplorer.server import RENDERING_TEST

    done = subprocess.run([sys.executable, "-c", RENDERING_TEST], capture_output=True, timeout=120, check=False)
    return "" if done.returncode == 0 else "OpenGL cannot render"


@pytest.fixture(scope="session")
def server_possible():
    """Skip where the Explorer cannot be served."""
    if missing_for_server():
        pytest.skip(missing_for_server())


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
    """A headless browser."""
    from SPRExplorer.browser import headless_browser

    try:
        driver = headless_browser((1500, 1040))
    except (ImportError, OSError) as error:
        pytest.skip(f"no browser: {error}")
    driver.set_page_load_timeout(240)
    yield driver
    driver.quit()

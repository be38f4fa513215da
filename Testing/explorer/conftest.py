"""The server in a process of its own, and a browser without a window."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "SPRRegistration"), str(HERE.parent / "slicer")]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


@functools.cache
def why_no_server():
    """Why the Explorer cannot be served here; empty if it can."""
    if importlib.util.find_spec("trame_slicer") is None:
        return "trame-slicer is not installed: pip install -e '.[explorer]'"
    from SPRRegistrationLib.explorer.server import PROBE

    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, timeout=120, check=False)
    return "" if done.returncode == 0 else "there is no OpenGL to draw with"


def why_no_browser():
    """Why there is no browser to test with; empty if there is one."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        return "Chromium is not installed: apt-get install chromium chromium-driver"
    return "" if importlib.util.find_spec("selenium") else "selenium is not installed"


@pytest.fixture(scope="session")
def serve():
    """Start a server with options; all end with the tests."""
    if why_no_server():
        pytest.skip(why_no_server())
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
    if why_no_browser():
        pytest.skip(why_no_browser())
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run", "hide-scrollbars")
    for flag in (*flags, "disable-extensions", "disable-background-networking", "window-size=1500,1040"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    driver.set_page_load_timeout(240)
    yield driver
    driver.quit()

"""A server in a process of its own, and a page of it in a browser."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = float(os.environ.get("SPR_PATIENCE", "240"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


class Server:
    """A server that runs.

    Args:
        script: What serves: takes options as JSON, and what else is given.
        arguments: What else it is given.
        options: As `run_server.py` takes them.
    """

    def __init__(self, script=HERE / "run_server.py", arguments=(), **options):
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if options.get("quick") else {})
        environment |= {"SPR_MODELS": options.pop("models")} if "models" in options else {}
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(options), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.said, self.complaints = [], []
        pipes = ((self._process.stdout, self.said), (self._process.stderr, self.complaints))
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()
        wait(lambda: self._process.poll() is not None or any("http://" in line for line in self.said))
        assert self._process.poll() is None, "".join(self.complaints)
        self.seconds_to_start = time.monotonic() - self.started
        self.address = re.search(r"http://\S+", "".join(self.said))[0]
        self.port = int(re.search(r":(\d+)/", self.address)[1])

    @property
    def is_running(self):
        return self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def workers(self):
        """Process numbers of the workers."""
        import psutil

        found = psutil.Process(self.pid).children(recursive=True)
        return [each.pid for each in found if "worker" in " ".join(_command_of(each))]

    def close(self):
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
            raise
        finally:
            for reader in self._readers:
                reader.join(timeout=10)


def _command_of(process):
    """The command of a process; nothing of one that has just ended."""
    import psutil

    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _read(stream, lines):
    with stream:
        lines.extend(stream)


def wait(condition, seconds=PATIENCE, pause=0.2):
    """Wait until a condition holds; returns what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:.0f} s: {condition}")


def why_no_browser():
    """Why there is no browser to test with; empty if there is one."""
    if CHROMIUM is None or CHROMEDRIVER is None:
        return "Chromium is not installed: apt-get install chromium chromium-driver"
    return "" if importlib.util.find_spec("selenium") else "selenium is not installed"


def make_browser(size=(1500, 1040)):
    """Start a browser without a window, of a size in pixels; to be ended by `quit`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-first-run", "hide-scrollbars")
    for flag in (*flags, "disable-extensions", "disable-background-networking", "window-size={},{}".format(*size)):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    driver.set_page_load_timeout(240)
    return driver


class Page:
    """A page in the browser.

    Args:
        driver: The driver of selenium.
        address: What to open.
    """

    def __init__(self, driver, address):
        self.driver = driver
        self.open(address)

    def open(self, address):
        self.driver.get("about:blank")  # an address that differs in its last part only would not be loaded anew
        self.driver.get(address)
        self.wait_until_ready()

    def reload(self):
        self.driver.refresh()
        self.wait_until_ready()

    def wait_until_ready(self):
        self.wait_for("document.documentElement.dataset.sprReady")

    def js(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def wait_for(self, expression, seconds=PATIENCE):
        return wait(lambda: self.js(f"return {expression}"), seconds)

    def get(self, name):
        return self.js("return window.trame.state.get(arguments[0])", name)

    def set(self, name, value):
        self.js("window.trame.state.set(arguments[0], arguments[1])", name, value)

    def wait_state(self, name, value=True, seconds=PATIENCE):
        """Wait until a state has a value; True for anything that is true."""
        return wait(lambda: self.get(name) == value or (value is True and self.get(name)), seconds)

    def find(self, selector):
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def button(self, text):
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.XPATH, f"//button[normalize-space(.)='{text}']")

    def click(self, element):
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        time.sleep(0.3)
        element.click()

    def press(self, key):
        from selenium.webdriver.common.action_chains import ActionChains

        self.js("document.activeElement.blur()")
        ActionChains(self.driver).send_keys(key).perform()

    def drag(self, field, by):
        """Drag the thumb of a slider with the mouse."""
        from selenium.webdriver.common.action_chains import ActionChains

        thumb = self.find(f"[data-spr-field={field}] .v-slider-thumb")
        self.js("arguments[0].scrollIntoView({block: 'center'})", thumb)
        time.sleep(0.3)
        chain = ActionChains(self.driver, duration=60).click_and_hold(thumb)
        for _step in range(8):
            chain.move_by_offset(by / 8, 0)
        chain.release().perform()

    def picture(self, place=0):
        """The picture of a view, as PNG."""
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, ".layout-grid-item")[place].screenshot_as_png

    def section(self, name):
        """Open a section of the panel."""
        if name not in self.get("open_sections"):
            self.set("open_sections", [*self.get("open_sections"), name])
            self.wait_state("open_sections")
            time.sleep(0.8)

    def errors(self):
        """What the browser complained of, but for what trame always asks and never gets."""
        log = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in log if "/paraview/" not in line]

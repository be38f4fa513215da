"""A server in a process of its own, and its page in a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TIMEOUT = float(os.environ.get("SPR_TIMEOUT", "240"))


class Server:
    """A running server.

    Args:
        script: Script of the server; its first argument is the options as JSON.
        arguments: Further arguments of the script.
        options: See `run_server.py`.
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
        self.output, self.errors = [], []
        pipes = ((self._process.stdout, self.output), (self._process.stderr, self.errors))
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()
        wait(lambda: self._process.poll() is not None or any("http://" in line for line in self.output))
        assert self._process.poll() is None, "".join(self.errors)
        self.seconds_to_start = time.monotonic() - self.started
        self.address = re.search(r"http://\S+", "".join(self.output))[0]
        self.port = int(re.search(r":(\d+)/", self.address)[1])

    @property
    def is_running(self):
        return self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def workers(self):
        """Process identifiers of the workers."""
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


FIND = """
  const s = window.trame.state, prefixes = ['', 'PageState__', 'ShownState__'];
  const key = prefixes.map((prefix) => prefix + arguments[0]).find((each) => s.get(each) !== undefined);
"""
"""Script that finds the key of a state: a parameter, or a field of a dataclass of `SPRExplorer.state`."""


def _command_of(process):
    """The command line of a process; empty if it has ended."""
    import psutil

    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _read(stream, lines):
    with stream:
        lines.extend(stream)


def wait(condition, seconds=TIMEOUT, pause=0.2):
    """Wait for a condition and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds:.0f} s: {condition}")


class Page:
    """A page in the browser.

    Args:
        driver: The Selenium driver.
        address: URL to open.
    """

    def __init__(self, driver, address):
        self.driver = driver
        self.open(address)

    def open(self, address):
        self.driver.get("about:blank")  # a change of the fragment alone would not reload the page
        self.driver.get(address)
        self.wait_until_ready()

    def reload(self):
        self.driver.refresh()
        self.wait_until_ready()

    def wait_until_ready(self):
        self.wait_for("document.documentElement.dataset.sprReady")

    def js(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def wait_for(self, expression, seconds=TIMEOUT):
        return wait(lambda: self.js(f"return {expression}"), seconds)

    def get(self, name):
        return self.js(FIND + "return key && s.get(key)", name)

    def set(self, name, value):
        self.js(FIND + "s.set(key, arguments[1])", name, value)

    def wait_state(self, name, value=True, seconds=TIMEOUT):
        """Wait until a state has a value; True stands for any true value."""
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

    def picture(self, index=0):
        """The image of a view, as PNG."""
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, ".layout-grid-item")[index].screenshot_as_png

    def section(self, name):
        """Open a section of the panel."""
        if name not in self.get("open_sections"):
            self.set("open_sections", [*self.get("open_sections"), name])
            self.wait_state("open_sections")
            time.sleep(0.8)

    def errors(self):
        """Errors in the log of the browser, except for a file that trame always requests in vain."""
        log = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [line for line in log if "/paraview/" not in line]

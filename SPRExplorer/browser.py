"""A headless Chromium that Selenium drives, for pictures and tests of the page."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = (1500, 1140)
"""Window of pictures in pixels, with the bars of the browser, which take 143 of the height."""
TIMEOUT_SECONDS = 90.0
REST_SECONDS = 2.5
"""Wait for the end of the motion and the rendering at full resolution."""

IS_COMPLETE = """
  const images = [...document.querySelectorAll('.layout-grid-item img')].filter((image) => image.naturalWidth > 10);
  return Boolean(document.documentElement.dataset.sprReady && images.length >= 4);
"""


def photograph(address: str, path: Path) -> None:
    """Take a picture of the page in a headless browser.

    Args:
        address: URL of the page.
        path: The file (PNG).

    Raises:
        ImportError: Selenium is not installed.
        OSError: There is no browser, or it failed.
    """
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        with headless_browser(SIZE) as browser:
            browser.set_page_load_timeout(TIMEOUT_SECONDS)
            browser.get(address)
            WebDriverWait(browser, TIMEOUT_SECONDS).until(lambda page: page.execute_script(IS_COMPLETE))
            time.sleep(REST_SECONDS)
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(browser.get_screenshot_as_png())
            partial.replace(path)
    except WebDriverException as error:
        raise OSError(f"the browser failed ({type(error).__name__})") from error


def headless_browser(size: tuple[int, int]) -> Any:
    """Start Chromium without a window, driven by Selenium; to be ended by `quit`.

    Args:
        size: Width and height of the window in pixels.

    Raises:
        ImportError: Selenium is not installed.
        OSError: Chromium or its driver is not installed.
    """
    from selenium import webdriver

    browser, driver = next(filter(None, map(shutil.which, PROGRAMS)), None), shutil.which("chromedriver")
    if browser is None or driver is None:  # Selenium would download them
        raise OSError("it needs Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    flags = ["headless=new", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "hide-scrollbars"]
    flags += ["disable-extensions", "disable-background-networking", "window-size={},{}".format(*size)]
    flags += ["no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # Chromium requires it for root
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

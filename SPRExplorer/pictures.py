"""Pictures of the Explorer with nobody at the screen: of its views, and of the page where Chromium is installed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image
from SPRRegistrationLib.session import SessionStage

from SPRCore.errors import InputError, SPRError
from SPRExplorer.painter import Painter

logger = logging.getLogger("SPRRegistration")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = (1500, 1000)
VIEWS, PAGE = "explorer-views.png", "explorer.png"
PATIENCE_SECONDS = 600.0
PAGE_SECONDS = 90.0
SHARP_SECONDS = 2.5
"""Until nothing moves any more, and all is drawn with all its pixels."""

IS_THERE = """(() => {
  const shown = [...document.querySelectorAll('.layout-grid-item img')].filter((image) => image.naturalWidth > 10);
  return Boolean(document.documentElement.dataset.sprReady && trame.state.get('has_report') && shown.length >= 4);
})()"""


class NotRegistered(SPRError):
    """The registration of which pictures were wanted has failed."""


async def take(explorer: Any, address: str, folder: Path, say: Callable[[str], object]) -> None:
    """Register, and leave pictures in a folder.

    Args:
        explorer: The application, whose images are chosen.
        address: Where its page is.
        folder: Where to; made if missing.
        say: Called with lines for the user.

    Raises:
        NotRegistered: The registration has failed.
    """
    await _registered(explorer)
    folder.mkdir(parents=True, exist_ok=True)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        say("Chromium is not installed, so there is no picture of the page of the Explorer, only of its views.")
    else:
        try:
            await asyncio.wait_for(photograph(browser, address, folder / PAGE), PAGE_SECONDS)
            say(f"The page of the Explorer: {folder / PAGE}")
        except (asyncio.TimeoutError, aiohttp.ClientError, OSError) as error:
            logger.info("no picture of the page", exc_info=True)
            say(f"The browser gave no picture of the page ({type(error).__name__}); here are the views.")
    draw(explorer.views.painter, folder / VIEWS)
    say(f"The views of the Explorer: {folder / VIEWS}")


async def _registered(explorer: Any) -> None:
    """Wait for an exact result."""
    panel = explorer.panel
    wanted = (SessionStage.READY, SessionStage.DONE, SessionStage.FAILED)
    await _until(lambda: panel.session is not None and panel.session.shown and panel.session.stage in wanted, explorer)
    panel.apply()
    await _until(lambda: bool(panel.parameters.report), explorer)


async def _until(condition: Callable[[], Any], explorer: Any) -> None:
    panel = explorer.panel
    for _moment in range(round(PATIENCE_SECONDS / 0.1)):
        if condition():
            return
        if explorer.state.notice or (panel.session is not None and panel.session.stage is SessionStage.FAILED):
            break
        await asyncio.sleep(0.1)
    why = explorer.state.notice or ("no images" if panel.session is None else panel.session.words)
    kind = InputError if explorer.state.notice else NotRegistered
    raise kind("the pair of the Explorer", got=why, expected="a result")


def draw(painter: Painter, path: Path, size: tuple[int, int] = (560, 420)) -> None:
    """Draw the views that are on the page into one file, two beside each other.

    Args:
        painter: Knows the views.
        path: The file (PNG).
        size: Width and height of each view.
    """
    pictures = []
    for easel in painter.shown():
        easel.adapter.update_size("", {"w": size[0], "h": size[1], "p": 1})
        pictures.append(easel.rca.img_cols_rows[0][..., :3])
    rows = [np.concatenate(pictures[start : start + 2], axis=1) for start in range(0, len(pictures) - 1, 2)]
    partial = path.with_name(f".{path.name}.part")
    Image.fromarray(np.concatenate(rows)).save(partial, format="PNG")
    partial.replace(path)


async def photograph(browser: str, address: str, path: Path) -> None:
    """Take a picture of the page in a browser without a window.

    Args:
        browser: Program of Chromium.
        address: Of the page.
        path: The file (PNG).
    """
    with tempfile.TemporaryDirectory(prefix="spr-browser-", ignore_cleanup_errors=True) as home:
        flags = ["headless=new", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "hide-scrollbars"]
        flags += ["disable-extensions", "disable-background-networking", "remote-debugging-port=0"]
        flags += [f"user-data-dir={home}", "window-size={},{}".format(*SIZE)]
        flags += ["no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # it refuses to run as root
        process = await asyncio.create_subprocess_exec(
            browser,
            *(f"--{flag}" for flag in flags),
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with aiohttp.ClientSession() as client:
                data = await _picture(client, await _debugger(process), address)
            partial = path.with_name(f".{path.name}.part")
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _debugger(process: asyncio.subprocess.Process) -> str:
    """The address at which the browser takes orders, which it prints."""
    while line := await process.stderr.readline():
        if found := re.search(rb"ws://\S+", line):
            return found[0].decode()
    raise OSError("the browser has ended")


async def _picture(client: aiohttp.ClientSession, debugger: str, address: str) -> bytes:
    numbers = itertools.count(1)
    async with client.ws_connect(debugger, max_msg_size=0) as socket:

        async def ask(method: str, session: str | None = None, **parameters: Any) -> dict:
            number = next(numbers)
            order = {"id": number, "method": method, "params": parameters}
            await socket.send_json(order | ({"sessionId": session} if session else {}))
            while (said := await socket.receive_json()).get("id") != number:
                pass
            return said.get("result", {})

        target = (await ask("Target.createTarget", url=address))["targetId"]
        session = (await ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        while True:
            found = await ask("Runtime.evaluate", session, expression=IS_THERE, returnByValue=True)
            if found.get("result", {}).get("value") is True:
                break
            await asyncio.sleep(0.2)
        await asyncio.sleep(SHARP_SECONDS)
        return base64.b64decode((await ask("Page.captureScreenshot", session, format="png"))["data"])

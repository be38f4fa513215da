"""Pictures of a registration without a screen: of the views, and of the page where a browser can be driven."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from SPRRegistrationLib.session import Stage

from SPRCore.errors import InputError, SPRError
from SPRExplorer.browser import photograph
from SPRExplorer.scheduler import ViewScheduler

logger = logging.getLogger("SPRRegistration")

VIEWS, PAGE = "explorer-views.png", "explorer.png"
TIMEOUT_SECONDS = 600.0


class RegistrationFailed(SPRError):
    """The registration of the pictures failed."""


async def write_pictures(explorer: Any, address: str, folder: Path, say: Callable[[str], object]) -> None:
    """Register and write pictures.

    Args:
        explorer: The application with a chosen pair.
        address: URL of its page.
        folder: Output folder; made if missing.
        say: Called with lines for the user.

    Raises:
        InputError: The pair cannot be registered.
        RegistrationFailed: The registration failed.
    """
    await _register(explorer)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        await asyncio.to_thread(photograph, address, folder / PAGE)
        say(f"The page of the Explorer: {folder / PAGE}")
    except ImportError:
        say("There is no picture of the page: it needs Selenium (pip install selenium).")
    except OSError as error:
        logger.info("no picture of the page", exc_info=True)
        say(f"There is no picture of the page: {error}")
    draw(explorer.views.scheduler, folder / VIEWS)
    say(f"The views of the Explorer: {folder / VIEWS}")


async def _register(explorer: Any) -> None:
    """Wait for an exact result."""
    panel = explorer.panel
    stages = (Stage.READY, Stage.DONE, Stage.FAILED)
    await _wait(lambda: panel.session is not None and panel.session.shown and panel.session.stage in stages, explorer)
    panel.apply()
    await _wait(lambda: bool(panel.parameters.report), explorer)


async def _wait(condition: Callable[[], Any], explorer: Any) -> None:
    panel = explorer.panel
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        if condition():
            return
        if explorer.state.notice or (panel.session is not None and panel.session.stage is Stage.FAILED):
            break
        await asyncio.sleep(0.1)
    reason = explorer.state.notice or ("no images" if panel.session is None else panel.session.words)
    kind = InputError if explorer.state.notice else RegistrationFailed
    raise kind("the pair of the Explorer", got=reason, expected="a result")


def draw(scheduler: ViewScheduler, path: Path, size: tuple[int, int] = (560, 420)) -> None:
    """Render the views on the page into one image, in two columns.

    Args:
        scheduler: Scheduler of the views.
        path: The file (PNG).
        size: Width and height of each view in pixels.
    """
    images = []
    for view in scheduler.shown():
        view.adapter.update_size("", {"w": size[0], "h": size[1], "p": 1})
        images.append(view.rca.img_cols_rows[0][..., :3])
    rows = [np.concatenate(images[start : start + 2], axis=1) for start in range(0, len(images) - 1, 2)]
    partial = path.with_name(f".{path.name}.part")
    Image.fromarray(np.concatenate(rows)).save(partial, format="PNG")
    partial.replace(path)

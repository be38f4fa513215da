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
from SPRRegistrationLib.scripting import RegistrationFailed
from SPRRegistrationLib.session import SessionStage

from SPRCore.errors import InputError
from SPRExplorer.browser import photograph
from SPRExplorer.scheduler import ViewScheduler

logger = logging.getLogger("SPRRegistration")

VIEWS, PAGE = "explorer-views.png", "explorer.png"
TIMEOUT_SECONDS = 600.0


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
    controller, stages = explorer.controller, (SessionStage.READY, SessionStage.DONE, SessionStage.FAILED)

    def has_preview() -> bool:
        session = controller.session
        return session is not None and session.shown is not None and session.stage in stages

    await _wait(has_preview, explorer)
    controller.apply()
    await _wait(lambda: bool(controller.parameters.report), explorer)


async def _wait(condition: Callable[[], bool], explorer: Any) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        session, notice = explorer.controller.session, explorer.page.notice
        if notice or time.monotonic() > end or (session is not None and session.stage is SessionStage.FAILED):
            kind = InputError if notice else RegistrationFailed
            reason = notice or ("no images" if session is None else session.words)
            raise kind("the pair of the Explorer", got=reason, expected="a result")
        await asyncio.sleep(0.1)


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

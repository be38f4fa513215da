"""Decides which view is drawn next, and how finely.

All views are drawn by the one thread that also hears the page and the worker. Left to themselves they would all be
drawn before the first of them is sent. Here each is sent, and whatever has come meanwhile is heard, before the next one
is drawn; and while something moves, views that take long are drawn with fewer pixels.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from trame_rca.encoders import RcaImageEncoder
from trame_slicer.rca_view.rca_view_factory import RcaRenderStrategy
from trame_slicer.views import AbstractView

logger = logging.getLogger("SPRRegistration")

QUALITY = 90
"""Of the JPEGs."""

FAST_SECONDS = 0.005
"""A view that takes longer while something moves is drawn coarser."""

COARSEST = 0.35
"""Least scale of a view while something moves; voxels are still seen, as they are larger than pixels."""

LONGEST_TURN_SECONDS = 0.25
"""The first view of the page goes before the others while something moves, but they do not wait longer than this."""

PATIENCE_SECONDS = 0.15
"""While something moves, one of the other views is drawn after each picture of the first; those whose turn it was not
wait so long for the next one. Each picture costs the browser as much as the server, mostly on the same processor."""

MOST_PIXELS = 1_500_000
"""Of one view at rest, on screens with many."""

REST_SECONDS = 0.4
"""After so long without a change nothing moves any more."""

LONGEST_WAIT_SECONDS = 2.0
"""Views that are slow to draw, such as 3-D, wait until nothing moves, but not longer than this."""

HEAR_SECONDS = 0.002
"""Between two views, for what has come meanwhile."""


class Easel:
    """Where one view is drawn; takes the place of the scheduler that trame gives each view.

    Args:
        ask: Called with the easel when the view is to be drawn.
        view: The view of Slicer.
        adapter: What sends its pictures, in trame.
        is_slow: Whether it waits until nothing moves.

    Attributes:
        wanted: Since when it is to be drawn, in seconds of `time.monotonic`; None if it is up to date.
        seconds: How long it takes to draw at full scale, as far as is known.
        rca: The window, as trame's schedulers have it.
        target_fps: Of no effect; trame sets it.
    """

    def __init__(self, ask: Callable[[Easel], None], view: AbstractView, adapter: Any, is_slow: bool) -> None:
        self._ask, self.view, self.adapter, self.is_slow = ask, view, adapter, is_slow
        self.wanted: float | None = None
        self.seconds = 0.0
        self.rca, self.target_fps = adapter._scheduler.rca, 60.0

    def schedule_render(self) -> None:
        """Have the view drawn soon."""
        self._ask(self)

    def set_push_callback(self, callback: Callable[[bytes, dict], None]) -> None:
        """Change nothing: pictures go to the adapter."""

    def reset(self) -> None:
        """Draw for a page that has just come."""
        self.schedule_render()

    async def close(self) -> None:
        """Leave it to the painter to stop."""


class Painter:
    """Draws views when they are asked for; to be used within an event loop.

    Args:
        is_shown: Whether a view is on the page.
        on_drawn: Called after a view has been drawn.
        on_motion: Called when pictures begin to follow each other fast.
        on_rest: Called when nothing moves any more.
    """

    def __init__(
        self,
        is_shown: Callable[[AbstractView], bool],
        on_drawn: Callable[[], object],
        on_motion: Callable[[], object],
        on_rest: Callable[[], object],
    ) -> None:
        self._is_shown, self._on_drawn, self._on_motion, self._on_rest = is_shown, on_drawn, on_motion, on_rest
        self._easels: list[Easel] = []
        self._asked = asyncio.Event()
        self._moved: float | None = None
        self._is_coarse = self._is_others_turn = False
        self._task = asyncio.get_running_loop().create_task(self._paint())
        self._closing: set[asyncio.Task] = set()

    @property
    def is_behind(self) -> bool:
        """Whether the first view on the page has waited long to be drawn."""
        first = next((easel for easel in self.shown() if not easel.is_slow), None)
        waits = first is not None and first.wanted is not None
        return waits and time.monotonic() - first.wanted > LONGEST_TURN_SECONDS / 2

    @property
    def is_moving(self) -> bool:
        """Whether pictures follow each other fast."""
        return self._moved is not None

    def adopt(self, view: AbstractView, adapter: Any, is_slow: bool) -> None:
        """Take over the drawing of a view.

        Args:
            view: The view of Slicer.
            adapter: The `RcaViewAdapter` that sends its pictures.
            is_slow: Whether it waits until nothing moves.
        """
        easel = Easel(self._ask, view, adapter, is_slow)
        closing = asyncio.get_running_loop().create_task(adapter._scheduler.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        adapter._scheduler = easel
        adapter.max_pixel_count = MOST_PIXELS
        view.set_scheduled_render(RcaRenderStrategy(easel))
        self._easels.append(easel)

    def moves(self, on: bool = True) -> None:
        """Take note that pictures follow each other fast from now on, until this was not said for a while.

        Args:
            on: Whether this is not the only movement, so that it pays to draw with fewer pixels.
        """
        if (on or self._moved is not None) and not self._is_coarse:
            self._on_motion()
            self._scale(moving=True)
            for easel in self._easels:
                easel.wanted = None  # what is on the page is finer, and soon out of date
        self._moved = time.monotonic()
        self._asked.set()

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _ask(self, easel: Easel) -> None:
        """Note a wish; views that are not on the page are drawn when they are shown again."""
        if easel.wanted is None:
            easel.wanted = time.monotonic()
        self._asked.set()

    async def _paint(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._asked.wait(), None if self._moved is None else REST_SECONDS / 4)
            self._asked.clear()
            while (easel := self._next(time.monotonic())) is not None:
                try:
                    self._draw(easel)
                except Exception:  # a view that cannot be drawn must not end all the others
                    logger.exception("a view could not be drawn")
                self._on_drawn()
                await asyncio.sleep(HEAR_SECONDS)
            if self._moved is not None and time.monotonic() - self._moved > REST_SECONDS:
                self._rest()

    def _next(self, now: float) -> Easel | None:
        """The view that has waited longest of those that may be drawn now."""
        shown = self.shown()
        waiting = [easel for easel in shown if easel.wanted is not None]
        quick = [easel for easel in waiting if not easel.is_slow]
        if self._moved is None:
            return min(quick or waiting, key=lambda easel: easel.wanted, default=None)
        if quick:
            return self._next_in_motion(quick, shown[0], now)
        waiting = [easel for easel in waiting if now - easel.wanted > LONGEST_WAIT_SECONDS]
        return min(waiting, key=lambda easel: easel.wanted, default=None)

    def _next_in_motion(self, quick: list[Easel], first: Easel, now: float) -> Easel | None:
        longest = min(quick, key=lambda easel: easel.wanted)
        waits = now - longest.wanted
        is_first_due = first in quick and waits < LONGEST_TURN_SECONDS
        if is_first_due or not (self._is_others_turn or waits > PATIENCE_SECONDS):
            longest = first if first in quick else None
        self._is_others_turn = longest is first
        return longest

    def _draw(self, easel: Easel) -> None:
        easel.wanted = None
        start = time.perf_counter()
        image, columns, rows = easel.rca.img_cols_rows
        easel.seconds = (time.perf_counter() - start) / easel.adapter.scale**2
        # Here and at once: given to a thread, the picture would wait for what the loop does meanwhile.
        content, meta, _when = RcaImageEncoder.TURBO_JPEG.encode(image, columns, rows, QUALITY)
        easel.adapter.push(content, meta)

    def shown(self) -> list[Easel]:
        """Return the views that are on the page, in their order."""
        return [easel for easel in self._easels if self._is_shown(easel.view)]

    def _scale(self, moving: bool) -> None:
        """Draw all views with fewer pixels, or with all; at once, since each change has the others drawn, too."""
        self._is_coarse = moving
        for easel in self.shown():
            slow = moving and not easel.is_slow and easel.seconds > FAST_SECONDS
            wanted = max(math.sqrt(FAST_SECONDS / easel.seconds), COARSEST) if slow else 1.0
            if abs(wanted - easel.adapter.scale) > 0.01:
                easel.adapter.scale = wanted

    def _rest(self) -> None:
        self._moved = None
        self._scale(moving=False)
        self._asked.set()  # for what has waited until nothing moves
        self._on_rest()

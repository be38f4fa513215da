"""Schedules the rendering of the views: which one is next, and at which resolution.

One thread renders all views and handles the messages of page and worker. Without scheduling it would render all views
before it sends the first. Here each image is sent, and pending messages are handled, before the next view is rendered;
during motion, slow views are rendered at reduced resolution.
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

JPEG_QUALITY = 90

FAST_SECONDS = 0.005
"""Target render time during motion; slower views are rendered at reduced scale."""

RENDER_DECAY = 0.9
"""Factor of the render time that is remembered, for each image that was rendered faster."""

MIN_SCALE = 0.35
"""Smallest scale during motion; voxels, larger than pixels, remain visible."""

MAX_OTHERS_WAIT_SECONDS = 0.25
"""During motion the first view of the page has priority, until another view has waited this long."""

OTHERS_INTERVAL_SECONDS = 0.15
"""During motion one other view is rendered after each image of the first view, and without one after this wait. Each
image costs the browser as much as the server, often on the same CPU."""

MAX_PIXELS = 1_500_000
"""Largest number of pixels of a view, for high-resolution screens."""

REST_SECONDS = 0.4
"""Motion ends after this time without a change."""

MAX_SLOW_WAIT_SECONDS = 2.0
"""Slow views, such as 3-D, wait for the end of the motion, but not longer than this."""

YIELD_SECONDS = 0.002
"""Pause between two views, for pending messages."""


class ScheduledView:
    """A view and its render request; replaces the scheduler that trame makes for each view.

    Args:
        request: Called with this object when the view needs rendering.
        view: The view of Slicer.
        adapter: The `RcaViewAdapter` of trame that sends the images.
        is_slow: Whether rendering waits for the end of the motion.

    Attributes:
        requested_at: Time of the pending request (`time.monotonic`); None without one.
        render_seconds: Render time, converted to full scale: the last one, or a longer one shortly before.
        rca: The render window, an attribute that trame expects.
        target_fps: Set by trame, without effect.
    """

    def __init__(
        self, request: Callable[[ScheduledView], None], view: AbstractView, adapter: Any, is_slow: bool
    ) -> None:
        self._request, self.view, self.adapter, self.is_slow = request, view, adapter, is_slow
        self.requested_at: float | None = None
        self.render_seconds = 0.0
        self.rca, self.target_fps = adapter._scheduler.rca, 60.0

    def schedule_render(self) -> None:
        """Request rendering."""
        self._request(self)

    def set_push_callback(self, callback: Callable[[bytes, dict], None]) -> None:
        """Ignore the callback: images go to the adapter."""

    def reset(self) -> None:
        """Render for a new page."""
        self.schedule_render()

    async def close(self) -> None:
        """Do nothing: the scheduler owns the task."""


class ViewScheduler:
    """Renders views on request, within an event loop.

    Args:
        is_shown: Whether a view is on the page.
        on_rendered: Called after a view was rendered.
        on_motion: Called when a motion begins.
        on_rest: Called when the motion has ended.
    """

    def __init__(
        self,
        is_shown: Callable[[AbstractView], bool],
        on_rendered: Callable[[], object],
        on_motion: Callable[[], object],
        on_rest: Callable[[], object],
    ) -> None:
        self._is_shown, self._on_rendered, self._on_motion, self._on_rest = is_shown, on_rendered, on_motion, on_rest
        self._views: list[ScheduledView] = []
        self._wake = asyncio.Event()
        self._moved_at: float | None = None
        self._is_reduced = self._is_others_turn = False
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._closing: set[asyncio.Task] = set()

    @property
    def is_behind(self) -> bool:
        """Whether the first view on the page has waited long for rendering."""
        first = next((scheduled for scheduled in self.shown() if not scheduled.is_slow), None)
        waits = first is not None and first.requested_at is not None
        return waits and time.monotonic() - first.requested_at > MAX_OTHERS_WAIT_SECONDS / 2

    @property
    def is_moving(self) -> bool:
        """Whether a motion is in progress."""
        return self._moved_at is not None

    def add(self, view: AbstractView, adapter: Any, is_slow: bool) -> None:
        """Schedule a view; arguments as for `ScheduledView`."""
        scheduled = ScheduledView(self._request, view, adapter, is_slow)
        closing = asyncio.get_running_loop().create_task(adapter._scheduler.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        adapter._scheduler = scheduled
        adapter.max_pixel_count = MAX_PIXELS
        view.set_scheduled_render(RcaRenderStrategy(scheduled))
        self._views.append(scheduled)

    def note_motion(self, repeated: bool = True) -> None:
        """Begin or continue a motion.

        Args:
            repeated: Whether more movements follow; the first single one does not reduce the resolution.
        """
        if (repeated or self._moved_at is not None) and not self._is_reduced:
            self._on_motion()
            self._set_scale(moving=True)
            for scheduled in self._views:
                scheduled.requested_at = None  # the page shows a sharper image, soon outdated
        self._moved_at = time.monotonic()
        self._wake.set()

    async def close(self) -> None:
        """Stop rendering."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _request(self, scheduled: ScheduledView) -> None:
        """Queue a view; a hidden one is rendered when it is shown again."""
        if scheduled.requested_at is None:
            scheduled.requested_at = time.monotonic()
        self._wake.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), None if self._moved_at is None else REST_SECONDS / 4)
            self._wake.clear()
            while (scheduled := self._next(time.monotonic())) is not None:
                try:
                    self._render(scheduled)
                except Exception:  # a failing view must not stop the others
                    logger.exception("a view could not be rendered")
                self._on_rendered()
                await asyncio.sleep(YIELD_SECONDS)
            if self._moved_at is not None and time.monotonic() - self._moved_at > REST_SECONDS:
                self._rest()

    def _next(self, now: float) -> ScheduledView | None:
        """The view to render now; None if all wait or none is requested."""
        shown = self.shown()
        waiting = [scheduled for scheduled in shown if scheduled.requested_at is not None]
        quick = [scheduled for scheduled in waiting if not scheduled.is_slow]
        if self._moved_at is None:
            return min(quick or waiting, key=lambda scheduled: scheduled.requested_at, default=None)
        if quick:
            return self._next_in_motion(quick, shown[0], now)
        waiting = [scheduled for scheduled in waiting if now - scheduled.requested_at > MAX_SLOW_WAIT_SECONDS]
        return min(waiting, key=lambda scheduled: scheduled.requested_at, default=None)

    def _next_in_motion(self, quick: list[ScheduledView], first: ScheduledView, now: float) -> ScheduledView | None:
        oldest = min(quick, key=lambda scheduled: scheduled.requested_at)
        waits = now - oldest.requested_at
        is_first_due = first in quick and waits < MAX_OTHERS_WAIT_SECONDS
        if is_first_due or not (self._is_others_turn or waits > OTHERS_INTERVAL_SECONDS):
            oldest = first if first in quick else None
        self._is_others_turn = oldest is first
        return oldest

    def _render(self, scheduled: ScheduledView) -> None:
        scheduled.requested_at = None
        start = time.perf_counter()
        image, columns, rows = scheduled.rca.img_cols_rows
        seconds = (time.perf_counter() - start) / scheduled.adapter.scale**2
        # An image that has not changed is rendered fast, and says nothing of those during a motion.
        scheduled.render_seconds = max(seconds, RENDER_DECAY * scheduled.render_seconds)
        # Encoded here: from a thread the image would wait for other work of the event loop.
        content, meta, _when = RcaImageEncoder.TURBO_JPEG.encode(image, columns, rows, JPEG_QUALITY)
        scheduled.adapter.push(content, meta)

    def shown(self) -> list[ScheduledView]:
        """Return the views on the page, in their order."""
        return [scheduled for scheduled in self._views if self._is_shown(scheduled.view)]

    def _set_scale(self, moving: bool) -> None:
        """Set the scale of all views at once, since each change renders all of them."""
        self._is_reduced = moving
        for scheduled in self.shown():
            reduce = moving and not scheduled.is_slow and scheduled.render_seconds > FAST_SECONDS
            scale = max(math.sqrt(FAST_SECONDS / scheduled.render_seconds), MIN_SCALE) if reduce else 1.0
            if abs(scale - scheduled.adapter.scale) > 0.01:
                scheduled.adapter.scale = scale

    def _rest(self) -> None:
        self._moved_at = None
        self._set_scale(moving=False)
        self._wake.set()  # for the views that waited for the end of the motion
        self._on_rest()

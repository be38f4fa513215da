"""Order and resolution of rendered views, with fake views."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slicer

scheduler = pytest.importorskip("trame_slicer") and pytest.importorskip("SPRExplorer.scheduler")


class FakeClock:
    """The module `time` with a clock that the test sets."""

    now, perf_counter = 0.0, staticmethod(time.perf_counter)

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(scheduler, "time", fake)
    return fake


class FakeWindow:
    def __init__(self, seconds):
        self.seconds = seconds

    @property
    def img_cols_rows(self):
        time.sleep(self.seconds)
        return np.zeros((8, 8, 3), dtype=np.uint8), 8, 8


class TrameScheduler:
    def __init__(self, rca):
        self.rca, self.closed = rca, False

    async def close(self):
        self.closed = True


class FakeAdapter:
    """The used part of trame's `RcaViewAdapter`; records the images of all views in one list."""

    def __init__(self, name, sent, seconds):
        self.name, self.sent, self.scale, self.max_pixel_count = name, sent, 1.0, 0
        self.first = self._scheduler = TrameScheduler(FakeWindow(seconds))

    def push(self, content, meta):
        assert content[:2] == b"\xff\xd8"  # JPEG
        self.sent.append((self.name, self.scale))


class FakeView:
    def set_scheduled_render(self, strategy):
        self.request = strategy.schedule_render


class FakePage:
    """A scheduler with three slice views and a 3-D view."""

    def __init__(self, seconds=0.001):
        self.sent, self.called, self.hidden = [], [], set()
        self.scheduler = scheduler.ViewScheduler(
            lambda view: view not in self.hidden,
            on_rendered=lambda: None,
            on_motion=lambda: self.called.append("motion"),
            on_rest=lambda: self.called.append("rest"),
        )
        self.views = {name: FakeView() for name in ("axial", "coronal", "sagittal", "3-D")}
        self.adapters = {name: FakeAdapter(name, self.sent, seconds) for name in self.views}
        for name, view in self.views.items():
            self.scheduler.add(view, self.adapters[name], is_slow=name == "3-D")

    def request_all(self):
        for view in self.views.values():
            view.request()

    async def rendered(self, count):
        """Wait for a number of images, and for one more moment that there are no others."""
        while len(self.sent) < count:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    @property
    def names(self):
        return [name for name, _scale in self.sent]


def run(play, **options):
    async def run_play():
        page = FakePage(**options)
        try:
            await play(page)
        finally:
            await page.scheduler.close()
        return page

    return asyncio.run(run_play())


def test_repeated_requests_render_each_view_once_and_3d_last():
    async def play(page):
        for _request in range(5):
            page.request_all()
        await page.rendered(4)

    page = run(play)
    assert page.names == ["axial", "coronal", "sagittal", "3-D"]
    assert all(adapter.first.closed for adapter in page.adapters.values())
    assert page.adapters["axial"].max_pixel_count > 0


def test_hidden_views_are_not_rendered():
    async def play(page):
        page.hidden = {page.views["coronal"], page.views["3-D"]}
        page.request_all()
        await page.rendered(2)

    assert run(play).names == ["axial", "sagittal"]


def test_an_image_without_changes_does_not_end_the_reduction():
    async def play(page):
        page.request_all()
        await page.rendered(4)
        for adapter in page.adapters.values():
            adapter.first.rca.seconds = 0.0
        page.request_all()
        await page.rendered(8)
        page.scheduler.note_motion()
        page.request_all()
        await page.rendered(9)

    page = run(play, seconds=0.02)
    assert page.sent[8][1] < 0.7


def test_motion_reduces_the_scale_and_delays_3d_until_rest(clock):
    async def play(page):
        page.request_all()
        await page.rendered(4)
        page.scheduler.note_motion()
        assert page.scheduler.is_moving
        page.request_all()
        await page.rendered(6)
        clock.now += scheduler.OTHERS_INTERVAL_SECONDS * 1.1
        await page.rendered(7)
        assert set(page.names[4:]) == {"axial", "coronal", "sagittal"}
        assert all(scheduler.MIN_SCALE <= scale < 1 for _name, scale in page.sent[4:])
        clock.now += scheduler.REST_SECONDS
        await page.rendered(8)
        assert not page.scheduler.is_moving
        assert all(adapter.scale == 1 for adapter in page.adapters.values())
        assert page.names[7:] == ["3-D"]

    assert run(play, seconds=0.03).called == ["motion", "rest"]


def test_a_single_step_keeps_the_scale():
    async def play(page):
        page.request_all()
        await page.rendered(4)
        page.scheduler.note_motion(repeated=False)
        assert page.adapters["axial"].scale == 1
        page.scheduler.note_motion(repeated=False)
        assert page.adapters["axial"].scale < 1

    run(play, seconds=0.03)


def test_the_first_view_has_priority_in_motion_and_none_starves(clock):
    async def play(page):
        for request in range(30):
            page.scheduler.note_motion()
            page.request_all()
            await page.rendered(request + 1)
            clock.now += 0.02

    names = run(play).names
    assert names.count("axial") > names.count("coronal") >= 2
    assert names.count("sagittal") >= 2


def test_in_motion_the_other_views_alternate_with_the_first(clock):
    async def play(page):
        for request in range(4):
            page.scheduler.note_motion()
            page.request_all()
            await page.rendered(2 * request + 2)
            clock.now += 0.04
        assert page.names[0::2] == ["axial"] * 4
        assert set(page.names[1::2]) == {"coronal", "sagittal"}
        clock.now += scheduler.OTHERS_INTERVAL_SECONDS
        await page.rendered(9)
        assert page.names[8] in ("coronal", "sagittal")
        assert len(page.names) == 9

    run(play)


def test_only_the_first_view_delays_previews(clock):
    async def play(page):
        page.scheduler.note_motion()
        page.views["sagittal"].request()
        clock.now += scheduler.MAX_OTHERS_WAIT_SECONDS
        assert not page.scheduler.is_behind
        page.views["axial"].request()
        clock.now += scheduler.MAX_OTHERS_WAIT_SECONDS
        assert page.scheduler.is_behind

    run(play)


def test_a_failing_view_does_not_stop_the_others():
    async def play(page):
        page.adapters["axial"].push = lambda content, meta: 1 / 0
        page.request_all()
        await page.rendered(3)

    assert run(play).names == ["coronal", "sagittal", "3-D"]

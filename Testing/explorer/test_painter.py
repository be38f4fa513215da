"""The order in which views are drawn, and how finely; on views that draw nothing."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slicer

painter_module = pytest.importorskip("trame_slicer") and pytest.importorskip("SPRExplorer.painter")


class Window:
    def __init__(self, seconds):
        self.seconds = seconds

    @property
    def img_cols_rows(self):
        time.sleep(self.seconds)
        return np.zeros((8, 8, 3), dtype=np.uint8), 8, 8


class Scheduler:
    def __init__(self, rca):
        self.rca, self.closed = rca, False

    async def close(self):
        self.closed = True


class Adapter:
    """As much of trame's `RcaViewAdapter` as a painter uses; notes the pictures of all views in one list."""

    def __init__(self, name, sent, seconds):
        self.name, self.sent, self.scale, self.max_pixel_count = name, sent, 1.0, 0
        self.first = self._scheduler = Scheduler(Window(seconds))

    def push(self, content, meta):
        assert content[:2] == b"\xff\xd8"  # JPEG
        self.sent.append((self.name, self.scale))


class View:
    def set_scheduled_render(self, strategy):
        self.ask = strategy.schedule_render


class Studio:
    """A painter with three slices and 3-D."""

    def __init__(self, seconds=0.001):
        self.sent, self.called, self.hidden = [], [], set()
        self.painter = painter_module.Painter(
            lambda view: view not in self.hidden,
            on_drawn=lambda: None,
            on_motion=lambda: self.called.append("motion"),
            on_rest=lambda: self.called.append("rest"),
        )
        self.views = {name: View() for name in ("axial", "coronal", "sagittal", "3-D")}
        self.adapters = {name: Adapter(name, self.sent, seconds) for name in self.views}
        for name, view in self.views.items():
            self.painter.adopt(view, self.adapters[name], is_slow=name == "3-D")

    def ask_for_all(self):
        for view in self.views.values():
            view.ask()

    @property
    def names(self):
        return [name for name, _scale in self.sent]


def played(play, **options):
    async def run():
        studio = Studio(**options)
        try:
            await play(studio)
        finally:
            await studio.painter.close()
        return studio

    return asyncio.run(run())


def test_each_view_is_drawn_once_for_many_wishes_and_3d_last():
    async def play(studio):
        for _wish in range(5):
            studio.ask_for_all()
        await asyncio.sleep(0.2)

    studio = played(play)
    assert studio.names == ["axial", "coronal", "sagittal", "3-D"]
    assert all(adapter.first.closed for adapter in studio.adapters.values())
    assert studio.adapters["axial"].max_pixel_count > 0


def test_hidden_views_are_not_drawn():
    async def play(studio):
        studio.hidden = {studio.views["coronal"], studio.views["3-D"]}
        studio.ask_for_all()
        await asyncio.sleep(0.2)

    assert played(play).names == ["axial", "sagittal"]


def test_in_motion_views_are_coarser_and_3d_waits_and_at_rest_all_are_sharp():
    async def play(studio):
        studio.ask_for_all()
        await asyncio.sleep(0.4)
        del studio.sent[:]
        studio.painter.moves()
        assert studio.painter.is_moving
        studio.ask_for_all()
        await asyncio.sleep(0.2)
        assert studio.names == ["axial", "coronal", "sagittal"]
        assert all(painter_module.COARSEST <= scale < 1 for _name, scale in studio.sent)
        await asyncio.sleep(painter_module.REST_SECONDS + 0.4)
        assert not studio.painter.is_moving
        assert all(adapter.scale == 1 for adapter in studio.adapters.values())
        assert studio.names[3:] == ["3-D"]

    assert played(play, seconds=0.03).called == ["motion", "rest"]


def test_a_single_step_is_not_worth_another_size():
    async def play(studio):
        studio.ask_for_all()
        await asyncio.sleep(0.4)
        studio.painter.moves(on=False)
        assert studio.adapters["axial"].scale == 1
        studio.painter.moves(on=False)
        assert studio.adapters["axial"].scale < 1

    played(play, seconds=0.03)


def test_the_first_view_goes_first_in_motion_but_no_view_starves():
    async def play(studio):
        studio.painter.moves()
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            studio.painter.moves()
            studio.ask_for_all()
            await asyncio.sleep(0.01)

    names = played(play, seconds=0.02).names
    assert names.count("axial") > names.count("coronal") >= 2
    assert names.count("sagittal") >= 2


def test_in_motion_one_other_view_follows_each_picture_of_the_first_and_the_rest_soon():
    async def play(studio):
        for _result in range(4):
            studio.painter.moves()
            studio.ask_for_all()
            await asyncio.sleep(0.04)
        in_motion = list(studio.names)
        assert in_motion[0::2] == ["axial"] * 4
        assert set(in_motion[1::2]) == {"coronal", "sagittal"}
        await asyncio.sleep(painter_module.PATIENCE_SECONDS + 0.15)
        assert studio.names[-1] in ("coronal", "sagittal")
        assert len(studio.names) == 9

    played(play)


def test_only_the_first_view_holds_the_worker_up():
    async def play(studio):
        studio.painter.moves()
        studio.views["sagittal"].ask()
        time.sleep(painter_module.LONGEST_TURN_SECONDS)
        assert not studio.painter.is_behind
        studio.views["axial"].ask()
        time.sleep(painter_module.LONGEST_TURN_SECONDS)
        assert studio.painter.is_behind

    played(play)


def test_a_view_that_cannot_be_drawn_does_not_end_the_others():
    async def play(studio):
        studio.adapters["axial"].push = lambda content, meta: 1 / 0
        studio.ask_for_all()
        await asyncio.sleep(0.2)

    assert played(play).names == ["coronal", "sagittal", "3-D"]

"""Brings panel, views and page together in a server of trame, and the page's wishes to the panel."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from SPRRegistrationLib import messages, panel_state
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import display, outputs, painting
from SPRRegistrationLib.sliders import FIELDS, shown_fields
from SPRRegistrationLib.worker_control import WorkerOptions
from trame_server import Server
from trame_slicer.core import SlicerApp
from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow

from SPRCore.errors import SPRError
from SPRExplorer import links, nodes, page, state
from SPRExplorer.actions import Actions
from SPRExplorer.controller import BUDGET_MS, ExplorerController
from SPRExplorer.fields import CHANGEABLE
from SPRExplorer.files import listed, stem_of
from SPRExplorer.nodes import REFERENCES
from SPRExplorer.reading import Content, read_file, read_files
from SPRExplorer.transport import worker_command
from SPRExplorer.views import Views, layout_choices

logger = logging.getLogger("SPRRegistration")

STATIC = Path(__file__).with_name("static")
PUSH_SECONDS, PUSH_SECONDS_IN_MOTION = 0.03, 0.12
"""Least time between two pushes of words and numbers, which nobody reads while a slider moves; pictures have their own
pace."""
GESTURE_SECONDS = 0.7
"""A setting that stays for so long is one to which undo goes back."""
FLICKER_SECONDS = 0.5
PAGE_SECONDS = 1.0
"""For the first page to show the images, before the worker takes the processor for itself."""

SWITCHES = {"d": "showDeformed", "w": "showWeight", "v": "showJacobian", "g": "showDisplacement", "f": "flicker"}
KEYS = {"[": (1, -1), "]": (1, 1), "-": (0, -1), "=": (0, 1)}
"""Keys that move a slider: which hyperparameter, and in which direction."""


class Explorer:
    """The application behind the page; to be made within an event loop.

    Args:
        server: The server of trame.
        folder: The folder whose images may be opened from the page; None for none.
        command: What starts a worker.
    """

    def __init__(self, server: Server, folder: Path | None = None, command: list[str] | None = None) -> None:
        self.server, self.state = server, server.state
        self.scratch = Path(tempfile.mkdtemp(prefix="spr-explorer-"))
        self.folder, self._tasks, self._due = folder, set(), {}
        self._pushed_points: Any = None  # of what the page shows already, as are the next
        self._checked = self._drawn = self._carded = None
        self._turn = False
        self._app = app = SlicerApp()
        slicer.mrmlScene = app.scene
        app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # in Slicer a logic of widgets does so
        _log_vtk()
        worker = WorkerOptions(command or worker_command(), budget_ms=BUDGET_MS)
        self.panel = ExplorerController(app.scene, worker, self._changed, lambda: self.views.render())
        self._defaults = state.fields_of(self.panel)
        self._start_state()
        server.enable_module(
            {
                "serve": {"__explorer": str(STATIC)},
                "scripts": ["__explorer/explorer.js"],
                "styles": ["__explorer/explorer.css"],
            }
        )
        self.views = Views(
            server,
            app,
            on_drawn=self.panel.catch_up,
            on_motion=lambda: display.set_detail(self.panel.parameters, fine=False),
            on_rest=self.panel.settle,
        )
        self.panel.rendering = self.views.painter
        self.views.arrange("four")
        page.build(server, self.views, Actions(self))
        self._listen()
        self._push()

    async def close(self) -> None:
        """End the worker and remove what was uploaded."""
        for task in list(self._tasks):
            task.cancel()
        await self.views.painter.close()
        await self.panel.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    async def open_file(self, field: str, path: Path, title: str, scratch: Path | None = None) -> None:
        """Read what a registration is made of, and choose it.

        Args:
            field: Field of the parameters: an image, segments or landmarks; or "model".
            path: A file, or a folder with a DICOM series.
            title: Its name.
            scratch: A folder of its own that is removed afterwards; None for none.

        Raises:
            InputError: It cannot be read.
        """
        own = scratch or Path(tempfile.mkdtemp(dir=self.scratch))
        self._read(field, True)
        try:
            if field == "model":
                self.panel.import_model(path)
                self.state.method_items = state.methods_of(self.panel)
            else:
                kind = (
                    "image" if field.endswith("Volume") else field.removeprefix("fixed").removeprefix("moving").lower()
                )
                self._take(field, title, await read_file(path, own, kind))
        finally:
            self._read(field, False)
            shutil.rmtree(own, ignore_errors=True)

    async def open_pair(self, fixed: Path, moving: Path) -> None:
        """Open two images; what is wrong with them is told on the page."""
        images = {"fixedVolume": fixed, "movingVolume": moving}
        for field in images:
            self._read(field, True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            for field, found in zip(images, await read_files(list(images.values()), Path(scratch)), strict=True):
                if isinstance(found, SPRError):
                    self.tell(messages.refused(found))
                else:
                    self._take(field, stem_of(images[field].name), found)
                self._read(field, False)

    async def try_to_open(self, field: str, path: Path) -> None:
        """Open an image; what is wrong with it is told on the page."""
        try:
            await self.open_file(field, path, stem_of(path.name))
        except SPRError as error:
            self.tell(messages.refused(error))

    def _take(self, field: str, title: str, content: Content) -> None:
        self.panel.add(field, title, content)
        if field in REFERENCES:
            self.state.show_references = True
        else:
            self.views.fit()

    def load_sample(self) -> None:
        """Make the sample pair and choose it."""
        self.panel.load_sample()
        self.views.fit()

    def tell(self, notice: str) -> None:
        """Show a notice on the page."""
        with self.state:
            self.state.notice, self.state.notice_open = notice, True

    def key(self, key: str) -> None:
        """Take a key that was pressed."""
        key = key if isinstance(key, str) else ""
        if key in SWITCHES:
            self.panel.change(SWITCHES[key], not getattr(self.panel.parameters, SWITCHES[key]))
        elif key in KEYS:
            self._nudge(*KEYS[key])
        elif key in (",", "."):
            self.views.step(1 if key == "." else -1)
        else:
            wishes = {
                "a": self.panel.apply,
                "c": self.panel.cancel,
                "z": self.panel.undo,
                "Z": self.panel.redo,
                "r": self.views.fit,
            }
            wishes.get(key, lambda: None)()

    def open_link(self, text: str) -> None:
        """Take the settings of an address; what is wrong in it is left out, and told."""
        wrong = links.unknown_in(str(text))
        for field, value in links.fields_in(str(text)).items():
            try:
                self.panel.change(field, value)
            except SPRError as error:
                logger.warning("part of an address was left out: %s", error)
                wrong.append(field)
        if wrong:
            self.tell(messages.left_out(wrong))

    def soon(self, work: Any) -> None:
        """Let something happen in the event loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _nudge(self, place: int, direction: int) -> None:
        fields = shown_fields(self.panel.parameters, self.state.limits)
        if fields:
            field = fields[min(place, len(fields) - 1)]
            low, high = self.state.limits[field]
            value = getattr(self.panel.parameters, field) + direction * (high - low) / 40
            self.panel.change(field, min(max(value, low), high))
            self._slid()

    def _listen(self) -> None:
        """Take note of what a page sends."""
        self.state.change(*CHANGEABLE)(self._fields_changed)
        self.state.change("layout")(self._layout_changed)
        self.state.change("show_references")(lambda show_references, **_others: self._references_changed())
        self.server.trigger("key")(self.key)
        self.server.trigger("link")(self.open_link)
        self.server.trigger("ready")(lambda: self._later("open", PAGE_SECONDS, self.panel.open_by_itself))

    def _start_state(self) -> None:
        self.state.trame__title = _("SPR Registration Explorer")
        self.state.trame__favicon = None
        self.state.update(
            {
                **state.choices(),
                "method_items": state.methods_of(self.panel),
                "card": state.card_of(self.panel),
                "theme": "dark",
                "layout": "four",
                "open_sections": ["inputs", "settings", "show", "quality"],
                "help": False,
                "notice": "",
                "notice_open": False,
                "reading": [],
                "show_references": False,
                "folder_files": list(listed(self.folder)),
                "export_format": ".h5",
                "export_direction": "displacementTransform",
                "segments": state.segments_of(self.panel),
                "map": state.map_of(self.panel),
                "histogram": [],
                "painted": [],
                "cursor_help": _("Point at a slice view to read the stiffness and the displacement there."),
                "link": "",
            }
        )

    def _fields_changed(self, **values: Any) -> None:
        """Take what the page has changed; what it must not is put back."""
        known = state.fields_of(self.panel)
        for field in CHANGEABLE:
            if values[field] != known[field]:
                try:
                    self.panel.change(field, values[field])
                except SPRError as error:
                    logger.warning("the page asked for %s", error)
                if field in FIELDS:
                    self._slid()
        self._changed()

    def _slid(self) -> None:
        """Take note that a slider has moved."""
        if self.panel.parameters.live:
            self.views.painter.moves(on=False)
        self._later("record", GESTURE_SECONDS, self.panel.end_gesture)

    def _layout_changed(self, layout: str, **_others: Any) -> None:
        if layout in [item["value"] for item in layout_choices()]:
            self.views.arrange("original" if self.panel.parameters.originalAnatomy else layout)

    def _references_changed(self) -> None:
        nodes.show_references(self.panel.parameters, bool(self.state.show_references))
        self.views.render()

    def _changed(self) -> None:
        self._later("push", PUSH_SECONDS_IN_MOTION if self.panel.rendering.is_moving else PUSH_SECONDS, self._push)

    def _push(self) -> None:
        """Bring the page to the panel."""
        with self.state:
            fields = state.fields_of(self.panel)
            if fields["originalAnatomy"] != (self.views.layouts.layout_id == "original"):
                self.views.arrange("original" if fields["originalAnatomy"] else self.state.layout)
                self.panel.show()
                self._references_changed()
            if self.panel.model != self._carded:
                self._carded, self.state.card = self.panel.model, state.card_of(self.panel)
            self.state.update(fields)
            self.state.update(state.state_of(self.panel))
            self.state.link = links.link_of(fields, self._defaults | state.set_by_anatomy(self.panel))
            self._push_rare()
        if fields["flicker"]:
            self._later("flicker", FLICKER_SECONDS, self._flicker)

    def _push_rare(self) -> None:
        """What is not cheap to compute."""
        parameters, session = self.panel.parameters, self.panel.session
        pair = panel_state.check_key(self.panel)
        if pair != self._checked:
            self._checked = pair
            self.state.update(state.check_of(self.panel))
            self.state.painted = painting.table(parameters)
            self._references_changed()
        shown = None if session is None else session.shown
        if shown is not self._drawn and not self.views.painter.is_moving:
            self._drawn, self.state.histogram = shown, state.histogram_of(self.panel)
        table = parameters.segmentTable
        points = panel_state.map_key(self.panel)
        points += (None if table is None else (table.GetID(), table.GetMTime()),)
        if points != self._pushed_points:
            self._pushed_points = points
            self.state.map, self.state.segments = state.map_of(self.panel), state.segments_of(self.panel)

    def _flicker(self) -> None:
        parameters = self.panel.parameters
        if not outputs.is_alive(parameters):
            return
        self._turn = not self._turn
        display.set_blend(parameters, float(self._turn) if parameters.flicker else parameters.deformedOpacity)
        self.views.render()
        if parameters.flicker:
            self._later("flicker", FLICKER_SECONDS, self._flicker)

    def _later(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        """Do something soon, and once: what is asked for again is put off (`record`) or left as it is (the rest)."""
        loop = asyncio.get_running_loop()
        due = self._due.get(name)
        if due is not None and name == "record":
            due.cancel()
        elif due is not None:
            return

        def do() -> None:
            self._due.pop(name, None)
            work()

        self._due[name] = loop.call_later(seconds, do)

    def _read(self, side: str, on: bool) -> None:
        with self.state:
            self.state.reading = [*(each for each in self.state.reading if each != side), *([side] if on else [])]


def _log_vtk() -> None:
    """Send what VTK complains of to the log, where warnings of libraries do not bury what matters."""
    window = vtkOutputWindow()
    window.SetDisplayModeToNever()
    for event, level in (("ErrorEvent", logging.ERROR), ("WarningEvent", logging.DEBUG)):
        window.AddObserver(event, _logger_of(level))
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)


def _logger_of(level: int) -> Callable:
    def log(caller: Any, event: str, text: str) -> None:
        logger.log(level, "%s", text.strip())

    log.CallDataType = "string0"
    return log

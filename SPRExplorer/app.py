"""The application: connects the controller, the views and the page on a trame server."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import slicer
from SPRRegistrationLib import messages, panel_state
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.scene import display, outputs
from SPRRegistrationLib.sliders import FIELDS
from SPRRegistrationLib.worker_control import WorkerOptions
from trame_server import Server
from trame_server.utils.typed_state import TypedState
from trame_slicer.core import SlicerApp
from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow

from SPRCore.errors import SPRError
from SPRExplorer import links, nodes, page, state
from SPRExplorer.actions import Actions
from SPRExplorer.controller import BUDGET_MS, ExplorerController
from SPRExplorer.fields import CHANGEABLE
from SPRExplorer.files import list_images, stem_of
from SPRExplorer.nodes import CHANNELS, REFERENCES
from SPRExplorer.reading import FileContent, read_file, read_files
from SPRExplorer.state import Encoder, PageState, ShownState
from SPRExplorer.transport import worker_command
from SPRExplorer.views import Views, layout_choices

logger = logging.getLogger("SPRRegistration")

STATIC = Path(__file__).with_name("static")
PUSH_SECONDS, PUSH_SECONDS_IN_MOTION = 0.03, 0.12
"""Shortest interval between two updates of texts and numbers; images are scheduled separately."""
GESTURE_SECONDS = 0.7
"""A setting that is unchanged for this time enters the undo history."""
FLICKER_SECONDS = 0.5
PAGE_SECONDS = 1.0
"""Time for the first page to show the images, before the worker saturates the CPU."""

SWITCHES = {
    **{"d": "showDeformed", "w": "showWeight", "v": "showJacobian", "u": "showUncertainty"},
    **{"g": "showDisplacement", "f": "flicker"},
}
KEYS = {"[": (1, -1), "]": (1, 1), "-": (0, -1), "=": (0, 1)}
"""Keys that move a slider: index of the hyperparameter, and direction."""


class Explorer:
    """The application behind the page; needs a running event loop.

    Args:
        server: The trame server.
        folder: Folder whose images can be opened from the page; None for none.
        command: Command of the worker; None for the default.
    """

    def __init__(self, server: Server, folder: Path | None = None, command: list[str] | None = None) -> None:
        self.server, self.state = server, server.state
        self._page = TypedState(server.state, PageState, encoder=Encoder())
        self._shown = TypedState(server.state, ShownState)
        self.page = self._page.data
        self.scratch = Path(tempfile.mkdtemp(prefix="spr-explorer-"))
        self.folder, self._tasks, self._timers = folder, set(), {}
        self._pushed: dict[str, Any] = {}  # versions of the costly parts that the page shows
        self._is_flicker_on = False
        self._app = app = SlicerApp()
        slicer.mrmlScene = app.scene
        app.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())  # in Slicer a widget logic does
        _log_vtk()
        worker = WorkerOptions(command or worker_command(), budget_ms=BUDGET_MS)
        self.controller = ExplorerController(app.scene, worker, self._changed, lambda: self.views.render())
        self._defaults = state.fields_of(self.controller)
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
            on_rendered=self.controller.catch_up,
            on_motion=lambda: display.set_detail(self.controller.parameters, fine=False),
            on_rest=self.controller.settle,
        )
        self.controller.rendering = self.views.scheduler
        self.views.set_layout("four")
        page.build(server, self.views, Actions(self))
        self._listen()
        self._push()

    async def close(self) -> None:
        """End the worker and remove the uploads."""
        for task in list(self._tasks):
            task.cancel()
        await self.views.scheduler.close()
        await self.controller.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    async def open_file(self, field: str, path: Path, title: str, scratch: Path | None = None) -> None:
        """Read an image, a second channel, segments, landmarks or a task model, and choose it.

        Args:
            field: Field of the parameters, or "model".
            path: A file, or a folder with a DICOM series.
            title: Name of the node.
            scratch: Temporary folder, which is removed; None to make one.

        Raises:
            InputError: It cannot be read.
        """
        scratch = scratch or Path(tempfile.mkdtemp(dir=self.scratch))
        self._set_reading(field, True)
        try:
            if field == "model":
                self.controller.import_model(path)
                self.page.method_items = state.methods_of(self.controller)
            else:
                part = field.removeprefix("fixed").removeprefix("moving").lower()
                kind = "image" if part in ("volume", "channel") else part
                self._add(field, title, await read_file(path, scratch, kind))
        finally:
            self._set_reading(field, False)
            shutil.rmtree(scratch, ignore_errors=True)

    async def open_pair(self, fixed: Path, moving: Path) -> None:
        """Open two images; the page shows errors."""
        images = {"fixedVolume": fixed, "movingVolume": moving}
        for field in images:
            self._set_reading(field, True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            for field, found in zip(images, await read_files(list(images.values()), Path(scratch)), strict=True):
                if isinstance(found, SPRError):
                    self.notify(messages.refused(found))
                else:
                    self._add(field, stem_of(images[field].name), found)
                self._set_reading(field, False)

    async def try_to_open(self, field: str, path: Path) -> None:
        """Open an image; the page shows an error."""
        try:
            await self.open_file(field, path, stem_of(path.name))
        except SPRError as error:
            self.notify(messages.refused(error))

    def _add(self, field: str, title: str, content: FileContent) -> None:
        self.controller.add(field, title, content)
        if field in REFERENCES:
            self.page.show_references = True
        elif field not in CHANNELS:
            self.views.fit()

    def load_sample(self) -> None:
        """Load the sample pair."""
        self.controller.load_sample()
        self.views.fit()

    def notify(self, notice: str) -> None:
        """Show a notice on the page."""
        with self.state:
            self.page.notice, self.page.notice_open = notice, True

    def press_key(self, key: str) -> None:
        """Handle a key of the page."""
        key = key if isinstance(key, str) else ""
        if key in SWITCHES:
            self.controller.change(SWITCHES[key], not getattr(self.controller.parameters, SWITCHES[key]))
        elif key in KEYS:
            self._move_slider(*KEYS[key])
        elif key in (",", "."):
            self.views.step(1 if key == "." else -1)
        else:
            actions = {
                "a": self.controller.apply,
                "c": self.controller.cancel,
                "z": self.controller.undo,
                "Z": self.controller.redo,
                "r": self.views.fit,
            }
            actions.get(key, lambda: None)()

    def open_link(self, text: str) -> None:
        """Set the settings of a URL fragment; invalid parts are ignored and named on the page."""
        ignored = links.unknown_in(str(text))
        for field, value in links.fields_in(str(text)).items():
            try:
                self.controller.change(field, value)
            except SPRError as error:
                logger.warning("part of a link was ignored: %s", error)
                ignored.append(field)
        if ignored:
            self.notify(messages.left_out(ignored))

    def run_in_background(self, work: Coroutine) -> None:
        """Run a coroutine as a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _move_slider(self, index: int, direction: int) -> None:
        sliders = panel_state.slider_states(self.controller)
        if sliders.fields:
            field = sliders.fields[min(index, len(sliders.fields) - 1)]
            low, high = sliders.ranges[field][:2]
            value = getattr(self.controller.parameters, field) + direction * (high - low) / 40
            self.controller.change(field, min(max(value, low), high))
            self._slider_moved()

    def _listen(self) -> None:
        """Handle changes and triggers of a page."""
        self.state.change(*CHANGEABLE)(self._fields_changed)
        names = self._page.name
        self._page.bind_changes({names.layout: self._layout_changed, names.show_references: self._references_changed})
        self.server.trigger("key")(self.press_key)
        self.server.trigger("link")(self.open_link)
        self.server.trigger("ready")(lambda: self._later("open", PAGE_SECONDS, self.controller.open_by_itself))

    def _start_state(self) -> None:
        self.state.trame__title = _("SPR Registration Explorer")
        self.state.trame__favicon = None
        self.page.folder_files = list(list_images(self.folder))
        self.page.method_items = state.methods_of(self.controller)
        self.state.update(self._defaults)

    def _fields_changed(self, **values: Any) -> None:
        """Apply changes of the page; the next update reverts invalid ones."""
        known = state.fields_of(self.controller)
        for field in CHANGEABLE:
            if values[field] != known[field]:
                try:
                    self.controller.change(field, values[field])
                except SPRError as error:
                    logger.warning("refused a value of the page: %s", error)
                if field in FIELDS:
                    self._slider_moved()
        self._changed()

    def _slider_moved(self) -> None:
        """Begin or continue a motion, and postpone the entry in the undo history."""
        if self.controller.parameters.live:
            self.views.scheduler.note_motion(repeated=False)
        self._later("record", GESTURE_SECONDS, self.controller.end_gesture)

    def _layout_changed(self, layout: str) -> None:
        if layout in [item["value"] for item in layout_choices()]:
            self.views.set_layout("original" if self.controller.parameters.originalAnatomy else layout)

    def _references_changed(self, is_shown: bool) -> None:
        nodes.show_references(self.controller.parameters, bool(is_shown))
        self.views.render()

    def _changed(self) -> None:
        self._later("push", PUSH_SECONDS_IN_MOTION if self.views.scheduler.is_moving else PUSH_SECONDS, self._push)

    def _push(self) -> None:
        """Update the page from the controller."""
        with self.state:
            fields = state.fields_of(self.controller)
            if fields["originalAnatomy"] != (self.views.layouts.layout_id == "original"):
                self.views.set_layout("original" if fields["originalAnatomy"] else self.page.layout)
                self.controller.show()
                self._references_changed(self.page.show_references)
            self.state.update(fields)
            self._shown.set_dataclass(state.state_of(self.controller))
            self.page.link = links.link_of(fields, self._defaults | state.set_by_anatomy(self.controller))
            self._push_costly()
        if fields["flicker"]:
            self._later("flicker", FLICKER_SECONDS, self._flicker)

    def _push_costly(self) -> None:
        """Update the parts that are costly to compute, each only for a new input."""
        parameters, session = self.controller.parameters, self.controller.session
        if self._is_new("model", self.controller.model):
            self.page.card = state.card_of(self.controller)
        if self._is_new("pair", panel_state.check_key(self.controller)):
            state.update_check(self.page, self.controller)
            self._references_changed(self.page.show_references)
        if not self.views.scheduler.is_moving and self._is_new("result", session and session.shown):
            self.page.histogram = state.histogram_of(self.controller)
        table = parameters.segmentTable
        points = panel_state.map_key(self.controller)
        if self._is_new("points", (*points, table and (table.GetID(), table.GetMTime()))):
            self.page.map, self.page.segments = state.map_of(self.controller), state.table_of(table)
        table = parameters.landmarkTable
        if self._is_new("landmarks", table and (table.GetID(), table.GetMTime())):
            self.page.landmarks = state.table_of(table)

    def _is_new(self, name: str, version: Any) -> bool:
        """Whether a version differs from the previous one of that name."""
        is_new = name not in self._pushed or self._pushed[name] != version
        self._pushed[name] = version
        return is_new

    def _flicker(self) -> None:
        parameters = self.controller.parameters
        if not outputs.is_alive(parameters):
            return
        self._is_flicker_on = not self._is_flicker_on
        display.set_blend(parameters, float(self._is_flicker_on) if parameters.flicker else parameters.deformedOpacity)
        self.views.render()
        if parameters.flicker:
            self._later("flicker", FLICKER_SECONDS, self._flicker)

    def _later(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        """Call something after a delay; a repeated call restarts the delay (`record`) or is ignored (others)."""
        timer = self._timers.get(name)
        if timer is not None and name == "record":
            timer.cancel()
        elif timer is not None:
            return

        def run() -> None:
            self._timers.pop(name, None)
            work()

        self._timers[name] = asyncio.get_running_loop().call_later(seconds, run)

    def _set_reading(self, field: str, on: bool) -> None:
        with self.state:
            self.page.reading = [*(each for each in self.page.reading or () if each != field), *([field] if on else [])]


def _log_vtk() -> None:
    """Send errors and warnings of VTK to the log."""
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

"""The panel: which registration is looked at, its worker, and the sections that show both.

Each section is a class with the methods `attach` (another registration is looked at), `refresh` (something may have
changed; called often, must be cheap) and `detach`. They hold no state that the parameter node or the session has.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from SPRCore.live.events import Deadlines
from SPRRegistrationLib.models import TaskModel
from SPRRegistrationLib.parameters import SPRRegistrationParameters
from SPRRegistrationLib.qt import install, process
from SPRRegistrationLib.qt.export import Export
from SPRRegistrationLib.qt.inputs import Inputs
from SPRRegistrationLib.qt.nodes import Nodes
from SPRRegistrationLib.qt.painted_stiffness import PaintedStiffness
from SPRRegistrationLib.qt.quality import Quality
from SPRRegistrationLib.qt.regularization import Settings
from SPRRegistrationLib.qt.run import Run
from SPRRegistrationLib.qt.settings_map import SettingsMap
from SPRRegistrationLib.qt.show import Show
from SPRRegistrationLib.qt.snapshots import SnapshotButtons
from SPRRegistrationLib.qt.suggestion import Suggestion
from SPRRegistrationLib.qt.task_model import Model
from SPRRegistrationLib.scene import inputs, snapshots
from SPRRegistrationLib.session import RegistrationSession, Stage

SECTIONS = (
    *(Inputs, Model, Settings, PaintedStiffness, Run, Show, Quality, SettingsMap, SnapshotButtons, Export, Suggestion),
)
PARTS = (
    *("inputsSection", "modelSection", "regularizationSection", "applyFrame"),
    *("showSection", "qualitySection", "mapSection", "exportSection"),
)
"""Widgets that are of use only while there is a registration."""

logger = logging.getLogger("SPRRegistration")


class Panel:
    """Brings the widgets, the parameter node and the workers together.

    Args:
        ui: The widgets by their names.
        logic: Knows the registrations of the scene.
        resource: Path of a file of the module's resources.

    Attributes:
        ui: The widgets by their names.
        parameters: The registration that is looked at, or None.
        session: Its worker, or None as long as none was needed.
        is_installing: Whether packages are being installed.
    """

    def __init__(self, ui: SimpleNamespace, logic: object, resource: Callable[[str], str]) -> None:
        self.ui, self.logic, self.resource = ui, logic, resource
        self.parameters: SPRRegistrationParameters | None = None
        self.sessions: dict[str, tuple[RegistrationSession, process.QProcessTransport, tuple]] = {}
        self.command: list[str] = process.worker_command()
        self.deadlines: Deadlines | None = None
        self._gui_tag = self._observation = None
        self._refreshing, self._entered, self.is_installing = False, False, False
        self._before_import: set[str] | None = None
        for widget in vars(ui).values():
            if widget.inherits("qMRMLNodeComboBox"):  # otherwise the longest name says how wide the panel is
                widget.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        ui.registrationSelector.setNodeTypeLabel(_("Registration"), "vtkMRMLScriptedModuleNode")
        ui.registrationSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", logic.moduleName)
        self.sections = [section(self) for section in SECTIONS]
        self._inputs, self._model, self._run = (self.sections[SECTIONS.index(kind)] for kind in (Inputs, Model, Run))
        ui.registrationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._choose)
        self._nodes = Nodes(self, slicer.mrmlScene)

    @property
    def session(self) -> RegistrationSession | None:
        """The worker of the registration that is looked at."""
        found = self.sessions.get(self._identifier())
        return None if found is None else found[0]

    def enter(self) -> None:
        """Look at the registration that was looked at before, or at the first of the scene; once more does no harm."""
        self._entered = True
        self._take_imported()
        if self.parameters is None:
            parameters = self.logic.getParameterNode()
            self.ui.registrationSelector.setCurrentNode(parameters.parameterNode)
            if self.parameters is None:  # it was current already
                self._attach(parameters)
        elif self._observation is None:
            self._resume()

    def exit(self) -> None:
        """Rest until the module is entered again; the widgets stay connected, for Slicer 5.10 forgets an observer."""
        self._entered = False
        self._rest()

    def forget_scene(self) -> None:
        """Let go of all nodes and end all workers: the scene is being closed."""
        self._detach()
        self.parameters, self._before_import = None, None
        for identifier in list(self.sessions):
            self.end_session(identifier)

    def import_starts(self) -> None:
        """Note which registrations there are: a file is about to be read into the scene."""
        self._before_import = {node.GetID() for node in self.logic.getAllParameterNodes()}

    def end_orphans(self) -> None:
        """End the workers of registrations that were deleted."""
        for identifier in [key for key in self.sessions if slicer.mrmlScene.GetNodeByID(key) is None]:
            self.end_session(identifier)

    def close(self) -> None:
        """End everything."""
        self.forget_scene()
        self._nodes.close()
        for section in self.sections:
            getattr(section, "close", lambda: None)()

    @property
    def is_refreshing(self) -> bool:
        """Whether the widgets change because of a program, not of the user."""
        return self._refreshing or self._observation is None

    @property
    def task_model(self) -> TaskModel:
        """The method that is chosen."""
        return self._model.chosen()

    def propose(self, about: str) -> None:
        """Choose the task model for a new pair of which something is known, unless the user has chosen one."""
        self._model.propose(about)

    def choose_only_pair(self) -> None:
        """Choose the images if there are exactly two and nothing is chosen: some came while the panel is open."""
        if self._observation is not None and not slicer.mrmlScene.IsBatchProcessing():
            self._inputs.choose_only_pair()

    def ready_session(self) -> RegistrationSession | None:
        """Return a worker that can be asked for something, after an installation if need be; None if there is none."""
        session = self.ensure_session() if self._run.ensure_installed() else None
        return None if session is None or session.stage is Stage.FAILED else session

    def missing(self) -> list[str]:
        """Return what has to be installed before a worker can run."""
        return install.missing(Path(self.resource("requirements.txt")))

    @contextlib.contextmanager
    def installing(self) -> Iterator[None]:
        """Let nobody click or drag while packages are installed: Slicer lets events through after each line of pip."""
        self.is_installing = True
        self._enable()
        qt.QApplication.setOverrideCursor(qt.QCursor(qt.Qt.WaitCursor))
        try:
            self.refresh()
            slicer.app.processEvents()
            yield
        finally:
            qt.QApplication.restoreOverrideCursor()
            self.is_installing = False
            self._enable()

    def ensure_session(self) -> RegistrationSession:
        """Return a worker that has opened, or is opening, the pair as the parameters name it now."""
        identifier, pair = self._identifier(), self._pair()
        found = self.sessions.get(identifier)
        if found is None:
            transport = process.QProcessTransport()
            session = RegistrationSession(
                self.parameters, transport, self.command, self._session_changed, deadlines=self.deadlines
            )
            transport.on_output, transport.on_log = session.feed, session.feed_log
            transport.on_ended, transport.on_tick = session.ended, session.tick
        else:
            session, transport, opened = found
            if opened == pair and session.stage not in (Stage.NO_PAIR, Stage.FAILED):
                return session
        self.sessions[identifier] = (session, transport, pair)
        session.open()
        return session

    def end_session(self, identifier: str = "") -> None:
        """End the worker of a registration; by default of the one that is looked at."""
        session, transport, _pair = self.sessions.pop(identifier or self._identifier(), (None, None, None))
        if session is not None:
            session.close()
            transport.stop()

    def is_stale(self) -> bool:
        """Whether the worker has opened something else than the parameters name now."""
        found = self.sessions.get(self._identifier())
        return found is not None and found[2] != self._pair()

    def refresh(self) -> None:
        """Show how things stand."""
        if self.parameters is None or self._observation is None or self._refreshing:
            return
        self._refreshing = True
        try:
            for section in self.sections:
                section.refresh()
        finally:
            self._refreshing = False

    def _identifier(self) -> str:
        return "" if self.parameters is None else self.parameters.parameterNode.GetID() or ""

    def _pair(self) -> tuple:
        return inputs.chosen(self.parameters, inputs.OPENING)

    def _choose(self, node: slicer.vtkMRMLNode | None) -> None:
        self.end_orphans()
        if node is None:
            self._detach()
            self.parameters = None
        elif self.parameters is None or node is not self.parameters.parameterNode:
            self._attach(self.logic.parameters_of(node))

    def _take_imported(self) -> None:
        """Look at a registration that a file has brought, in place of one that nobody has touched."""
        before, self._before_import = self._before_import, None
        if before is None or self.parameters is None or not is_untouched(self.parameters):
            return
        came = [node for node in self.logic.getAllParameterNodes() if node.GetID() not in before]
        if came:
            empty = self.parameters.parameterNode
            self.ui.registrationSelector.setCurrentNode(came[0])
            slicer.mrmlScene.RemoveNode(empty)

    def _attach(self, parameters: SPRRegistrationParameters) -> None:
        self._detach()
        self.parameters = parameters
        self._gui_tag = parameters.connectGui(self.ui)
        self._enable()
        if self._entered:
            self._resume()

    def _resume(self) -> None:
        for section in self.sections:
            section.attach()
        self._observation = self.parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters_changed()  # perhaps, while nobody looked

    def _rest(self) -> None:
        if self._observation is not None:
            for section in self.sections:
                section.detach()
            self.parameters.RemoveObserver(self._observation)
            self._observation = None

    def _detach(self) -> None:
        self._rest()
        if self._gui_tag is not None:
            self.parameters.disconnectGui(self._gui_tag)
            self._gui_tag = None
        self._enable()

    def _enable(self) -> None:
        """Let nobody click what needs a registration while there is none, nor anything during an installation."""
        for name in PARTS:
            getattr(self.ui, name).enabled = self._gui_tag is not None and not self.is_installing
        self.ui.registrationSelector.enabled = not self.is_installing

    def _parameters_changed(self, caller: vtk.vtkObject | None = None, event: str = "") -> None:
        if self.is_stale() and self.session.stage not in (Stage.NO_PAIR, Stage.FAILED):
            self.end_session()
        elif self.session is not None:
            self.session.remeasure()
        self.refresh()

    def _session_changed(self, session: RegistrationSession) -> None:
        if self.session is session:
            self.refresh()


def is_untouched(parameters: SPRRegistrationParameters) -> bool:
    """Whether a registration refers to nothing in the scene and its setting was never changed."""
    node = parameters.parameterNode
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    has_nodes = any(node.GetNodeReferenceID(role) for role in roles)
    return not has_nodes and not parameters.snapshots and not snapshots.history_of(parameters).can_undo

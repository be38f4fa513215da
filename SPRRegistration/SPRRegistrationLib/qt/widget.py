"""The panel: which registration is current, and the sections that show it.

Each section has the methods `attach` (another registration is current), `refresh` (something may have changed) and
`detach`. The state is in the parameter node and in the controller.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from SPRRegistrationLib import models
from SPRRegistrationLib.controller import Controller
from SPRRegistrationLib.parameters import SPRRegistrationParameters
from SPRRegistrationLib.qt import controllers, install
from SPRRegistrationLib.qt.export import ExportSection
from SPRRegistrationLib.qt.inputs import InputsSection
from SPRRegistrationLib.qt.log import LogSection
from SPRRegistrationLib.qt.outputs import OutputsSection
from SPRRegistrationLib.qt.presets import PresetsSection
from SPRRegistrationLib.qt.progress import ProgressSection
from SPRRegistrationLib.qt.quality import QualitySection
from SPRRegistrationLib.qt.regularization import RegularizationSection
from SPRRegistrationLib.qt.run import RunSection
from SPRRegistrationLib.qt.scene_observer import SceneObserver
from SPRRegistrationLib.qt.settings_map import SettingsMapSection
from SPRRegistrationLib.qt.show import ShowSection
from SPRRegistrationLib.qt.snapshots import SnapshotsSection
from SPRRegistrationLib.qt.stiffness_factors import StiffnessFactorsSection
from SPRRegistrationLib.qt.suggestion import SuggestionSection
from SPRRegistrationLib.qt.task_model import TaskModelSection
from SPRRegistrationLib.scripting import is_untouched
from SPRRegistrationLib.session import RegistrationSession
from SPRRegistrationLib.tooltips import tooltips

SECTIONS = (
    *(InputsSection, TaskModelSection, RegularizationSection, StiffnessFactorsSection, RunSection, ShowSection),
    *(QualitySection, SettingsMapSection, SnapshotsSection, OutputsSection, ExportSection, SuggestionSection),
    *(PresetsSection, ProgressSection, LogSection),
)
PARTS = (
    *("sampleButton", "inputsSection", "modelSection", "regularizationSection", "applyFrame"),
    *("showSection", "qualitySection", "mapSection", "outputsSection", "exportSection"),
)
"""Widgets that are disabled while there is no registration."""


class SlicerPanel:
    """Connects the widgets to the registrations of the scene.

    Args:
        ui: The widgets by their names.
        logic: Lists the registrations of the scene.
        resource: Path of a file of the module's resources.

    Attributes:
        ui: The widgets by their names.
        controller: The controller of the current registration; None for no registration.
        controllers: Those of all registrations that were current or made by scripts, by the identifiers of their nodes.
        worker: How workers are started.
        is_installing: Whether packages are being installed.
    """

    def __init__(self, ui: SimpleNamespace, logic: object, resource: Callable[[str], str]) -> None:
        self.ui, self.logic, self.resource = ui, logic, resource
        self.controller: Controller | None = None
        self._shared = controllers.shared()
        self.controllers, self.worker = self._shared.by_node, self._shared.worker
        self._gui_tag = self._observation = None
        self._refreshing, self._entered, self.is_installing = False, False, False
        self._before_import: tuple[set[str], SPRRegistrationParameters | None] | None = None
        for name, widget in vars(ui).items():
            tooltip = tooltips().get(widget.property("SlicerParameterName") or name)
            if tooltip:
                widget.toolTip = tooltip
            if widget.inherits("qMRMLNodeComboBox"):  # otherwise the longest name sets the width of the panel
                widget.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
        ui.registrationSelector.setNodeTypeLabel(_("Registration"), "vtkMRMLScriptedModuleNode")
        ui.registrationSelector.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", logic.moduleName)
        self.sections = [section(self) for section in SECTIONS]
        self.run_section = self.sections[SECTIONS.index(RunSection)]
        ui.registrationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._choose)
        self._observer = SceneObserver(self, slicer.mrmlScene)

    @property
    def parameters(self) -> SPRRegistrationParameters | None:
        """The parameters of the current registration; None for no registration."""
        return None if self.controller is None else self.controller.parameters

    @property
    def session(self) -> RegistrationSession | None:
        """The session of the current registration on its worker; None if there is none."""
        return None if self.controller is None else self.controller.session

    def enter(self) -> None:
        """Show the registration that was current, or the first of the scene; may be called repeatedly."""
        self._entered = True
        self._take_imported()
        if self.controller is None:
            self._show(self.logic.getParameterNode())
        elif self._observation is None:
            self._resume()

    def exit(self) -> None:
        """Pause until the module is entered again; the widgets stay connected, as Slicer 5.10 loses an observer."""
        self._entered = False
        self._pause()

    def forget_scene(self) -> None:
        """Release all nodes and end all workers: the scene is being closed."""
        self._detach()
        self.controller, self._before_import = None, None
        self._shared.end_all()

    def import_starts(self) -> None:
        """Note the registrations of the scene, and release the current one, before a file is read into the scene.

        After it, each selector empties its list and says that no node is selected: that is no choice of the user.
        """
        if self._before_import is None:
            self._before_import = ({node.GetID() for node in self.logic.getAllParameterNodes()}, self.parameters)
        self._detach()
        self.controller = None

    def end_orphans(self) -> None:
        """End the workers of registrations that were deleted."""
        self._shared.end_deleted()

    def close(self) -> None:
        """End everything."""
        self.forget_scene()
        self._observer.close()
        for section in self.sections:
            getattr(section, "close", lambda: None)()

    @property
    def is_refreshing(self) -> bool:
        """Whether the widgets are changed by the program, not by the user."""
        return self._refreshing or self._observation is None

    def choose_only_pair(self) -> None:
        """Choose the images if there are exactly two and none is chosen: some were added while the panel is open."""
        if self._observation is not None and not slicer.mrmlScene.IsBatchProcessing():
            self.controller.choose_only_pair()

    def missing(self) -> list[str]:
        """Return what has to be installed before a worker can run."""
        return install.missing(Path(self.resource("requirements.txt")))

    @contextlib.contextmanager
    def installing(self) -> Iterator[None]:
        """Disable the panel while packages are installed: Slicer processes events after each line of pip."""
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

    def refresh(self) -> None:
        """Bring all sections to the registration."""
        if self._observation is None or self._refreshing:
            return
        self._refreshing = True
        try:
            for section in self.sections:
                section.refresh()
        finally:
            self._refreshing = False

    def _controller_of(self, parameters: SPRRegistrationParameters) -> Controller:
        found = self._shared.of(parameters)
        found.on_change = lambda: self.refresh() if self.controller is found else None
        found.may_start = lambda: not self.is_installing and not self.missing()
        found.models = models.find_models()  # another registration may have imported one
        return found

    def _choose(self, node: slicer.vtkMRMLNode | None) -> None:
        if self._before_import is not None:
            return
        self.end_orphans()
        if node is None:
            self._detach()
            self.controller = None
        elif self.parameters is None or node is not self.parameters.parameterNode:
            self._attach(self.logic.parameters_of(node))

    def _take_imported(self) -> None:
        """Show the registration again that was current before an import, or an imported one if it was never used."""
        (before, current), self._before_import = self._before_import or (set(), None), None
        if current is None or current.parameterNode.GetScene() is None:
            return
        came = [node for node in self.logic.getAllParameterNodes() if node.GetID() not in before]
        if came and is_untouched(current):
            self._show(self.logic.parameters_of(came[0]))
            slicer.mrmlScene.RemoveNode(current.parameterNode)
        else:
            self._show(current)

    def _show(self, parameters: SPRRegistrationParameters) -> None:
        """Select a registration."""
        self.ui.registrationSelector.setCurrentNode(parameters.parameterNode)
        if self.controller is None:  # the node was selected already
            self._attach(parameters)

    def _attach(self, parameters: SPRRegistrationParameters) -> None:
        self._detach()
        self.controller = self._controller_of(parameters)
        self._gui_tag = self.parameters.connectGui(self.ui)
        self._enable()
        if self._entered:
            self._resume()

    def _resume(self) -> None:
        for section in self.sections:
            section.attach()
        self._observation = self.parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
        self._parameters_changed()  # they may have, in the meantime

    def _pause(self) -> None:
        if self._observation is not None:
            for section in self.sections:
                section.detach()
            self.parameters.RemoveObserver(self._observation)
            self._observation = None

    def _detach(self) -> None:
        self._pause()
        if self._gui_tag is not None:
            self.parameters.disconnectGui(self._gui_tag)
            self._gui_tag = None
        self._enable()

    def _enable(self) -> None:
        """Disable what needs a registration while there is none, and everything during an installation."""
        for name in PARTS:
            getattr(self.ui, name).enabled = self._gui_tag is not None and not self.is_installing
        self.ui.registrationSelector.enabled = not self.is_installing

    def _parameters_changed(self, caller: vtk.vtkObject | None = None, event: str = "") -> None:
        self.controller.changed()

"""The module SPR Registration of 3D Slicer; its panel is in `SPRRegistrationLib.qt.widget`."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# SPRCore is beside this file if installed, and one folder higher in a checkout.
_FOLDER = Path(__file__).resolve().parent
for _folder in (_FOLDER, _FOLDER.parent):
    if (_folder / "SPRCore").is_dir() and str(_folder) not in sys.path:
        sys.path.append(str(_folder))


HOMEPAGE = "https://github.com/OWNER/SlicerSPRRegistration"
"""As in `CMakeLists.txt`."""


class SPRRegistration(ScriptedLoadableModule):
    """Title, category, help and acknowledgement of the module."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SPR Registration")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Registration")]
        parent.dependencies = []
        parent.contributors = ["The SPRRegistration contributors"]
        parent.helpText = _(
            "Deforms one 3-D image onto another. The stiffness of the deformation varies over the image, follows two "
            "sliders while they move, and is shown as a map. Research software: not for diagnosis or treatment."
        )
        page = f"{HOMEPAGE}/blob/main/docs/how-to/use-in-slicer.md"
        parent.helpText += f'<p><a href="{page}">{_("How to use it, step by step")}</a></p>'
        parent.acknowledgementText = _(
            "The method is spatially varying regularization with hyperparameters that are learned: "
            "J. Chen et al., “Unsupervised learning of spatially varying regularization for diffeomorphic image "
            "registration”, arXiv:2412.17982."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Offer the sample data in the module Sample Data."""
    from SPRRegistrationLib.scene import samples

    samples.register(str(_FOLDER / "Resources" / "Icons"))


class SPRRegistrationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Forwards Slicer's events to the panel."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic, self.panel = None, None

    def setup(self) -> None:
        """Create the panel, when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        from SPRRegistrationLib.qt.widget import SlicerPanel

        widget = slicer.util.loadUI(self.resourcePath("UI/SPRRegistration.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = SPRRegistrationLogic()
        self.panel = SlicerPanel(slicer.util.childWidgetVariables(widget), self.logic, self.resourcePath)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.scene_closes)
        self.addObserver(scene, scene.StartImportEvent, self.import_starts)
        for event in (scene.EndCloseEvent, scene.EndImportEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.scene_changed)
        slicer.app.connect("aboutToQuit()", self.cleanup)
        self.panel.enter()

    def cleanup(self) -> None:
        """End all workers: Slicer closes, or the module is reloaded."""
        self.removeObservers()
        if self.panel is not None:
            slicer.app.disconnect("aboutToQuit()", self.cleanup)
            self.panel.close()
            self.panel = None

    def onReload(self) -> None:
        """Reload the module with all of its files, for developers."""
        for name in [name for name in sys.modules if name.split(".")[0] == "SPRRegistrationLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self) -> None:
        """Resume, when the module is opened again."""
        if self.panel is not None:
            self.panel.enter()

    def exit(self) -> None:
        """Pause, when another module is opened; a computation continues."""
        if self.panel is not None:
            self.panel.exit()

    def scene_closes(self, caller: vtk.vtkObject, event: str) -> None:
        """Release everything in the scene."""
        if self.panel is not None:
            self.panel.forget_scene()

    def import_starts(self, caller: vtk.vtkObject, event: str) -> None:
        """Prepare for a file that is read into the scene."""
        if self.panel is not None:
            self.panel.import_starts()

    def scene_changed(self, caller: vtk.vtkObject, event: str) -> None:
        """Show the registration of a changed scene, after the batch that closes it and reads a file."""
        if self.panel is not None and self.parent.isEntered and not slicer.mrmlScene.IsBatchProcessing():
            self.panel.enter()


class SPRRegistrationLogic(ScriptedLoadableModuleLogic):
    """Lists the registrations of the scene, and registers and warps for scripts."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.isSingletonParameterNode = False  # several registrations live in one scene

    def getParameterNode(self) -> object:
        """Return the parameters of the first registration of the scene, created if necessary."""
        return self.parameters_of(super().getParameterNode())

    def parameters_of(self, node: slicer.vtkMRMLScriptedModuleNode) -> object:
        """Return the parameters that a node holds."""
        from SPRRegistrationLib.parameters import SPRRegistrationParameters

        return SPRRegistrationParameters(node)

    def registerVolumes(
        self,
        fixedVolume: slicer.vtkMRMLScalarVolumeNode,
        movingVolume: slicer.vtkMRMLScalarVolumeNode,
        outputVolume: slicer.vtkMRMLScalarVolumeNode = None,
        outputTransform: slicer.vtkMRMLGridTransformNode = None,
        registration: object = None,
        timeout: float | None = None,
        **settings: object,
    ) -> object:
        """Register two volumes, and wait for the exact result.

        Args:
            fixedVolume: Image that stays as it is.
            movingVolume: Image that is deformed onto it; it is not changed.
            outputVolume: Node for the deformed image; None for that of the registration, at first a new one.
            outputTransform: Node for the deformation; likewise.
            registration: A registration of the scene to be used again, as its parameters or its node; None for one that
                was never used, or else a new one.
            timeout: Most seconds; None for no limit.
            settings: Fields of the parameters, such as `anatomy="lung"`, `alignment="rigid"`, `fixedMask=segmentation`.

        Returns:
            The parameters of the registration, with the results: `deformedVolume`, `displacementTransform`,
            `inverseTransform`, `weightVolume`, `jacobianVolume`, `quality` and `report`.

        Raises:
            InputError: The images, nodes or settings cannot be used, or software is missing.
            RegistrationFailed: There is no result.
        """
        run = self.startRegistration(
            fixedVolume, movingVolume, outputVolume, outputTransform, registration=registration, **settings
        )
        return run.wait(timeout)

    def startRegistration(
        self,
        fixedVolume: slicer.vtkMRMLScalarVolumeNode,
        movingVolume: slicer.vtkMRMLScalarVolumeNode,
        outputVolume: slicer.vtkMRMLScalarVolumeNode = None,
        outputTransform: slicer.vtkMRMLGridTransformNode = None,
        registration: object = None,
        **settings: object,
    ) -> object:
        """Start a registration without waiting; arguments and `InputError` as `registerVolumes`.

        Returns:
            The `RegistrationRun`, with `then(done, failed, progress)`, `wait()` and `cancel()`.
        """
        from SPRRegistrationLib import scripting
        from SPRRegistrationLib.qt import controllers

        from SPRCore.errors import InputError

        missing = controllers.shared().missing()
        if missing:
            remedy = "press Apply once in the module SPR Registration, which installs it"
            raise InputError("software", got=f"no {', '.join(missing)}", remedy=remedy)
        if isinstance(registration, slicer.vtkMRMLScriptedModuleNode):
            registration = self.parameters_of(registration)
        registration = registration or self._unused((fixedVolume, movingVolume))
        made = registration is None
        if made:
            registration = self.parameters_of(slicer.mrmlScene.AddNode(self.createParameterNode()))
        nodes = {"fixedVolume": fixedVolume, "movingVolume": movingVolume}
        nodes |= {"deformedVolume": outputVolume, "displacementTransform": outputTransform}
        controller = controllers.shared().of(registration)
        try:
            return scripting.start(controller, nodes, settings, slicer.app.processEvents)
        except InputError:
            if made:
                slicer.mrmlScene.RemoveNode(registration.parameterNode)
            raise

    def warp(
        self,
        node: slicer.vtkMRMLTransformableNode,
        transform: slicer.vtkMRMLTransformNode,
        referenceVolume: slicer.vtkMRMLScalarVolumeNode = None,
    ) -> slicer.vtkMRMLTransformableNode:
        """Return a copy of a node, named "... warped", that is deformed in the same way as the moving image.

        Args:
            node: Image, label map, segmentation, markups or model in the space of the moving image.
            transform: `displacementTransform` of a registration, or `inverseTransform` for nodes in the space of the
                fixed image.
            referenceVolume: Image whose grid images, label maps and segmentations get; None for the grid of the
                transform: that of the fixed image after an exact result.

        Raises:
            InputError: The node cannot be deformed.
        """
        from SPRRegistrationLib.scene import geometry, warping

        return warping.warp(node, transform, None if referenceVolume is None else geometry.grid_of(referenceVolume))

    def _unused(self, images: tuple) -> object:
        """Return the parameters of a registration that was never used, with these images or without; None for none."""
        from SPRRegistrationLib.scripting import is_untouched

        found = [self.parameters_of(node) for node in self.getAllParameterNodes()]
        return next((parameters for parameters in found if is_untouched(parameters, images)), None)


class SPRRegistrationTest(ScriptedLoadableModuleTest):
    """Runs the tests of `Testing/Python`, for “Reload and Test”."""

    def runTest(self) -> None:
        """Run them all."""
        slicer.mrmlScene.Clear()
        folder = _FOLDER / "Testing" / "Python"
        suite = unittest.TestLoader().discover(str(folder), pattern="SPRRegistration*Test.py")
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful() or result.testsRun == 0:
            raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed")

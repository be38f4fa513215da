"""Slice views of a scene, drawn off screen by Slicer's own displayable managers."""

from __future__ import annotations

import functools
import subprocess
import sys

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)

_PROBE = "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(8, 8); w.Render()"


@functools.cache
def can_draw():
    """Whether there is an OpenGL to draw with; asked of another process, since one without would be killed."""
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=120, check=False)
    return done.returncode == 0


class SliceView:
    """One slice view.

    Args:
        scene: The scene.
        application: The application's logic, as `core.make_scene` gives it.
        name: Name of the view.
        orientation: "Axial", "Sagittal" or "Coronal".
        size: Width and height in pixels.
        group: Group of views that it belongs to.
    """

    def __init__(self, scene, application, name="Red", orientation="Axial", size=(512, 512), group=0):
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        self._interactor.Initialize()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetViewGroup(group)
        self.composite = self.logic.GetSliceCompositeNode()
        self._texts = []
        self._draw_layers()
        self._manage(application)
        self.logic.ResizeSliceNode(*size)

    def fit(self, zoom=1.0):
        """Show the whole background image, at its middle; less than 1 leaves a margin."""
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()
        if zoom != 1.0:
            width, height, depth = self.node.GetFieldOfView()
            self.node.SetFieldOfView(width / zoom, height / zoom, depth)

    def picture(self):
        """Draw, and return the picture, shape (height, width, 3), from the top."""
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._layers.SetVisibility(connection is not None)
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()

    def write(self, text, place, size=15):
        """Write a text over the picture, as Slicer does with its annotations; an empty one takes all away.

        Args:
            text: The text.
            place: Part of the width and of the height, from the lower left.
            size: Size of the letters.
        """
        if not text:
            for actor in self._texts:
                self._renderer.RemoveViewProp(actor)
            self._texts = []
            return
        actor = vtk.vtkTextActor()
        actor.SetInput(text)
        actor.GetTextProperty().SetFontSize(size)
        actor.GetTextProperty().ShadowOn()
        actor.GetTextProperty().SetJustification(round(2 * place[0]))
        actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        actor.SetPosition(*place)
        self._renderer.AddViewProp(actor)
        self._texts.append(actor)

    def pixel_of(self, place):
        """Row and column of a point (RAS mm) in the picture."""
        to_view = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_view)
        column, row = to_view.MultiplyPoint((*place, 1.0))[:2]
        return round(self.window.GetSize()[1] - 1 - row), round(column)

    def close(self):
        """Let go of the scene."""
        self._group.SetMRMLDisplayableNode(None)
        self.window.Finalize()

    def _draw_layers(self):
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._layers = vtk.vtkActor2D()
        self._layers.SetMapper(self._mapper)
        self._layers.GetProperty().SetDisplayLocationToBackground()
        self._layers.VisibilityOff()
        self._renderer.AddViewProp(self._layers)

    def _manage(self, application):
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for name in _MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self._group = slicer.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self._renderer)
        self._group.Initialize(factory, self._renderer)
        self._group.SetMRMLDisplayableNode(self.node)

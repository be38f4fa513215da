"""The scene and the part of Slicer's Python that needs no Qt; call `install` before the module is imported."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import slicer
import vtk

ROOT = Path(__file__).resolve().parents[3]
SOURCE = os.environ.get("SLICER_SOURCE", "")
"""A checkout of Slicer's source, or nothing."""

_KEPT = []  # an application logic points at the others weakly


def install():
    """Make `slicer.i18n`, `slicer.parameterNodeWrapper` and the module's own packages importable, once."""
    for folder in (ROOT, ROOT / "SPRRegistration"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    if "slicer.i18n" in sys.modules:
        return
    if SOURCE:
        from harness import widgets  # noqa: F401  # Slicer's own parameterNodeWrapper wants qt and ctk

        slicer.__path__.append(str(Path(SOURCE) / "Base" / "Python" / "slicer"))
        importlib.import_module("slicer.i18n")
        importlib.import_module("slicer.parameterNodeWrapper")
        return
    from harness import parameter_nodes

    names = ("parameterNodeWrapper", "WithinRange")
    _module("i18n", tr=lambda text: text, translate=lambda context, text: text)
    _module("parameterNodeWrapper", **{name: getattr(parameter_nodes, name) for name in names})


def _module(name, **contents):
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(contents)
    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)
    return module


def make_scene():
    """Make a scene with the logics of an application.

    Returns:
        The scene, which is `slicer.mrmlScene` from now on, and the application's logic.
    """
    install()
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetHomeDirectory(str(Path(__file__).parent))  # where color files would lie
    application.SetShareDirectory("share")
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    kinds = {
        "Colors": "vtkSlicerColorLogic",
        "Segmentations": "vtkSlicerSegmentationsModuleLogic",
        "Volumes": "vtkSlicerVolumesLogic",
        "Transforms": "vtkSlicerTransformLogic",
    }
    for name, kind in kinds.items():
        logic = getattr(slicer, kind)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        if name == "Colors":
            application.SetColorLogic(logic)
            if scene.GetNodeByID("vtkMRMLColorTableNodeGrey") is None:
                logic.AddDefaultColorNodes()
        _KEPT.append(logic)
    slicer.mrmlScene = scene
    return scene, application


def logic(kind):
    """Return the newest logic of a class, by its name."""
    return next(item for item in reversed(_KEPT) if item.GetClassName() == kind)

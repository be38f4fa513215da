"""The stiffness of single segments: the labels of the fixed image as segments of Slicer, with a factor each."""

from __future__ import annotations

import json
from typing import Any

import slicer

from SPRCore.errors import InputError
from SPRRegistrationLib.scene import inputs

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""To choose from in the Explorer: a tenth lets organs slide, ten times is bone."""

_COPY = "SPRRegistration.CopyOfLabels"


def forget(parameters: Any) -> None:
    """Remove the stiffness factors with their labels; a segmentation that `paint` made is deleted."""
    node = parameters.stiffnessSegments
    parameters.stiffnessSegments, parameters.stiffnessFactors = None, ""
    if node is not None and node.GetScene() is not None and node.GetAttribute(_COPY):
        node.GetScene().RemoveNode(node)


def state_of(parameters: Any) -> tuple:
    """Return what the worker has to know, to be compared: the segmentation, and the factors of its segments."""
    node, factors = parameters.stiffnessSegments, factors_of(parameters)
    keys = [] if node is None else node.GetSegmentation().GetSegmentIDs()
    return node and node.GetID(), {key: factors[key] for key in keys if key in factors}


def paint(parameters: Any, label: int, factor: float) -> None:
    """Make a label of the fixed image stiffer or freer.

    Args:
        parameters: The parameters of a registration with labels of the fixed image.
        label: Its number.
        factor: One of `FACTORS`.

    Raises:
        InputError: There is no such label, or another factor.
    """
    if parameters.fixedLabels is None or factor not in FACTORS:
        got = "no segments" if parameters.fixedLabels is None else repr(factor)[:40]
        raise InputError("stiffness of a segment", got=got, expected=f"one of {', '.join(map('{:g}'.format, FACTORS))}")
    if parameters.stiffnessSegments is None:
        scene = parameters.fixedLabels.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", parameters.fixedLabels.GetName())
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(parameters.fixedLabels, node)
        if node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)  # the labels themselves are outlined, if they are to be seen
        node.SetAttribute(_COPY, "yes")
        parameters.stiffnessSegments = node
    keys = {number: key for key, number in _numbers(parameters.stiffnessSegments).items()}
    key = keys.get(label) if isinstance(label, int) else None
    if key is None:
        raise InputError("segment", got=repr(label)[:40], expected="the number of a label of the fixed image")
    parameters.stiffnessFactors = json.dumps(factors_of(parameters) | {key: factor})


def table(parameters: Any) -> list[dict[str, Any]]:
    """Return the labels of the fixed image with name and factor; none without labels.

    Args:
        parameters: The parameters of a registration.
    """
    if parameters.fixedLabels is None or parameters.fixedVolume is None:
        return []
    names: dict[str, int] = {}
    inputs.label_map(parameters.fixedLabels, parameters.fixedVolume, names)
    factors: dict[int, float] = {}
    if parameters.stiffnessSegments is not None:
        numbers = _numbers(parameters.stiffnessSegments)
        factors = {numbers[key]: factor for key, factor in factors_of(parameters).items() if key in numbers}
    return [{"label": label, "name": name, "factor": factors.get(label, 1.0)} for name, label in names.items()]


def factors_of(parameters: Any) -> dict[str, float]:
    """Return the stiffness factors that were typed or chosen, by the identifiers of the segments."""
    return json.loads(parameters.stiffnessFactors) if parameters.stiffnessFactors else {}


def _numbers(segments: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Number of the label of each segment, by its identifier."""
    inside = segments.GetSegmentation()
    return {key: inside.GetSegment(key).GetLabelValue() for key in inside.GetSegmentIDs()}

"""What a registration is given: images, segments and landmarks of the scene as arrays for the worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SPRCore.errors import InputError

from . import dicom, geometry
from .parameters import setting_of


def arrays_of(parameters: Any) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return the arrays of a pair, by the names that the worker knows, each with its affine.

    Args:
        parameters: The parameters of a registration, with both images.

    Raises:
        InputError: An image cannot be used, or the landmarks do not belong to each other.
    """
    arrays = {}
    for name, volume in (("fixed", parameters.fixedVolume), ("moving", parameters.movingVolume)):
        if volume is None:
            raise InputError(f"{name} image", got="none", expected="an image")
        arrays[name] = geometry.image_of(volume)
    labels = label_pair(parameters)
    if labels is not None:
        arrays["fixed_labels"], arrays["moving_labels"] = labels[1:]
    if parameters.fixedLandmarks is not None and parameters.movingLandmarks is not None:
        sides = [geometry.points_of(node) for node in (parameters.fixedLandmarks, parameters.movingLandmarks)]
        if len(sides[0]) != len(sides[1]):
            got = f"{len(sides[0])} in the fixed and {len(sides[1])} in the moving image"
            raise InputError("landmarks", got=got, expected="the same points in the same order in both")
        if len(sides[0]):
            arrays["fixed_points"], arrays["moving_points"] = ((side, None) for side in sides)
    stiffness = painted_stiffness(parameters)
    if stiffness is not None:
        arrays["stiffness"] = stiffness
    return arrays


def options_of(parameters: Any) -> dict[str, Any]:
    """Return the other fields of the request to open a pair."""
    return {
        "method": parameters.method,
        "prior": parameters.prior.value,
        "setting": setting_of(parameters),
        "refine": parameters.refine,
        "init": parameters.alignment.value,
        "device": parameters.device.value,
    }


def report_of(parameters: Any, result: Any) -> dict[str, Any]:
    """Return what was done, without the names of patients or files, to be kept with the scene.

    Args:
        parameters: The parameters of the registration.
        result: The exact `Result`.
    """
    options = options_of(parameters) | {"setting": result.setting}
    return options | {"milliseconds": result.milliseconds, "metrics": result.metrics}


def label_pair(parameters: Any) -> tuple[dict[str, int], tuple, tuple] | None:
    """Return the labels of both images.

    Segments belong to each other by their names, labels of label maps by their numbers.

    Args:
        parameters: The parameters of a registration.

    Returns:
        The number of each label by its name, and for both images the label map, shape (X, Y, Z), with its affine; None
        if one of them is missing.
    """
    sides = [
        (parameters.fixedLabels, parameters.fixedVolume),
        (parameters.movingLabels, parameters.movingVolume),
    ]
    if any(labels is None for labels, _volume in sides):
        return None
    numbers: dict[str, int] = {}
    maps = [label_map(labels, volume, numbers) for labels, volume in sides]
    return numbers, *maps


def label_map(
    labels: Any, volume: slicer.vtkMRMLScalarVolumeNode, numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments or labels of an image as a label map on its grid.

    Args:
        labels: A segmentation or a label map.
        volume: The image.
        numbers: Number of each segment by its name; names that are new are added.

    Returns:
        The label map, shape (X, Y, Z), and its affine.
    """
    if labels.IsA("vtkMRMLLabelMapVolumeNode"):
        array, affine = geometry.image_of(labels)
        for value in np.unique(array[array != 0]):
            numbers.setdefault(_label_name(labels, int(value)), int(value))
        return array, affine
    ids = list(labels.GetSegmentation().GetSegmentIDs())
    shown = exported(labels, ids, volume)
    array = np.zeros(shown.shape, dtype=np.int16)
    for position, segment_id in enumerate(ids, start=1):
        name = labels.GetSegmentation().GetSegment(segment_id).GetName()
        array[shown == position] = numbers.setdefault(name, max(numbers.values(), default=0) + 1)
    return array, geometry.affine_of(volume)


def painted_stiffness(parameters: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the factor of the stiffness at each voxel of the fixed image, and its affine; None for 1 everywhere."""
    segments, text = parameters.stiffnessSegments, parameters.stiffnessFactors
    factors = {key: float(value) for key, value in (json.loads(text) if text else {}).items()}
    factors = {key: value for key, value in factors.items() if value != 1.0}
    if segments is None or not factors:
        return None
    for value in factors.values():
        if not 0.001 <= value <= 1000:
            raise InputError("stiffness of a segment", got=f"a factor of {value:g}", expected="0.001 to 1000")
    ids = [key for key in segments.GetSegmentation().GetSegmentIDs() if key in factors]
    shown = exported(segments, ids, parameters.fixedVolume)
    values = np.array([1.0] + [factors[key] for key in ids], dtype=np.float32)
    return values[shown], geometry.affine_of(parameters.fixedVolume)


def exported(
    segmentation: slicer.vtkMRMLSegmentationNode, ids: list[str], volume: slicer.vtkMRMLScalarVolumeNode
) -> np.ndarray:
    """Return which segment each voxel of an image belongs to, shape (X, Y, Z): 0 for none, else its place in `ids`.

    Args:
        segmentation: The segments.
        ids: Their identifiers; where they overlap, the last one counts.
        volume: The image whose grid is taken.

    Raises:
        InputError: Slicer cannot convert them.
    """
    if not ids:
        return np.zeros(volume.GetImageData().GetDimensions(), dtype=np.int16)
    names = vtk.vtkStringArray()
    for segment_id in ids:
        names.InsertNextValue(segment_id)
    scene = volume.GetScene()
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "__exported__")
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        whole = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        if not logic.ExportSegmentsToLabelmapNode(segmentation, names, node, volume, whole):
            remedy = "open it in the Segment Editor and look whether it is empty"
            raise InputError(segmentation.GetName(), got="segments that cannot be exported", remedy=remedy)
        return slicer.util.arrayFromVolume(node).transpose(2, 1, 0).astype(np.int16)
    finally:
        display = node.GetDisplayNode()
        colors = None if display is None else display.GetColorNode()
        for one in (colors, display, node):
            if one is not None:
                scene.RemoveNode(one)


def words_about(parameters: Any) -> str:
    """Return what names and files say of a pair, to find the task model for it; nothing is kept or written of it."""
    words = []
    for volume in (parameters.fixedVolume, parameters.movingVolume):
        storage = volume.GetStorageNode()
        words += [volume.GetName() or "", *dicom.tags_of(volume).values()]
        words += [] if storage is None else [Path(storage.GetFileName() or "").name]
    return " ".join(words)


def facts_of(parameters: Any) -> dict[str, float]:
    """Return what can be said of a pair before it is registered.

    Args:
        parameters: The parameters of a registration, with both images.

    Returns:
        `overlap`: part of the fixed image that lies inside the moving one, 0 to 1; `angle_degrees` between their
        directions, axes swapped or turned round not counted; `spacing_ratio` of their voxels, 1 or more; `thickest_mm`:
        the largest distance of voxels.
    """
    grids = []
    for volume in (parameters.fixedVolume, parameters.movingVolume):
        array, affine = geometry.image_of(volume)
        grids.append((array.shape, affine, *geometry.directions_and_spacing(affine)))
    (shape, affine, turned, spacing), (moving_shape, moving_affine, moving_turned, moving_spacing) = grids
    points = np.indices((9, 9, 9)).reshape(3, -1).T / 8 * (np.array(shape) - 1)
    there = points @ affine[:3, :3].T + affine[:3, 3] - moving_affine[:3, 3]
    voxels = there @ np.linalg.inv(moving_affine[:3, :3]).T
    inside = ((voxels >= -0.5) & (voxels <= np.array(moving_shape) - 0.5)).all(axis=1)
    cosines = np.abs(turned.T @ moving_turned).max(axis=1)
    sizes = [float(np.prod(each)) ** (1 / 3) for each in (spacing, moving_spacing)]
    return {
        "overlap": float(inside.mean()),
        "angle_degrees": float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1)))),
        "spacing_ratio": max(sizes) / min(sizes),
        "thickest_mm": float(max(spacing.max(), moving_spacing.max())),
    }


def _label_name(labels: slicer.vtkMRMLLabelMapVolumeNode, value: int) -> str:
    display = labels.GetDisplayNode()
    colors = None if display is None else display.GetColorNode()
    return (colors.GetColorName(value) if colors is not None else "") or f"label {value}"

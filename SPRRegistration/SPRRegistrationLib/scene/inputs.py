"""Inputs of a registration: images, segments and landmarks of the scene as arrays for the worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from SPRCore.errors import InputError
from SPRRegistrationLib import anatomies
from SPRRegistrationLib.parameters import INSTANCE, setting_of
from SPRRegistrationLib.scene import dicom, geometry

PARTS = ("Volume", "Channel", "Labels", "Landmarks", "Mask")
"""What each side of a pair has, by the ends of the fields of the parameters."""

MEASURED = ("fixedLabels", "movingLabels", "fixedLandmarks", "movingLandmarks")
"""Fields of the parameters with the annotations, which never change a deformation."""

MASKS = ("fixedMask", "movingMask")

OPENING = (
    *("fixedVolume", "movingVolume", *MASKS, "initialTransform", "method", "refine", "device", "alignment"),
    *("fixedChannel", "movingChannel", "start", "similarity", "prior"),
)
"""Fields of the request to open a pair; after a change of one of them it has to be opened again."""


def chosen(parameters: Any, fields: Sequence[str]) -> tuple:
    """Return the values of fields of the parameters, of nodes their identifiers, to be compared."""
    values = [getattr(parameters, field) for field in fields]
    return tuple(value.GetID() if hasattr(value, "GetID") else value for value in values)


def opening_of(parameters: Any) -> tuple:
    """Return what a pair is opened with, to be compared: the fields, and the content of masks and initial transform."""
    edited = tuple(_content_of(getattr(parameters, field)) for field in MASKS)
    node = parameters.initialTransform
    matrix = None if node is None else geometry.matrix_to_world(node)
    return *chosen(parameters, OPENING), edited, None if matrix is None else tuple(matrix.ravel())


def _content_of(labels: Any) -> Any:
    """Return a number, or numbers, that change whenever the voxels of a mask do."""
    if labels is None or labels.IsA("vtkMRMLLabelMapVolumeNode"):
        image = None if labels is None else labels.GetImageData()
        return image and image.GetMTime()
    segmentation = labels.GetSegmentation()
    kind = segmentation.GetSourceRepresentationName()
    parts = [segmentation.GetSegmentRepresentation(key, kind) for key in segmentation.GetSegmentIDs()]
    return tuple(part and part.GetMTime() for part in parts)


def annotations_of(parameters: Any) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return the annotations by the names that the worker knows; arguments and errors as `arrays_of`."""
    arrays: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
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
    return arrays


def arrays_of(parameters: Any) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return the arrays of a pair, by the names that the worker knows, each with its affine.

    Args:
        parameters: The parameters of a registration, with both images.

    Raises:
        InputError: An image or mask cannot be used, or the landmarks do not belong to each other.
    """
    arrays = {}
    for name, volume in (("fixed", parameters.fixedVolume), ("moving", parameters.movingVolume)):
        if volume is None:
            raise InputError(f"{name} image", got="none", expected="an image")
        arrays[name] = geometry.image_of(volume)
    arrays |= annotations_of(parameters) | _masks_of(parameters) | _channels_of(parameters)
    stiffness = painted_stiffness(parameters)
    if stiffness is not None:
        arrays["stiffness"] = stiffness
    return arrays


def _channels_of(parameters: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the second channels, by the names that the worker knows; none for a single one."""
    volumes = {side: getattr(parameters, f"{side}Channel") for side in ("fixed", "moving")}
    missing = [side for side, volume in volumes.items() if volume is None]
    if len(missing) == 1:
        got = f"none of the {missing[0]} image"
        raise InputError("second channel", got=got, expected="those of both images, or none")
    return {} if missing else {f"{side}_channel": geometry.image_of(volume) for side, volume in volumes.items()}


def _masks_of(parameters: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return 1 where an image is compared and 0 elsewhere, by the names that the worker knows."""
    arrays = {}
    for side in ("fixed", "moving"):
        mask, volume = getattr(parameters, f"{side}Mask"), getattr(parameters, f"{side}Volume")
        if mask is not None:
            if mask.IsA("vtkMRMLLabelMapVolumeNode"):
                array, affine = geometry.image_of(mask)
            else:
                ids = list(mask.GetSegmentation().GetSegmentIDs())
                array, affine = exported(mask, ids, volume), geometry.affine_of(volume)
            arrays[f"{side}_mask"] = (array != 0).astype(np.uint8), affine
    return arrays


def initial_affine(parameters: Any) -> np.ndarray | None:
    """Return the initial transform as pull map from fixed to moving points, RAS mm, shape (4, 4); None for none.

    Raises:
        InputError: It is not linear, cannot be inverted, or the moving image is under it already.
    """
    node, moving = parameters.initialTransform, parameters.movingVolume
    if node is None:
        return None
    matrix, expected = geometry.matrix_to_world(node), "a linear transform that puts the moving image onto the fixed"
    if matrix is None:
        remedy = "deform a copy of the moving image with it first, and register the copy"
        raise InputError(node.GetName(), got="a transform that is not linear", expected=expected, remedy=remedy)
    if abs(np.linalg.det(matrix)) < 1e-9:
        raise InputError(node.GetName(), got="a matrix that cannot be inverted", expected=expected)
    if geometry.is_under(moving, node):
        remedy = "take the image out of it, or choose no initial transform"
        raise InputError(node.GetName(), got="a transform that the moving image is already under", remedy=remedy)
    return np.linalg.inv(matrix)


def options_of(parameters: Any) -> dict[str, Any]:
    """Return the other fields of the request to open a pair; errors as `initial_affine`."""
    affine = initial_affine(parameters)
    given = {} if affine is None else {"init_affine": tuple(affine.ravel().tolist())}
    return given | {
        "method": parameters.method,
        "prior": parameters.prior.value,
        "setting": setting_of(parameters),
        "refine": parameters.refine,
        "start": anatomies.start_of(parameters).value,
        "similarity": parameters.similarity.value if parameters.method == INSTANCE else None,
        "init": parameters.alignment.value,
        "device": parameters.device.value,
    }


def report_of(parameters: Any, asked: dict[str, Any], result: Any, opened: Any) -> dict[str, Any]:
    """Return the report of a result, without names of patients or files, to be saved with the scene.

    Args:
        parameters: The parameters of the registration.
        asked: What `options_of` returned when the pair was opened.
        result: The exact `ReplyMessage`.
        opened: The answer to the opening of the pair, `Opened`.
    """
    masked = [side for side in ("fixed", "moving") if getattr(parameters, f"{side}Mask") is not None]
    options = asked | {
        "setting": result.setting,
        "masked": masked,
        "channels": 1 if parameters.fixedChannel is None else 2,
    }
    alignment = {"mode": opened.init, "reason": opened.init_reason, "longest_mm": opened.init_mm}
    options |= {"alignment": alignment, "covered": opened.covered, "warnings": list(result.warnings)}
    options["inputs"] = {side: _described(getattr(parameters, f"{side}Volume")) for side in ("fixed", "moving")}
    return options | {"milliseconds": result.milliseconds, "metrics": result.metrics}


def _described(volume: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """Return shape, spacing, type and hash of the voxels of an image, without its name."""
    array, affine = geometry.image_of(volume)
    spacing = [round(float(step), 6) for step in np.linalg.norm(affine[:3, :3], axis=0)]
    digest = hashlib.sha256(np.ascontiguousarray(array)).hexdigest()
    return {"shape": list(array.shape), "spacing_mm": spacing, "dtype": str(array.dtype), "sha256_voxels": digest}


def label_pair(parameters: Any) -> tuple[dict[str, int], tuple, tuple] | None:
    """Return the labels of both images.

    Segments are matched by their names, labels of label maps by their numbers.

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
    """Return the segment of each voxel of an image, shape (X, Y, Z): 0 for none, otherwise its index in `ids` plus 1.

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
    """Return names, files and DICOM tags of a pair as text, to find its task model; it is not stored."""
    words = []
    for volume in (parameters.fixedVolume, parameters.movingVolume):
        storage = volume.GetStorageNode()
        words += [volume.GetName() or "", *dicom.tags_of(volume).values()]
        words += [] if storage is None else [Path(storage.GetFileName() or "").name]
    return " ".join(words)


def facts_of(parameters: Any) -> dict[str, Any]:
    """Return facts about a pair before it is registered.

    Args:
        parameters: The parameters of a registration, with both images.

    Returns:
        `overlap`: part of the fixed image inside the moving one, 0 to 1; `angle_degrees` between their directions, up
        to swapped or flipped axes; `spacing_ratio` of their voxels, 1 or more; `thickest_mm`: the largest spacing;
        `segments` and `landmarks`: arguments of `messages.segments` and `messages.landmarks`. The initial transform is
        applied.
    """
    grids, initial = [], initial_affine(parameters)
    for volume in (parameters.fixedVolume, parameters.movingVolume):
        array, affine = geometry.image_of(volume)
        if initial is not None and volume is parameters.movingVolume:
            affine = np.linalg.solve(initial, affine)
        grids.append((array.shape, affine, *geometry.directions_and_spacing(affine)))
    (shape, affine, turned, spacing), (moving_shape, moving_affine, moving_turned, moving_spacing) = grids
    points = np.indices((9, 9, 9)).reshape(3, -1).T / 8 * (np.array(shape) - 1)
    inside = geometry.is_inside(moving_shape, moving_affine, points @ affine[:3, :3].T + affine[:3, 3])
    cosines = np.abs(turned.T @ moving_turned).max(axis=1)
    sizes = [float(np.prod(each)) ** (1 / 3) for each in (spacing, moving_spacing)]
    return {
        "overlap": float(inside.mean()),
        "angle_degrees": float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1)))),
        "spacing_ratio": max(sizes) / min(sizes),
        "thickest_mm": float(max(spacing.max(), moving_spacing.max())),
        **_references(parameters),
    }


def _references(parameters: Any) -> dict[str, list[tuple]]:
    """Return the arguments of `messages.segments` and `messages.landmarks`."""
    found: dict[str, list[tuple]] = {"segments": [], "landmarks": []}
    for side in ("fixed", "moving"):
        array, affine = geometry.image_of(getattr(parameters, f"{side}Volume"))
        labels, points = getattr(parameters, f"{side}Labels"), getattr(parameters, f"{side}Landmarks")
        if labels is not None:
            found["segments"].append((side, *_overlap_of(labels, array.shape, affine)))
        if points is not None:
            inside = geometry.is_inside(array.shape, affine, geometry.points_of(points))
            found["landmarks"].append((side, int((~inside).sum()), len(inside)))
    return found


def _overlap_of(labels: Any, shape: tuple[int, ...], affine: np.ndarray) -> tuple[float, float | None, bool]:
    """Return the part of labels inside an image, the part of the image that they cover, and whether they have its grid.

    Of a segmentation, whose segments may be surfaces, the bounding box is used.
    """
    if not labels.IsA("vtkMRMLLabelMapVolumeNode"):
        bounds = [0.0] * 6
        labels.GetRASBounds(bounds)
        ends = np.array(bounds).reshape(3, 2)
        points = ends[:, 0] + np.indices((9, 9, 9)).reshape(3, -1).T / 8 * (ends[:, 1] - ends[:, 0])
        is_empty = (ends[:, 1] < ends[:, 0]).any()
        return (0.0 if is_empty else float(geometry.is_inside(shape, affine, points).mean())), None, True
    array, own = geometry.image_of(labels)
    marked = np.argwhere(array != 0)
    same_grid = array.shape == shape and np.allclose(own, affine, atol=1e-3)
    if not len(marked):
        return 0.0, 0.0, same_grid
    inside = geometry.is_inside(shape, affine, marked @ own[:3, :3].T + own[:3, 3])
    voxels = abs(np.linalg.det(own[:3, :3]) / np.linalg.det(affine[:3, :3]))
    return float(inside.mean()), float(inside.sum() * voxels / np.prod(shape)), same_grid


def extent_mm(volume: slicer.vtkMRMLScalarVolumeNode | None) -> float | None:
    """Return the middle one of the three extents of an image; None for none."""
    if volume is None or volume.GetImageData() is None:
        return None
    sizes = np.array(volume.GetImageData().GetDimensions()) * np.array(volume.GetSpacing())
    return float(np.median(sizes))


def _label_name(labels: slicer.vtkMRMLLabelMapVolumeNode, value: int) -> str:
    display = labels.GetDisplayNode()
    colors = None if display is None else display.GetColorNode()
    return (colors.GetColorName(value) if colors is not None else "") or f"label {value}"

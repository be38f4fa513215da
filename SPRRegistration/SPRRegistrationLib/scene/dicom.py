"""DICOM tags of an image of the scene, read from Slicer's hierarchy and database, and not stored."""

from __future__ import annotations

import slicer

TAGS = {
    "Modality": "0008,0060",
    "BodyPartExamined": "0018,0015",
    "SeriesDescription": "0008,103E",
    "StudyDescription": "0008,1030",
}
"""Tags that describe the kind of an image, with their numbers."""


def tags_of(volume: slicer.vtkMRMLScalarVolumeNode) -> dict[str, str]:
    """Return the tags of an image that was loaded from DICOM.

    Slicer keeps the instance UIDs on the volume, the modality in the subject hierarchy, and the rest in its database,
    until the images are removed from there.

    Args:
        volume: An image of the scene.

    Returns:
        Values by the names in `TAGS`, without unknown ones.
    """
    found = {name: _from_database(volume, tag) for name, tag in TAGS.items()}
    found["Modality"] = _from_hierarchy(volume, "DICOM.Modality") or found["Modality"]
    return {name: value for name, value in found.items() if value}


def _from_hierarchy(volume: slicer.vtkMRMLScalarVolumeNode, attribute: str) -> str:
    scene = volume.GetScene()
    hierarchy = None if scene is None else scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = 0 if hierarchy is None else hierarchy.GetItemByDataNode(volume)
    return (hierarchy.GetItemAttribute(item, attribute) or "").strip() if item else ""


def _from_database(volume: slicer.vtkMRMLScalarVolumeNode, tag: str) -> str:
    numbers = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)  # only in 3D Slicer
    if not numbers or database is None or not database.isOpen:
        return ""
    file = database.fileForInstance(numbers[0])
    return (database.fileValue(file, tag) or "").strip() if file else ""

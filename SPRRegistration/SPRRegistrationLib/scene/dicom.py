"""What DICOM says of an image of the scene, from where Slicer keeps it; nothing is kept or written of it."""

from __future__ import annotations

import slicer

TAGS = {
    "Modality": "0008,0060",
    "BodyPartExamined": "0018,0015",
    "SeriesDescription": "0008,103E",
    "StudyDescription": "0008,1030",
}
"""What tells of which kind an image is, with its numbers in the files."""


def tags_of(volume: slicer.vtkMRMLScalarVolumeNode) -> dict[str, str]:
    """Return what is known of an image that was loaded from DICOM.

    Slicer keeps only the numbers of the instances on the volume, the modality in the subject hierarchy, and all else in
    its database, which has it as long as the images are not removed from there.

    Args:
        volume: An image of the scene.

    Returns:
        Values by the names in `TAGS`, without those that are not known.
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
    database = getattr(slicer, "dicomDatabase", None)  # the page in a browser has none
    if not numbers or database is None or not database.isOpen:
        return ""
    file = database.fileForInstance(numbers[0])
    return (database.fileValue(file, tag) or "").strip() if file else ""

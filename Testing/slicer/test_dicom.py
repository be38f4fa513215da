"""What is known of images that were loaded from DICOM, from the places where Slicer keeps it."""

from __future__ import annotations

import ast
import importlib.util
import typing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "SPRRegistration").rglob("*.py"))
ON_VOLUMES = {"DICOM.instanceUIDs", "DICOM.instanceNumbers"}
needs_slicer = pytest.mark.skipif(
    None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")),
    reason="slicer-core or PySide6 is not installed",
)


def attributes_read(path):
    """Names of DICOM that the code of a file asks a node for."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    asked = [call for call in calls if getattr(call.func, "attr", "") == "GetAttribute"]
    texts = [text.value for call in asked for text in ast.walk(call) if isinstance(text, ast.Constant)]
    return {text for text in texts if str(text).startswith("DICOM")}


def test_only_what_slicer_puts_on_a_volume_is_read_from_it():
    found = {path.name: attributes_read(path) - ON_VOLUMES for path in SOURCES}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


class Database:
    """What `slicer.dicomDatabase` answers."""

    isOpen = True

    FILES: typing.ClassVar = {"1.2.3": "/data/one.dcm", "1.2.9": "/data/nine.dcm"}
    VALUES: typing.ClassVar = {("/data/one.dcm", "0018,0015"): "HEART ", ("/data/one.dcm", "0008,103E"): "cine SAX ED"}

    def fileForInstance(self, uid):
        return self.FILES.get(uid, "")

    def fileValue(self, file, tag):
        assert file in self.FILES.values()
        return self.VALUES.get((file, tag), "")


def load_from_dicom(volume, modality, uids):
    """Leave what Slicer's DICOM plugin leaves: the modality on the item of the hierarchy, numbers on the volume."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", modality)
    volume.SetAttribute("DICOM.instanceUIDs", uids)


@needs_slicer
@pytest.mark.slicer
def test_tags_come_from_hierarchy_and_database(module, monkeypatch):
    import slicer
    from SPRRegistrationLib.scene import dicom

    volume = module.images[0]
    assert dicom.tags_of(volume) == {}
    load_from_dicom(volume, "MR", "1.2.3 1.2.4")
    assert dicom.tags_of(volume) == {"Modality": "MR"}
    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    assert dicom.tags_of(volume) == {"Modality": "MR", "BodyPartExamined": "HEART", "SeriesDescription": "cine SAX ED"}
    load_from_dicom(volume, "MR", "7.7.7")  # removed from the database
    assert dicom.tags_of(volume) == {"Modality": "MR"}
    monkeypatch.setattr(Database, "isOpen", False)
    assert dicom.tags_of(volume) == {"Modality": "MR"}


@needs_slicer
@pytest.mark.slicer
def test_the_model_of_a_pair_from_dicom_is_proposed_and_another_kind_is_warned_of(module, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    moving, fixed, other = module.images
    for volume, kind in ((moving, "MR"), (fixed, "MR"), (other, "CT")):
        load_from_dicom(volume, kind, "1.2.3")
    parameters = module.panel.parameters
    parameters.fixedVolume, parameters.movingVolume = fixed, moving
    assert parameters.method == "cardiac-cine-hyper-spr-semi"
    assert "CT" not in module.ui.guardLabel.text
    parameters.movingVolume = other
    assert "an image is CT" in module.ui.guardLabel.text

"""Sample data: a synthetic chest, breathed out and breathed in; nothing is downloaded.

The body is described by formulas. At the second moment the diaphragm is lower and the lungs have slid along the ribs,
which stay where they are: a deformation that is smooth inside the organs and jumps at the chest wall.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib.scene import colors

CATEGORY = "SPR Registration"
NAME = "SPRRegistrationBreath"
SHAPE = (96, 72, 80)
SPACING_MM = 3.5
BREATH_MM = 18.0
ORGANS = {1: "lungs", 2: "liver", 3: "heart", 4: "spine and ribs"}
_POINTS = ((55, 10, 40), (-55, 10, 40), (50, -30, 0), (-50, -30, 0), (60, 20, -35), (-60, 20, -20), (30, 30, 60))


def register(icons: str) -> None:
    """Offer the sample data in the module Sample Data.

    Args:
        icons: Folder of the thumbnails.
    """
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # since Slicer 5.11
        logic.registerCustomSampleDataCategory(CATEGORY, title=_("SPR Registration"))
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=[],  # nothing is downloaded, but the module compares the lengths of these lists
        fileNames=[],
        nodeNames=[],
        thumbnailFileName=str(Path(icons) / f"{NAME}.png"),
        customDownloader=lambda source: load(),
    )


def load() -> dict[str, slicer.vtkMRMLNode]:
    """Compute the pair and put it into the scene.

    Returns:
        Nodes by the names of the fields of the parameters.
    """
    nodes = {}
    for side, moved, title in (("fixed", 0.0, _("Breathed out")), ("moving", BREATH_MM, _("Breathed in"))):
        image, labels = body(moved)
        nodes[f"{side}Volume"] = _volume("vtkMRMLScalarVolumeNode", image, title)
        nodes[f"{side}Labels"] = _segmentation(labels, _("{image}, organs").format(image=title))
        nodes[f"{side}Landmarks"] = _landmarks(moved, _("{image}, landmarks").format(image=title))
    return nodes


def body(moved_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the image of the body and its organs.

    Args:
        moved_mm: How far the diaphragm has gone down, in mm.

    Returns:
        Image in Hounsfield units, and labels as in `ORGANS`, both with the axes X, Y, Z.
    """
    steps = [(np.arange(size) - (size - 1) / 2) * SPACING_MM for size in SHAPE]
    x, y, z = np.meshgrid(*steps, indexing="ij")
    chest = (x / 140) ** 2 + (y / 100) ** 2
    inner = (x / 118) ** 2 + (y / 80) ** 2 < 1
    rest = z + _slide(z, moved_mm)  # where the tissue was that is here now
    lungs = inner & (rest > -30 - 0.02 * (np.abs(x) - 50) ** 2) & (np.abs(x) > 22)
    liver = inner & ~lungs & (rest < -28) & (x > -35 - 0.3 * rest) & (y > -50)
    heart = ((x + 18) / 42) ** 2 + ((y - 20) / 40) ** 2 + ((rest + 5) / 48) ** 2 < 1
    spine = (x / 20) ** 2 + ((y + 72) / 18) ** 2 < 1
    ribs = (np.abs(chest - 0.82) < 0.05) & (np.abs((z + 0.35 * y) % 28 - 14) < 5)
    texture = _texture(x, y, rest)
    image = np.where(chest < 1, 30.0, -1000.0)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    parts = ((inner & ~lungs, 40 + 15 * texture, 0), (lungs, -780 + 420 * np.clip(texture, 0, 1) ** 2, 1))
    organs = ((liver, 70 + 30 * texture, 2), (heart & inner, 120 + 20 * texture, 3), (ribs | spine, 500.0, 4))
    for where, value, label in (*parts, *organs):
        image = np.where(where, value, image)
        labels[where] = label
    noise = np.random.default_rng(int(moved_mm)).normal(scale=12.0, size=SHAPE)
    return (image + noise).astype(np.float32), labels


def _texture(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Vessels and such, that move with the organs: waves of 20 to 70 mm in all directions, about -2 to 2."""
    generator = np.random.default_rng(7)
    total = np.zeros(x.shape)
    for _wave in range(20):
        direction = generator.normal(size=3)
        direction *= 2 * np.pi / generator.uniform(20, 70) / np.linalg.norm(direction)
        total += np.sin(direction[0] * x + direction[1] * y + direction[2] * z + generator.uniform(0, 6.28))
    return total / 3.0


def _slide(z: np.ndarray, moved_mm: float) -> np.ndarray:
    """How far the tissue at a height has gone down: most at the diaphragm, nothing at the top of the lungs."""
    return moved_mm * np.clip((100.0 - z) / 150.0, 0.0, 1.0)


def _affine() -> np.ndarray:
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = [-(size - 1) / 2 * SPACING_MM for size in SHAPE]
    return affine


def _volume(kind: str, array: np.ndarray, name: str) -> slicer.vtkMRMLNode:
    node = slicer.mrmlScene.AddNewNodeByClass(kind, slicer.mrmlScene.GenerateUniqueName(name))
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(array.transpose(2, 1, 0)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_affine()))
    node.CreateDefaultDisplayNodes()
    if kind == "vtkMRMLScalarVolumeNode":
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().SetWindowLevel(1400.0, -300.0)
    return node


def _segmentation(labels: np.ndarray, name: str) -> slicer.vtkMRMLNode:
    node = _volume("vtkMRMLLabelMapVolumeNode", labels, name)
    table = colors.label_colors(slicer.mrmlScene, name, ORGANS)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    return node


def _landmarks(moved_mm: float, name: str) -> slicer.vtkMRMLNode:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", slicer.mrmlScene.GenerateUniqueName(name))
    for number, (x, y, rest) in enumerate(_POINTS, start=1):
        node.AddControlPoint(x, y, _now(rest, moved_mm), str(number))
    node.CreateDefaultDisplayNodes()
    node.SetDisplayVisibility(False)
    return node


def _now(rest: float, moved_mm: float) -> float:
    """Return the height at which tissue is now, by fixed-point iteration of rest = z + slide(z)."""
    z = rest
    for _step in range(50):
        z = rest - float(_slide(np.array(z), moved_mm))
    return z

"""Color tables of the maps: of the stiffness, the change of volume, and the uncertainty.

They are made by the module, since Slicer's own perceptually uniform tables are not in every installation, and they are
the same for all registrations of a scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import slicer
import vtk

SIZE = 256

_FREE_TO_STIFF = ((0.99, 0.92, 0.20), (0.96, 0.56, 0.25), (0.82, 0.26, 0.43), (0.49, 0.10, 0.53), (0.17, 0.05, 0.36))
"""From bright to dark, placed by their lightness: equal steps of stiffness look equal, in gray and to the color blind
too. What is free to move is bright yellow, which no gray image has."""

_CERTAIN_TO_UNCERTAIN = (
    *((0.00, 0.21, 0.40), (0.02, 0.36, 0.58), (0.02, 0.54, 0.56), (0.28, 0.75, 0.48)),
    (0.76, 0.95, 0.68),
)
"""From dark to bright, placed by their lightness; blue and green, which neither a gray image nor the stiffness has."""

_SHRINKS, _GROWS, _FOLDS = (0.13, 0.31, 0.75), (0.75, 0.15, 0.13), (1.0, 0.0, 1.0)

_LABELS = (
    *((0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26)),
    *((0.80, 0.47, 0.65), (0.84, 0.37, 0.00), (0.00, 0.45, 0.70), (0.60, 0.60, 0.60)),
)
"""Colors that the color blind can tell apart (Okabe and Ito, 2008), and gray."""


def label_colors(scene: slicer.vtkMRMLScene, title: str, names: Mapping[int, str]) -> slicer.vtkMRMLColorTableNode:
    """Return a new table with a name and a color for each label; the usual ones call the first of them "jake".

    Args:
        scene: The scene.
        title: Name of the table.
        names: Name of each label by its number, above 0.
    """
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", scene.GenerateUniqueName(title))
    was_modifying = table.StartModify()
    table.SetTypeToUser()
    table.SetNumberOfColors(max(names, default=0) + 1)
    table.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
    for index, (number, name) in enumerate(sorted(names.items())):
        table.SetColor(number, name, *_LABELS[index % len(_LABELS)], 1.0)
    table.EndModify(was_modifying)
    return table


def stiffness_colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Return the colors of the stiffness, from free (0) to stiff (1); they are added to the scene if need be."""
    return _table(scene, "SPRStiffness", "Stiffness (free to stiff)", _by_lightness(_FREE_TO_STIFF))


def uncertainty_colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Return the colors of the uncertainty, from certain to uncertain; they are added to the scene if need be."""
    return _table(scene, "SPRUncertainty", "Uncertainty (low to high)", _by_lightness(_CERTAIN_TO_UNCERTAIN))


def volume_change_colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """Return the colors of the change of volume, for factors from 0 to 2.

    Blue shrinks, red grows, and what changes by less than a tenth is transparent; what is 0 or less is folded and has a
    color of its own.

    Args:
        scene: The scene, to which they are added if need be.
    """
    return _table(scene, "SPRVolumeChange", "Change of volume (shrinks to grows)", _shrinks_to_grows())


@cache
def _by_lightness(anchors: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Return colors of equal steps of lightness on the way over some colors."""
    scale = vtk.vtkColorTransferFunction()
    for index, color in enumerate(anchors):
        scale.AddRGBPoint(index, *color)
    fine = [scale.GetColor(position) for position in np.linspace(0, len(anchors) - 1, 8 * SIZE)]
    lightness = np.array([_lightness(color) for color in fine])
    steps = np.linspace(lightness[0], lightness[-1], SIZE)
    return tuple((*fine[i], 1.0) for i in _nearest(lightness, steps))


@cache
def _shrinks_to_grows() -> tuple[tuple[float, ...], ...]:
    scale = vtk.vtkColorTransferFunction()
    scale.SetColorSpaceToDiverging()
    scale.AddRGBPoint(0.0, *_SHRINKS)
    scale.AddRGBPoint(1.0, *_GROWS)
    changes = np.linspace(-1, 1, SIZE)
    strong = np.sign(changes) * np.abs(changes) ** 0.6  # most changes are small
    colors = [_FOLDS, *(scale.GetColor(value) for value in (strong[1:] + 1) / 2)]
    opacities = (np.abs(changes) > 0.1).astype(float)  # where little changes, nothing hides the anatomy
    return tuple((*color, float(opacity)) for color, opacity in zip(colors, opacities, strict=True))


def _table(
    scene: slicer.vtkMRMLScene, tag: str, name: str, colors: tuple[tuple[float, ...], ...]
) -> slicer.vtkMRMLColorTableNode:
    """Find or make a table, and fill it: a scene file that was copied alone holds the table without its colors."""
    table = scene.GetSingletonNode(tag, "vtkMRMLColorTableNode")
    if table is None:
        table = slicer.vtkMRMLColorTableNode()
        table.SetSingletonTag(tag)
        table.SetName(name)
        table.SetAttribute("Category", "SPR Registration")
        table = scene.AddNode(table)
    if not _has_colors(table, colors):
        was_modifying = table.StartModify()
        table.SetTypeToUser()
        table.SetNumberOfColors(SIZE)
        for index, color in enumerate(colors):
            table.SetColor(index, f"{index / (SIZE - 1):.2f}", *color)
        table.EndModify(was_modifying)
    return table


def _has_colors(table: slicer.vtkMRMLColorTableNode, colors: tuple[tuple[float, ...], ...]) -> bool:
    """Whether a table is filled already; asked for with each picture of a moving slider, so only of some colors."""
    found = [0.0] * 4
    for index in (0, SIZE // 2, SIZE - 1):
        if table.GetNumberOfColors() != SIZE or not table.GetColor(index, found):
            return False
        if not np.allclose(found, colors[index], atol=1e-6):
            return False
    return True


def _nearest(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.abs(values[None] - wanted[:, None]).argmin(axis=1)


def _lightness(color: tuple[float, float, float]) -> float:
    lab = [0.0, 0.0, 0.0]
    vtk.vtkMath.RGBToLab(color, lab)
    return lab[0]

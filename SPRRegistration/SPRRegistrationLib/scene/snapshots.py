"""Snapshots A, B, C and the undo history, saved with the scene.

Settings and their quality are text in the parameter node. Each snapshot also has a small copy of its deformation in a
transform node, to show it at once and to compare two of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import slicer

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.parameters import apply_setting, setting_of
from SPRRegistrationLib.scene import geometry, outputs, uncertainty

NAMES = ("A", "B", "C")
LONGEST_HISTORY = 50
MOST_VECTORS = 64**3
"""Size of the copy of a deformation, about 3 MB."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot: hyperparameters by the worker's names, and measures as in `protocol.DeformationQuality`."""

    setting: Mapping[str, float]
    quality: Mapping[str, float | None]


@dataclass(frozen=True)
class History:
    """Settings in the order in which they were chosen, and the index of the current one."""

    settings: tuple[Mapping[str, float], ...] = ()
    position: int = -1

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier setting."""
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later setting."""
        return self.position < len(self.settings) - 1

    def chosen(self, setting: Mapping[str, float]) -> History:
        """Return the history after a setting was chosen; later settings are removed."""
        if self.settings and dict(self.settings[self.position]) == dict(setting):
            return self
        settings = (*self.settings[: self.position + 1], dict(setting))[-LONGEST_HISTORY:]
        return History(settings, len(settings) - 1)

    def moved(self, step: int) -> History:
        """Return the history one setting earlier (-1) or later (1), within its ends."""
        return replace(self, position=max(0, min(len(self.settings) - 1, self.position + step)))


def history_of(parameters: Any) -> History:
    """Return the history of a registration."""
    values = read_json(parameters.history)
    settings = tuple(values.get("settings", ()))
    return History(settings, min(int(values.get("position", -1)), len(settings) - 1))


def record(parameters: Any) -> None:
    """Add the current setting to the history, when a gesture has ended."""
    _store(parameters, history_of(parameters).chosen(setting_of(parameters)))


def step(parameters: Any, by: int) -> Mapping[str, float] | None:
    """Undo (-1) or redo (1).

    Args:
        parameters: The parameters of the registration, which take the setting.
        by: The direction.

    Returns:
        The new setting; None if there is none in that direction.
    """
    history = history_of(parameters)
    if not (history.can_undo if by < 0 else history.can_redo):
        return None
    history = history.moved(by)
    _store(parameters, history)
    apply_setting(parameters, dict(history.settings[history.position]))
    return history.settings[history.position]


def snapshots_of(parameters: Any) -> dict[str, Snapshot]:
    """Return the snapshots by their names."""
    return {name: Snapshot(**values) for name, values in read_json(parameters.snapshots).items() if name in NAMES}


def keep(parameters: Any, name: str, quality: Mapping[str, float | None]) -> None:
    """Keep the current result as a snapshot; one of that name is replaced.

    Args:
        parameters: The parameters of the registration.
        name: "A", "B" or "C".
        quality: Its measures.
    """
    kept = snapshots_of(parameters) | {name: Snapshot(setting_of(parameters), dict(quality))}
    parameters.snapshots = json.dumps({key: asdict(value) for key, value in sorted(kept.items())})
    shown = _displacement(parameters.displacementTransform)
    if shown is not None:
        geometry.set_displacement(_node(parameters, name, make=True), *thinned(*shown))


def recall(parameters: Any, name: str) -> Mapping[str, float] | None:
    """Return to a snapshot: set its setting, and show its deformation until the worker has answered.

    Args:
        parameters: The parameters of the registration.
        name: "A", "B" or "C".

    Returns:
        Its setting; None if it does not exist.
    """
    kept = snapshots_of(parameters).get(name)
    if kept is None:
        return None
    apply_setting(parameters, dict(kept.setting))
    record(parameters)
    field = _displacement(_node(parameters, name))
    if field is not None and outputs.is_alive(parameters):
        outputs.ensure(parameters)
        outputs.show_deformation(parameters, *field)
        parameters.weightVolume.SetAndObserveImageData(None)  # it is of another setting
        uncertainty.clear(parameters)
    return kept.setting


def difference_mm(parameters: Any, first: str, second: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return a volume of the distance between the displacements of two snapshots, in mm.

    Args:
        parameters: The parameters of the registration.
        first: Name of a snapshot.
        second: Name of another.

    Returns:
        A new volume on the grid of the first one; None if one of them has no deformation.
    """
    nodes = [_node(parameters, name) for name in (first, second)]
    fields = [_displacement(node) for node in nodes]
    if any(field is None for field in fields):
        return None
    (field, affine), (other, other_affine) = fields
    if field.shape != other.shape or not np.allclose(affine, other_affine):
        points = np.indices(field.shape[:3]).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
        other = (geometry.moved_points(nodes[1], points) - points).reshape(field.shape)
    name = _("Difference of {first} and {second} (mm)").format(first=first, second=second)
    volume = parameters.fixedVolume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    geometry.set_image(volume, np.linalg.norm(field - other, axis=-1).astype(np.float32), affine)
    volume.CreateDefaultDisplayNodes()
    return volume


def thinned(field: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Subsample a displacement to at most `MOST_VECTORS`.

    Args:
        field: Pull map in RAS mm, shape (X, Y, Z, 3).
        affine: Matrix from its indices to RAS mm.
    """
    every = int(np.ceil((np.prod(field.shape[:3]) / MOST_VECTORS) ** (1 / 3))) if field.size else 1
    every = max(every, 1)
    return np.ascontiguousarray(field[::every, ::every, ::every]), affine @ np.diag([every, every, every, 1.0])


def _node(parameters: Any, name: str, make: bool = False) -> slicer.vtkMRMLGridTransformNode | None:
    role = f"snapshot{name}"
    node = parameters.parameterNode.GetNodeReference(role)
    if node is None and make:
        scene = parameters.fixedVolume.GetScene()
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", _("Snapshot {name}").format(name=name))
        # Slicer does not save hidden nodes that have a file of their own, so it is not hidden.
        parameters.parameterNode.SetNodeReferenceID(role, node.GetID())
    return node


def _displacement(node: slicer.vtkMRMLGridTransformNode | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if node is None else geometry.displacement_of(node)


def read_json(text: str) -> dict:
    """Return a table kept as JSON in the parameters; empty for none or another kind of value."""
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _store(parameters: Any, history: History) -> None:
    parameters.history = json.dumps({"settings": list(history.settings), "position": history.position})

"""Sorting of slices into frames, and the affine of each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import affine_from_itk
from SPRCore.io.dicom_slices import DicomSlice
from SPRCore.typing import Affine

_SAME_MM = 0.01  # scanners write positions to a hundredth of a millimeter or finer
_EVEN = 0.1  # of a step: positions are rounded, a missing or repeated slice shifts them by a whole one
_SIDEWAYS = 0.25  # of a pixel


@dataclass(frozen=True)
class DicomStack:
    """The slices of one frame in the order of their positions.

    Args:
        slices: One record for each slice.
        affine: Voxel to RAS mm of the volume, shape (4, 4); sheared if the gantry was tilted.
        positions: Position of each voxel along the third axis, in slices; None if they coincide.
        note: Warning for the user, or "".
    """

    slices: tuple[DicomSlice, ...]
    affine: Affine
    positions: np.ndarray | None = field(default=None, repr=False)
    note: str = ""


def stacks_of(path: Path, slices: Sequence[DicomSlice], notes: list[str]) -> list[DicomStack]:
    """Sort the slices of one series into frames.

    Args:
        path: The folder or file, for messages.
        slices: Its slices in any order.
        notes: Warnings are appended.

    Returns:
        One stack for each frame, in the order of time points, echoes or b-values.

    Raises:
        InputError: The slices do not form volumes: positions are absent, missing, doubled or drift, or sizes or
            orientations differ.
    """
    slices = _checked(path, _without_copies(_without_scouts(slices, notes), notes))
    groups = _by_position(slices)
    counts = Counter(len(group) for group in groups)
    if len(counts) > 1:
        parts = _by_attribute(path, slices)
        if parts:
            return parts
        usual = counts.most_common(1)[0][0]
        others = sum(count for number, count in counts.items() if number != usual)
        found = f"{others} of {len(groups)} positions hold more or fewer than {usual}"
        got = f"{len(slices)} DICOM slices at uneven distances: {found}"
        raise _unusable(path, got, "a series without missing or repeated slices")
    frames = zip(*(sorted(group, key=lambda piece: piece.order) for group in groups), strict=True)
    return [_laid(path, frame) for frame in frames]


def _without_scouts(slices: Sequence[DicomSlice], notes: list[str]) -> list[DicomSlice]:
    kept = [piece for piece in slices if "LOCALIZER" not in piece.kind]
    if kept and len(kept) < len(slices):
        notes.append(f"holds {len(slices) - len(kept)} localizer slices, which are left out")
    return kept or list(slices)


def _without_copies(slices: Sequence[DicomSlice], notes: list[str]) -> list[DicomSlice]:
    """Remove duplicates of slices."""
    kept = {(piece.uid, piece.index, "" if piece.uid else piece.file): piece for piece in reversed(slices)}
    if len(kept) < len(slices):
        notes.append(f"holds {len(slices) - len(kept)} copies of DICOM slices, which are left out")
    return list(kept.values())[::-1]


def _checked(path: Path, slices: list[DicomSlice]) -> list[DicomSlice]:
    """Refuse slices that cannot belong to one volume."""
    for what, name in (("position", "a position"), ("axes", "an orientation"), ("spacing", "a pixel spacing")):
        without = sum(getattr(piece, what) is None for piece in slices)
        if without:
            remedy = "convert the series with a program that knows its scanner (dcm2niix), or export it again"
            got = f"{without} of {len(slices)} DICOM slices without {name}"
            raise InputError(str(path), got=got, expected="position, orientation and spacing of each", remedy=remedy)
    axes = _clusters([piece.axes.ravel() for piece in slices], 1e-3)
    if len(axes) > 1:
        found = ", ".join(f"{count} x {_plane(vector)}" for vector, count in axes)
        raise _unusable(path, f"DICOM slices of {len(axes)} orientations in one series ({found})", "one orientation")
    sizes = Counter((*piece.size, *np.round(piece.spacing, 4)) for piece in slices)
    if len(sizes) > 1:
        found = ", ".join(
            f"{count} of {columns} x {rows} pixels of {across:g} x {down:g} mm"
            for (rows, columns, down, across), count in sizes.most_common(3)
        )
        raise _unusable(path, f"DICOM slices of {len(sizes)} sizes in one series ({found})", "one size")
    return slices


def _height(piece: DicomSlice) -> float:
    """Position of a slice along its normal, mm."""
    return float(piece.position @ np.cross(*piece.axes))


def _by_position(slices: Sequence[DicomSlice]) -> list[list[DicomSlice]]:
    groups: list[list[DicomSlice]] = []
    last = -np.inf
    for piece in sorted(slices, key=_height):
        if _height(piece) - last > _SAME_MM:
            groups.append([])
        groups[-1].append(piece)
        last = _height(piece)
    return groups


def _by_attribute(path: Path, slices: Sequence[DicomSlice]) -> list[DicomStack]:
    """Frames at positions of their own each: parts of one value of an attribute that are whole volumes."""
    for which in range(len(slices[0].order) - 2):
        values = sorted({piece.order[which] for piece in slices})
        parts = [[piece for piece in slices if piece.order[which] == value] for value in values]
        if len(parts) < 2 or len({len(part) for part in parts}) > 1 or len(parts[0]) < 2:
            continue
        try:
            return [_laid(path, sorted(part, key=_height)) for part in parts]
        except InputError:
            continue
    return []


def _laid(path: Path, slices: Sequence[DicomSlice]) -> DicomStack:
    """Find the affine of slices that are in the order of their positions."""
    first = slices[0]
    normal = np.cross(*first.axes)
    points = np.array([piece.position for piece in slices])
    heights = (points - points[0]) @ normal
    if len(slices) == 1:
        return DicomStack(tuple(slices), _affine(first, normal * (first.thickness or 1.0)))
    along = (points[-1] - points[0]) / heights[-1] if heights[-1] > 0 else normal
    steps = np.diff(heights)
    if steps.min() <= _SAME_MM:
        raise _unusable(path, "DICOM slices at one position", "each position once")
    _check_sideways(path, points - points[0] - heights[:, None] * along, first)
    drift = np.linalg.norm((along - normal) * heights[-1])
    if drift <= _EVEN * min(first.spacing):
        along = normal
    if np.abs(steps - np.median(steps)).max() <= _EVEN * np.median(steps):
        return DicomStack(tuple(slices), _affine(first, along * heights[-1] / (len(slices) - 1)))
    return _evened(path, slices, heights, along)


def _evened(path: Path, slices: Sequence[DicomSlice], heights: np.ndarray, along: np.ndarray) -> DicomStack:
    """Define evenly spaced slices over uneven ones, at the smaller of their usual distances."""
    steps = np.diff(heights)
    step = float(np.quantile(steps, 0.25, method="higher"))
    missing = _missing(steps)
    if missing:
        got = f"{len(slices)} DICOM slices at uneven distances: {missing} missing between them"
        raise _unusable(path, got, "a series without missing or repeated slices")
    count = int(np.ceil(heights[-1] / step - _EVEN)) + 1
    positions = np.interp(np.arange(count) * step, heights, np.arange(len(slices)))
    note = (
        f"has {len(slices)} slices at uneven distances, from {steps.min():.4g} to {steps.max():.4g} mm; "
        f"{count} slices {step:.4g} mm apart are interpolated"
    )
    return DicomStack(tuple(slices), _affine(slices[0], along * step), positions, note)


def _missing(steps: np.ndarray) -> int:
    """How many slices lack where single distances are twice the usual one or more; 0 for distances that change."""
    usual = float(np.median(steps))
    times = np.rint(steps / usual)
    if (np.abs(steps - times * usual) > _EVEN * usual).any() or times.min() < 1:
        return 0
    wide = "".join("x" if number > 1 else " " for number in times)
    return int((times - 1).sum()) if "xxx" not in wide else 0


def _check_sideways(path: Path, beside: np.ndarray, first: DicomSlice) -> None:
    off = np.linalg.norm(beside, axis=1)
    if off.max() > _SIDEWAYS * min(first.spacing):
        got = f"DICOM slices whose positions leave a straight line, the farthest by {off.max():.3g} mm"
        raise _unusable(path, got, "slices one behind the other")


def _affine(first: DicomSlice, step: np.ndarray) -> Affine:
    """The affine to RAS of voxels counted along rows, down columns and through slices."""
    down, across = first.spacing
    length = float(np.linalg.norm(step))
    direction = np.stack([*first.axes, step / length], axis=1)
    return affine_from_itk((across, down, length), first.position, direction.ravel())


def _clusters(vectors: Sequence[np.ndarray], tolerance: float) -> list[tuple[np.ndarray, int]]:
    found: list[tuple[np.ndarray, int]] = []
    for vector in vectors:
        near = next((k for k, (other, _) in enumerate(found) if np.abs(other - vector).max() <= tolerance), None)
        if near is None:
            found.append((vector, 1))
        else:
            found[near] = (found[near][0], found[near][1] + 1)
    return sorted(found, key=lambda item: -item[1])


def _plane(axes: np.ndarray) -> str:
    normal = np.abs(np.cross(axes[:3], axes[3:]))
    return ("sagittal", "coronal", "axial")[int(normal.argmax())]


def _unusable(path: Path, got: str, expected: str) -> InputError:
    remedy = "export the series again, whole and alone in a folder"
    return InputError(str(path), got=got, expected=expected, remedy=remedy)

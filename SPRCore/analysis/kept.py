"""Images, displacements and weights of a few pairs that a benchmark keeps, for figures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SPRCore.analysis.methods import Found, Method
from SPRCore.analysis.pairs import LoadedPair
from SPRCore.analysis.rows import finite
from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume, resample
from SPRCore.io import atomic_directory, read_displacement, read_labels, read_volume, write_displacement, write_volume

FOLDER, ABOUT = "kept", "about.json"
_ON_FIXED = ("fixed", "moving", "fixed_labels", "moving_labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptMethod:
    """What one method made of a kept pair.

    Attributes:
        method: Its name.
        setting: Prior and hyperparameters, as in the rows.
        metrics: ``before`` and ``after``.
        warped: Moving image on the fixed grid, after.
        displacement: On the fixed grid, RAS mm.
        weight: Weight of each voxel, or None.
        warped_labels: Moving labels on the fixed grid, after, or None.
    """

    method: str
    setting: Mapping[str, Any]
    metrics: Mapping[str, Any]
    warped: Volume
    displacement: Field
    weight: Volume | None
    warped_labels: Volume | None


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptPair:
    """A kept pair, everything on the fixed grid, and what methods made of it."""

    pair: str
    fixed: Volume
    moving: Volume
    fixed_labels: Volume | None
    moving_labels: Volume | None
    methods: tuple[KeptMethod, ...]


def place_of(folder: Path, pair: str, method: Method) -> Path:
    """Return where a benchmark in `folder` keeps what a method makes of a pair."""
    return (
        folder
        / FOLDER
        / _slug(pair)
        / _slug(f"{method.label} {json.dumps(method.setting)} {method.model}", method.label)
    )


def keep(place: Path, pair: str, loaded: LoadedPair, method: Method, found: Found, metrics: Mapping[str, Any]) -> None:
    """Write images and fields of one registration.

    Args:
        place: Where, as `place_of` gives it.
        pair: Name of the pair.
        loaded: The pair.
        method: The method.
        found: What it found.
        metrics: ``before`` and ``after``.

    Raises:
        OutputError: A file cannot be written.
    """
    marked, grid = loaded.annotations, loaded.fixed.grid
    moving_labels = marked.moving_labels
    shared = {
        "fixed": loaded.fixed.original,
        "moving": resample(loaded.moving.original, grid),
        "fixed_labels": marked.fixed_labels,
        "moving_labels": None if moving_labels is None else resample(moving_labels, grid, labels=True),
    }
    own = {"warped": found.warped, "weight": found.weight, "warped_labels": marked.warped_labels(found.displacement)}
    about = {"pair": pair, "method": method.label, "setting": method.setting, "metrics": metrics}
    with atomic_directory(place.parent) as folder:
        for name, volume in shared.items():
            if volume is not None:
                write_volume(volume, folder / f"{name}.nii.gz")
        (folder / place.name).mkdir()
        for name, volume in own.items():
            if volume is not None:
                write_volume(volume, folder / place.name / f"{name}.nii.gz")
        write_displacement(found.displacement, folder / place.name / "displacement.nii.gz")
        text = json.dumps(finite(about), ensure_ascii=False, allow_nan=False)
        (folder / place.name / ABOUT).write_text(text, encoding="utf-8")


def read_kept(folder: Path, every_setting: bool = False) -> list[KeptPair]:
    """Read the pairs that a benchmark has kept.

    Args:
        folder: Folder of the benchmark.
        every_setting: Also what a method of one name made of a pair at other settings, instead of the newest alone.

    Returns:
        The pairs; none where nothing was kept.

    Raises:
        InputError: A file is unusable.
    """
    return [
        _read_pair(place, every_setting)
        for place in sorted((folder / FOLDER).glob("*"))
        if any(place.glob(f"*/{ABOUT}"))
    ]


def _read_pair(place: Path, every_setting: bool) -> KeptPair:
    methods, names = [], set()
    for about in sorted(place.glob(f"*/{ABOUT}"), key=lambda path: path.stat().st_mtime):
        methods.append(_read_method(about))
        names.add(json.loads(about.read_text(encoding="utf-8"))["pair"])
    newest = {(found.method, json.dumps(found.setting) if every_setting else ""): found for found in methods}
    volumes = {name: _volume(place / f"{name}.nii.gz", labels="labels" in name) for name in _ON_FIXED}
    if volumes["fixed"] is None or volumes["moving"] is None or len(names) != 1:
        raise InputError(str(place), got="no images", expected="a pair that spr benchmark has kept")
    return KeptPair(pair=names.pop(), **volumes, methods=tuple(newest.values()))


def _read_method(about: Path) -> KeptMethod:
    values, place = json.loads(about.read_text(encoding="utf-8")), about.parent
    return KeptMethod(
        method=values["method"],
        setting=values["setting"],
        metrics=values["metrics"],
        warped=read_volume(place / "warped.nii.gz"),
        displacement=read_displacement(place / "displacement.nii.gz"),
        weight=_volume(place / "weight.nii.gz"),
        warped_labels=_volume(place / "warped_labels.nii.gz", labels=True),
    )


def _volume(path: Path, labels: bool = False) -> Volume | None:
    if not path.is_file():
        return None
    return read_labels(path) if labels else read_volume(path)


def _slug(text: str, shown: str | None = None) -> str:
    """A name for a folder that tells the text and is its own."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", shown or text).strip("-.")[:40] or "x"
    return f"{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

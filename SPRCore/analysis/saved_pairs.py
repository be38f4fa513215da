"""Images, displacements and weights of selected pairs, saved by a benchmark for figures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SPRCore.analysis.methods import MethodSpec
from SPRCore.config import finite
from SPRCore.errors import InputError
from SPRCore.geometry import Volume, resample
from SPRCore.io import atomic_directory, read_displacement, read_labels, read_volume, write_displacement, write_volume
from SPRCore.io.pairs import LoadedPair
from SPRCore.registration import RegistrationResult

FOLDER, ABOUT = "kept", "about.json"
_ON_FIXED = ("fixed", "moving", "fixed_labels", "moving_labels")


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedResult(RegistrationResult):
    """The saved result of one method on a pair, without inverse.

    Attributes:
        method: Name of the method.
        setting: Prior and hyperparameters, as in the rows.
        metrics: ``before`` and ``after``.
        warped_labels: Moving labels on the fixed grid, after registration, or None.
    """

    method: str
    setting: Mapping[str, Any]
    metrics: Mapping[str, Any]
    warped_labels: Volume | None


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedPair:
    """A saved pair with the results of methods, everything on the fixed grid."""

    pair: str
    fixed: Volume
    moving: Volume
    fixed_labels: Volume | None
    moving_labels: Volume | None
    methods: tuple[SavedResult, ...]


def saved_folder(folder: Path, pair: str, method: MethodSpec) -> Path:
    """Return the folder for the result of a method on a pair, in the folder of a benchmark."""
    slug = _slug(f"{method.label} {json.dumps(method.setting)} {method.model}", method.label)
    return folder / FOLDER / _slug(pair) / slug


def save_result(
    target: Path,
    pair: str,
    loaded: LoadedPair,
    method: MethodSpec,
    result: RegistrationResult,
    metrics: Mapping[str, Any],
) -> None:
    """Write images and fields of one registration.

    Args:
        target: Folder to write, see `saved_folder`.
        pair: Name of the pair.
        loaded: The pair.
        method: The method.
        result: Its result.
        metrics: ``before`` and ``after``.

    Raises:
        OutputError: A file cannot be written.
    """
    annotations, grid = loaded.annotations, loaded.fixed.grid
    moving_labels = annotations.moving_labels
    shared = {
        "fixed": loaded.fixed.original,
        "moving": resample(loaded.moving.original, grid),
        "fixed_labels": annotations.fixed_labels,
        "moving_labels": None if moving_labels is None else resample(moving_labels, grid, labels=True),
    }
    own = {
        "warped": result.warped,
        "weight": result.weight,
        "warped_labels": annotations.warped_labels(result.displacement),
    }
    about = {"pair": pair, "method": method.label, "setting": method.setting, "metrics": metrics}
    with atomic_directory(target.parent) as folder:
        for name, volume in shared.items():
            if volume is not None:
                write_volume(volume, folder / f"{name}.nii.gz")
        (folder / target.name).mkdir()
        for name, volume in own.items():
            if volume is not None:
                write_volume(volume, folder / target.name / f"{name}.nii.gz")
        write_displacement(result.displacement, folder / target.name / "displacement.nii.gz")
        text = json.dumps(finite(about), ensure_ascii=False, allow_nan=False)
        (folder / target.name / ABOUT).write_text(text, encoding="utf-8")


def read_saved_pairs(folder: Path, every_setting: bool = False) -> list[SavedPair]:
    """Read the pairs that a benchmark has saved, possibly none; raises `InputError` for an unusable file.

    Args:
        folder: Folder of the benchmark.
        every_setting: Read all settings of a method instead of the newest alone.
    """
    folders = sorted((folder / FOLDER).glob("*"))
    return [_read_pair(source, every_setting) for source in folders if any(source.glob(f"*/{ABOUT}"))]


def _read_pair(source: Path, every_setting: bool) -> SavedPair:
    methods, names = [], set()
    for about in sorted(source.glob(f"*/{ABOUT}"), key=lambda path: path.stat().st_mtime):
        methods.append(_read_method(about))
        names.add(json.loads(about.read_text(encoding="utf-8"))["pair"])
    newest = {(found.method, json.dumps(found.setting) if every_setting else ""): found for found in methods}
    volumes = {name: _volume(source / f"{name}.nii.gz", labels="labels" in name) for name in _ON_FIXED}
    if volumes["fixed"] is None or volumes["moving"] is None or len(names) != 1:
        raise InputError(str(source), got="no images", expected="a pair saved by spr benchmark")
    return SavedPair(pair=names.pop(), **volumes, methods=tuple(newest.values()))


def _read_method(about: Path) -> SavedResult:
    values, source = json.loads(about.read_text(encoding="utf-8")), about.parent
    return SavedResult(
        method=values["method"],
        setting=values["setting"],
        metrics=values["metrics"],
        warped=read_volume(source / "warped.nii.gz"),
        displacement=read_displacement(source / "displacement.nii.gz"),
        weight=_volume(source / "weight.nii.gz"),
        warped_labels=_volume(source / "warped_labels.nii.gz", labels=True),
    )


def _volume(path: Path, labels: bool = False) -> Volume | None:
    if not path.is_file():
        return None
    return read_labels(path) if labels else read_volume(path)


def _slug(text: str, shown: str | None = None) -> str:
    """A readable and unique folder name for a text."""
    words = re.sub(r"[^A-Za-z0-9.]+", "-", shown or text).strip("-.")[:40] or "x"
    return f"{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

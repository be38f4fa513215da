"""Folder of prepared images: one file per case, and an index of their sources."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from SPRCore.io import atomic_path
from SPRCore.io.places import user_folder
from SPRCore.io.samples import Sample, read_sample, write_sample

SCHEMA = 1
INDEX = "index.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A prepared case.

    Attributes:
        file: Name of its file in the folder.
        bytes: Size of that file.
        key: Hash of the settings, the content of the source files and the frames.
        sources: Path, size, modification time and SHA-256 of each source file, the image first; files with the same
            first three are not read again.
        shape: Number of voxels.
        spacing_mm: Size of a voxel.
        affine: Voxels to RAS mm, row by row.
        labels: Labels that occur, without 0.
        points: Number of landmarks.
    """

    file: str
    bytes: int
    key: str
    sources: tuple[tuple[str, int, int, str], ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    affine: tuple[float, ...]
    labels: tuple[int, ...]
    points: int


class Cache:
    """The folder and its index.

    Args:
        folder: The folder, created if missing. A damaged index counts as empty.

    Attributes:
        folder: The folder.
        entries: Prepared cases by name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = _read_index(folder / INDEX)

    def save(self, settings: Mapping[str, Any]) -> None:
        """Write the index with the settings of the preparation (`OutputError` if impossible)."""
        content = {"schema_version": SCHEMA, "settings": settings}
        content["cases"] = {name: asdict(entry) for name, entry in sorted(self.entries.copy().items())}
        with atomic_path(self.folder / INDEX) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def has(self, name: str, key: str) -> bool:
        """Return whether a case is in the cache with this key, and its file complete."""
        entry = self.entries.get(name)
        if entry is None or entry.key != key:
            return False
        path = self.folder / entry.file
        return path.is_file() and path.stat().st_size == entry.bytes

    def write(self, name: str, sample: Sample) -> tuple[str, int]:
        """Write a sample (`OutputError` if impossible); return name and size of its file."""
        # The hash separates names that differ in case or in replaced letters only.
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        clean = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:100]
        path = self.folder / f"{clean}-{digest}.safetensors"
        write_sample(sample, path)
        return path.name, path.stat().st_size


class CacheSource:
    """Samples of a complete cache."""

    def __init__(self, cache: Cache) -> None:
        self._paths = {name: cache.folder / entry.file for name, entry in cache.entries.items()}

    def load(self, name: str) -> Sample:
        """Return the sample of a case (`InputError` if its file is damaged or missing)."""
        return read_sample(self._paths[name])


def cache_folder() -> Path:
    """Return the user's folder of prepared images: `SPR_CACHE` if set, otherwise one in the system's cache folder."""
    return user_folder("SPR_CACHE", "prepared")


def _read_index(path: Path) -> dict[str, Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA:
            return {}
        return {name: _entry(values) for name, values in content["cases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _entry(values: dict[str, Any]) -> Entry:
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    values["sources"] = tuple(
        (str(path), int(size), int(time), str(sha)) for path, size, time, sha in values["sources"]
    )
    return Entry(**values)

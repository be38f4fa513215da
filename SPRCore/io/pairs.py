"""Pairs of images for evaluation: of a CSV file with a row per pair, or prepared by a recipe."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, Volume, voxel_to_ras
from SPRCore.geometry.annotations import Annotations
from SPRCore.io.cards import Preprocessing
from SPRCore.io.landmarks import read_landmarks
from SPRCore.io.paths import on_disk
from SPRCore.io.samples import read_sample
from SPRCore.io.volumes import read_labels, read_volume

_MARKS = ("labels", "points", "mask", "channel")
PARTS = ("fixed", "moving", *(f"{side}_{mark}" for mark in _MARKS for side in ("fixed", "moving")))
COLUMNS = ("pair", "subject", "group", *PARTS)
_NAME = re.compile(r"[^\x00-\x1f]{1,100}")


@dataclass(frozen=True, kw_only=True)
class PairFiles:
    """The files of one pair.

    Attributes:
        pair: Name, unique in its list.
        subject: Subject of the images; results of one subject are not independent.
        group: Name of a group of pairs, such as a direction; "" for none.
        prepared: Intensity preprocessing of each channel of prepared images, which are files of a `Sample` with labels
            and landmarks; None for images as they are.
        labels: Labels that count, the others become 0; None for all.
        digest: SHA-256 of the row as written, or of the content of prepared images.
    """

    pair: str
    subject: str
    group: str = ""
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    fixed_points: Path | None = None
    moving_points: Path | None = None
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    fixed_channel: Path | None = None
    moving_channel: Path | None = None
    prepared: tuple[Preprocessing, ...] | None = None
    labels: tuple[int, ...] | None = None
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class PairList:
    """Pairs to evaluate, with what results say of all of them.

    Attributes:
        pairs: The pairs; names are unique.
        label_names: Names of labels for tables.
        source: Recipe, set and grid of the metrics, for the header of results; empty for a CSV.
    """

    pairs: tuple[PairFiles, ...]
    label_names: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[PairFiles]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def settings(self) -> dict[str, Any]:
        """What the header of results says of the pairs."""
        own = {"source": dict(self.source), "label_names": dict(self.label_names)}
        return {name: value for name, value in own.items() if value}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPair:
    """Images with their masks, and annotations; those of the fixed image on its grid.

    Attributes:
        prepared: Intensity preprocessing of each channel of prepared images; None for images as they are.
    """

    fixed: MaskedVolume
    moving: MaskedVolume
    annotations: Annotations
    prepared: tuple[Preprocessing, ...] | None = None


def read_pairs(path: Path) -> PairList:
    """Read a list of pairs.

    Args:
        path: CSV with the columns `fixed` and `moving` and any others of `COLUMNS`; paths are absolute or relative to
            its folder. Without `pair` the number is the name, without `subject` each pair is a subject of its own.

    Raises:
        InputError: The list or a file in it is missing, or a row is invalid; the row is named.
    """
    if not path.is_file():
        raise InputError(str(path), got="no such file", expected="a CSV of pairs")
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
        reader = csv.DictReader(stream)
        names = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = names
        for name in names:
            check_name(name, COLUMNS, f"{path}, column")
        missing = sorted({"fixed", "moving"} - set(names))
        if missing:
            raise InputError(str(path), got=f"no column {missing[0]!r}", expected="at least fixed and moving")
        rows = [(reader.line_num, {key: (row[key] or "").strip() for key in names}) for row in reader]
    pairs = [_pair(row, number, f"{path}, line {line}", path.parent) for number, (line, row) in enumerate(rows, 1)]
    seen: set[str] = set()
    for pair in pairs:
        if pair.pair in seen:
            raise InputError(str(path), got=f"two pairs called {pair.pair!r}", expected="a name for each")
        seen.add(pair.pair)
    if not pairs:
        raise InputError(str(path), got="no pair", expected="at least one")
    return PairList(pairs=tuple(pairs))


def load_pair(files: PairFiles) -> LoadedPair:
    """Read all files of a pair.

    Prepared images are compared voxel by voxel, as in training: the moving one takes the grid of the fixed one, and all
    voxels count as data.

    Raises:
        InputError: A file cannot be used, or does not fit the others.
    """
    if files.prepared is not None:
        return _load_prepared(files, files.prepared)
    fixed, moving = read_volume(files.fixed), read_volume(files.moving)
    annotations = Annotations(
        fixed_labels=None if files.fixed_labels is None else read_labels(files.fixed_labels),
        moving_labels=None if files.moving_labels is None else read_labels(files.moving_labels),
        fixed_points=_points(files.fixed_points, fixed),
        moving_points=_points(files.moving_points, moving),
        fixed_mask=None if files.fixed_mask is None else read_labels(files.fixed_mask),
        moving_mask=None if files.moving_mask is None else read_labels(files.moving_mask),
        fixed_channel=None if files.fixed_channel is None else read_volume(files.fixed_channel),
        moving_channel=None if files.moving_channel is None else read_volume(files.moving_channel),
    ).on(fixed.grid)
    images = annotations.masked(fixed, moving)
    return LoadedPair(fixed=images[0], moving=images[1], annotations=annotations)


def _load_prepared(files: PairFiles, prepared: tuple[Preprocessing, ...]) -> LoadedPair:
    samples = {"fixed": read_sample(files.fixed), "moving": read_sample(files.moving)}
    affine = samples["fixed"].affine
    shapes = [sample.image.shape for sample in samples.values()]
    if shapes[0] != shapes[1]:
        remedy = "set preprocessing.shape, or preprocessing.align"
        raise InputError(files.pair, got=f"{shapes[0]} and {shapes[1]}", expected="the same shape", remedy=remedy)
    marks: dict[str, Any] = {}
    for side, sample in samples.items():
        if files.fixed_labels is not None and sample.labels is not None:
            marks[f"{side}_labels"] = Volume(_selected(sample.labels, files.labels), affine)
        if files.fixed_points is not None and sample.points is not None:
            marks[f"{side}_points"] = voxel_to_ras(sample.points.astype(np.float64), affine)
    images = {}
    for side, sample in samples.items():
        second = None if sample.second_channel is None else Volume(sample.second_channel, affine)
        images[side] = replace(MaskedVolume.whole(Volume(sample.image, affine)), channel=second)
    return LoadedPair(**images, annotations=Annotations(**marks), prepared=prepared)


def _selected(labels: np.ndarray, wanted: tuple[int, ...] | None) -> np.ndarray:
    return labels if wanted is None else np.where(np.isin(labels, wanted), labels, 0).astype(labels.dtype)


def _points(path: Path | None, image: Volume) -> np.ndarray | None:
    return None if path is None else read_landmarks(path, grid=image.grid)


def _pair(row: dict[str, str], number: int, where: str, base: Path) -> PairFiles:
    name = row.get("pair") or str(number)
    texts = {"pair": name, "subject": row.get("subject") or name, "group": row.get("group", "")}
    for key, text in texts.items():
        if text and not _NAME.fullmatch(text):
            raise InputError(f"{where}, {key}", got=repr(text[:64]), expected="at most 100 characters")
    files = {part: base / Path(row[part]).expanduser() for part in PARTS if row.get(part)}
    for part in ("fixed", "moving"):
        if part not in files:
            raise InputError(f"{where}, {part}", got="nothing", expected="a path")
    for kind in ("labels", "points", "channel"):
        if (f"fixed_{kind}" in files) != (f"moving_{kind}" in files):
            raise InputError(f"{where}, {kind}", got="those of one image only", expected="those of both, or none")
    for part, file in files.items():
        if not on_disk(file).exists():
            raise InputError(f"{where}, {part}", got=f"no file {row[part]}", expected="a file")
    written = [row.get(part, "") for part in PARTS]
    for _ in ("moving_mask", "fixed_channel", "moving_channel"):  # rows of lists without them keep their digest
        written = written if written[-1] else written[:-1]
    digest = hashlib.sha256("\0".join(written).encode()).hexdigest()
    return PairFiles(**texts, **files, digest=digest)

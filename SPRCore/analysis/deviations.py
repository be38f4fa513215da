"""Conventions in which saved results differ from the paper, read from their provenance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from SPRCore.analysis.rows import BenchmarkRow, RowsHeader

_STEPS = re.compile(r"after (\d+) steps")
_UNKNOWN = "not saved in these results"
_ON_VOXELMORPH = ("VoxelMorph", "HyperMorph")
_BODY_GRID = [8, 7, 6, 5, 4]  # of deedsBCV


def common_deviations(
    rows: Sequence[BenchmarkRow], headers: Iterable[RowsHeader], paper: Mapping[str, Any], task: str
) -> list[str]:
    """Return what differs from the paper for all methods: data, images, alignment, conventions of the metrics.

    Args:
        rows: One row for each method and pair.
        headers: Headers of their files.
        paper: Values of the paper, from `against.paper`.
        task: Task of the paper.
    """
    theirs, settings = paper["tasks"][task], [header.settings for header in headers]
    found = [*_data(rows, settings, theirs), *_grids(rows, theirs)]
    starts = {str(setting.get("init")) for setting in settings}
    if starts != {"none"}:
        found.append(f"pre-alignment: {', '.join(sorted(starts))}; the paper: {theirs['alignment']}")
    elif theirs["alignment"] != "none":
        found.append(f"pre-alignment: none here; the paper: {theirs['alignment']}")
    conventions = rows[0].conventions
    if conventions.label_interpolation == "nearest":
        found.append("labels: warped by the nearest voxel; the paper's author: indicators, linearly, the highest taken")
    if conventions.folding_over == "volume":
        found.append("folding and NDV: over all inner voxels; the paper's author: the foreground of the moving image")
    else:
        found.append("folding and NDV: over the foreground of the fixed image; the paper's author: of the moving image")
    return found


def method_deviations(row: BenchmarkRow, theirs: str, paper: Mapping[str, Any], task: str) -> list[str]:
    """Return what differs between a method and its counterpart in the paper: network, training, setting.

    Args:
        row: A row of the method.
        theirs: Name of the counterpart.
        paper: Values of the paper, from `against.paper`.
        task: Task of the paper.
    """
    if row.model is None:
        return list(_baseline(row, theirs, task))
    facts = row.provenance.get("model")
    found = list(_unsaved(row, theirs) if facts is None else _network(facts, theirs, paper, task))
    is_semi = "semi" in (row.method.lower() if facts is None else str(facts.get("task")))
    if is_semi != ("semi" in theirs):
        ours, other = ("in the loss", "not used") if is_semi else ("not used", "in the loss")
        found.append(f"labels in training: {ours}; the paper: {other}")
    best = paper["optima"][task].get(theirs) or ({"lambda": 1.0} if theirs in ("VoxelMorph", "TransMorph") else {})
    used = {name: row.setting.get(name) for name in best}
    if (facts or {}).get("weighting") == "hypermorph" and used.get("lambda") is not None:
        used["lambda"] = round(used["lambda"] / (1.0 + used["lambda"]), 6)  # the share of the paper, of our strength
    if used != best:
        found.append(f"setting: {_named(used)}; the paper: {_named(best)}")
    return found


def data_of(settings: Mapping[str, Any]) -> str | None:
    """Return the name of the data set in the settings of results, or of the recipe and its set; None without."""
    source = settings.get("source") or {}
    named = [str(source[name]) for name in ("recipe", "set") if source.get(name)]
    return str(source["dataset"]) if source.get("dataset") else ", ".join(named) or None


def _data(
    rows: Sequence[BenchmarkRow], settings: Sequence[Mapping[str, Any]], theirs: Mapping[str, Any]
) -> Iterator[str]:
    sets = sorted({name for setting in settings if (name := data_of(setting))})
    yield f"data: {', '.join(sets) or _UNKNOWN}; the paper: {theirs['data']}"
    pairs, subjects = {row.pair for row in rows}, {row.subject for row in rows}
    groups = sorted({row.group for row in rows if row.group})
    if len(pairs) != theirs["pairs"]:
        words = f"{len(pairs)} pairs of {len(subjects)} subjects" + (f" ({', '.join(groups)})" if groups else "")
        yield f"test set: {words}; the paper: {theirs['pairs']} subjects"
    labels = {label for row in rows for label in (row.after.get("dice") or {})}
    if len(labels) != theirs["labels"]:
        more = "more than " if theirs["labels"] == 30 else ""
        yield f"labels: {len(labels)} structures; the paper: {more}{theirs['labels']}"


def _grids(rows: Sequence[BenchmarkRow], theirs: Mapping[str, Any]) -> Iterator[str]:
    grids = [grid for row in rows if (grid := row.provenance.get("grid")) is not None]
    wanted = f"{_sizes(theirs['shape'])} voxels of {_sizes(theirs['spacing_mm'])} mm"
    if not grids:
        yield f"grid of the images and metrics: {_UNKNOWN}; the paper: {wanted}"
        return
    kinds = {(_sizes(grid["shape"]), _sizes(grid["spacing_mm"])) for grid in grids}
    if kinds != {(_sizes(theirs["shape"]), _sizes(theirs["spacing_mm"]))}:
        shape, spacing = sorted(kinds)[0]
        more = f" and {len(kinds) - 1} others" if len(kinds) > 1 else ""
        yield f"grid of the images and metrics: {shape} voxels of {spacing} mm{more}; the paper: {wanted}"


def _network(facts: Mapping[str, Any], theirs: str, paper: Mapping[str, Any], task: str) -> Iterator[str]:
    wanted = "voxelmorph" if theirs in _ON_VOXELMORPH else "transmorph_tvf"
    if facts.get("architecture") != wanted:
        yield f"network: {facts.get('architecture')}; the paper: {wanted}"
    else:
        sizes = paper["networks"][wanted]
        own = {name: facts.get("sizes", {}).get(name) for name in sizes}
        if own != sizes:
            yield f"size of the network: {_named(own)}; the paper: {_named(sizes)}"
    if facts.get("conditioning") and facts.get("conditioned_by") != paper["conditioning"]:
        yield f"conditioning: {facts.get('conditioned_by')}; the paper: weights generated by a hypernetwork"
    grid = facts.get("grid") or {}
    data = paper["tasks"][task]
    if grid.get("shape") != data["shape"] or grid.get("spacing_mm") != data["spacing_mm"]:
        shape = _sizes(grid["shape"]) + " voxels" if grid.get("shape") else "field of view of the fixed image"
        spacing = f"{_sizes(grid['spacing_mm'])} mm" if grid.get("spacing_mm") else "its spacing"
        wanted_grid = f"{_sizes(data['shape'])} voxels, {_sizes(data['spacing_mm'])} mm"
        yield f"grid of the network: {shape}, {spacing}; the paper: {wanted_grid}"
    steps = _STEPS.search(str(facts.get("training")))
    ours = f"{f'{steps[1]} steps' if steps else f'length {_UNKNOWN}'}, {facts.get('training_data') or 'unnamed data'}"
    yield f"training: {ours}; the paper: {paper['epochs']} epochs of {data['training_pairs']} subjects"


def _unsaved(row: BenchmarkRow, theirs: str) -> Iterator[str]:
    yield f"network, its size, its grid and its training: {_UNKNOWN}"
    if "vxm" in row.method.lower() and theirs not in _ON_VOXELMORPH:
        yield "network, by the name of the method: VoxelMorph; the paper: TransMorph"


def _baseline(row: BenchmarkRow, theirs: str, task: str) -> Iterator[str]:
    if theirs == "SyN" and row.setting.get("metric") != "CC":
        yield f"SyN: metric {row.setting.get('metric')}; the paper: antsRegistrationSyN.sh, SyNOnly, CC (here syn-cc)"
    if theirs == "deedsBCV" and (list(row.setting.get("grid", ())) == _BODY_GRID) != (task == "body"):
        yield "deedsBCV: the settings of the paper for another task"


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    return _UNKNOWN if value is None else f"{value:g}" if isinstance(value, (int, float)) else " ".join(map(str, value))


def _sizes(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)

"""Velocity at full resolution: everywhere, nowhere, as a correction at the end, and only where the weight is low.

Run by `python Testing/benchmarks/resolution.py [--cases thorax …]`.

*half*, *full*: the velocity has half the resolution of the image, or all of it, on the finest level. *then N full*: the
last N of the steps at full resolution, from the solution at half. *where w < 0.5*: in these the velocity changes only
where the weight of the solution at half is below 0.5, one voxel more on each side; the system is solved on these voxels
alone (others are held).
"""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

from cases import CASES, last, loaded, places_of
from kept import RESULTS, Rows, Watch, markdown, parse_setting, solver_version
from torch.nn import functional as F

from SPRCore.registration.newton import NewtonSystem, conjugate_gradients, symmetric_product

SETTINGS = ("beta:0.01,5", "beta:0.01,20", "beta:0.02,20@search")
ALL_VOXELS = 10**9
LOW_WEIGHT = 0.5
WAYS = {
    "half": (None, 0, False),
    "full": (None, None, False),
    "half, then 2 full": (2, 2, False),
    "half, then 4 full": (4, 4, False),
    "half, then 4 full where w < 0.5": (4, 4, True),
    "half, then 8 full where w < 0.5": (8, 8, True),
    "4 half": (-4, 0, False),
    "4 half, then 4 full": (-4, 4, False),
    "4 half, then 4 full where w < 0.5": (-4, 4, True),
    "4 half, then 2 full where w < 0.5": (-4, 2, True),
    "6 half, then 4 full where w < 0.5": (-6, 4, True),
}
"""Steps at half resolution less than usual (negative: as many), at full resolution, None for all of them; and whether
only where the weight is low."""


@contextlib.contextmanager
def only_within(mask):
    """Within, the steps of every registration move the voxels of a mask alone: the others are held at their values."""

    def solve(system, right, iterations, tolerance=0.03):
        where = mask.to(right)
        apply = lambda field: system.apply(field) * where  # noqa: E731
        precondition = lambda field: symmetric_product(system.inverse_diagonal, field) * where  # noqa: E731
        return conjugate_gradients(apply, precondition, right * where, iterations, tolerance)

    with mock.patch.object(NewtonSystem, "solve", solve):
        yield


def measure(case, setting, way):
    """A row of one way."""
    prior, config = setting
    less, count, masked = WAYS[way]
    whole = replace(config, velocity_voxels=ALL_VOXELS)
    start = case.search(config) if config.search else None
    steps = -less if less is not None and less < 0 else max(config.steps[-1] - (less or 0), 2)
    coarse = replace(config, steps=(*config.steps[:-1], steps))
    fine = replace(whole, steps=(0,) * (len(config.steps) - 1) + (count or 0,), search=False)
    for part in (config, whole, coarse, fine):
        case.problem(part)
    watch = Watch()
    if count is None:
        result = case.solve((prior, whole), start)
    else:
        result = case.solve((prior, coarse), start)
        if count:
            mask = F.max_pool3d((result.weight < LOW_WEIGHT).float(), 3, stride=1, padding=1)
            with only_within(mask) if masked else contextlib.nullcontext():
                result = case.solve((prior, fine), result.velocity_mm)
    row = watch.read() | case.worth(result) | {"energy": last(result), "similarity": result.similarity}
    return row | ({"part_moved": float(mask.mean())} if masked else {})


def table(rows):
    """The rows as Markdown."""
    columns = ["case", "setting", "velocity", "near or liver", "against half, %", "away or outside", "against half, %"]
    columns += ["similarity", "folding, %", "part moved", "processor seconds"]
    lines = []
    for key, row in rows.items():
        case, setting, way = key.split("|")
        plain = places_of(rows.get(f"{case}|{setting}|half", row))
        cells = []
        for value, other in zip(places_of(row), plain, strict=True):
            cells += [None, None] if value is None else [f"{value:.3f}", f"{100 * (value / other - 1):+.1f}"]
        cells += [f"{row['similarity']:.4f}", f"{row['folding_percent']:.4f}"]
        cells += [f"{row['part_moved']:.2f}" if "part_moved" in row else None, f"{row['processor_seconds']:.1f}"]
        lines.append([case, setting, way, *cells])
    return markdown(columns, lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[name for name in CASES if name != "heart"])
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "resolution")
    options = parser.parse_args()
    rows, version = Rows(options.out), solver_version("synthetic")
    for case in loaded(options.cases if options.settings else [], options.device):
        for text in options.settings:
            for way in options.ways:
                rows.take(f"{case.name}|{text}|{way}", partial(measure, case, parse_setting(text), way), version)
    rows.write(table(rows.shown(version)))


if __name__ == "__main__":
    main()

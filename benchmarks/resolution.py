"""Velocity at full resolution: everywhere, nowhere, as a correction at the end, and only where the weight is low.

Run by `python benchmarks/resolution.py [--cases thorax …]`.

*half*, *full*: the velocity has half the resolution of the image, or all of it, on the finest level. *then N full*: the
last N of the steps at full resolution, from the solution at half. *where w < 0.5*: in these the velocity changes only
where the weight of the solution at half is below 0.5, one voxel more on each side; the system is solved on these voxels
alone (others are held).
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from unittest import mock

from cases import NO_HEART, case_parser, last, loaded, region_errors
from saved_rows import Rows, Watch, markdown, parse_setting, solver_version
from torch.nn import functional as F

from SPRCore.registration.newton import NewtonSystem
from SPRCore.regularization import UniformPrior

SETTINGS = ("beta:0.01,5", "beta:0.01,20", "beta:0.02,20@search")
ALL_VOXELS = 10**9
LOW_WEIGHT = 0.5
VERSION = f"{solver_version()}, no corrections of its own"


class Stage(NamedTuple):
    """Steps on the finest level, from where the stage before ended."""

    steps: int | None = None
    """As many as the setting has if None."""
    full: bool = False
    masked: bool = False
    uniform: float | None = None
    """A uniform strength in place of the setting."""


WAYS = {
    "half": [Stage()],
    "full": [Stage(full=True)],
    "half, then 2 full": [Stage(-2), Stage(2, True)],
    "half, then 4 full": [Stage(-4), Stage(4, True)],
    "half, then 4 full where w < 0.5": [Stage(-4), Stage(4, True, True)],
    "half, then 8 full where w < 0.5": [Stage(-8), Stage(8, True, True)],
    "4 half": [Stage(4)],
    "4 half, then 8 half where w < 0.5": [Stage(4), Stage(8, False, True)],
    "4 half, then 4 full where w < 0.5": [Stage(4), Stage(4, True, True)],
    "4 half, then 2 full where w < 0.5": [Stage(4), Stage(2, True, True)],
    "6 half, then 4 full where w < 0.5": [Stage(6), Stage(4, True, True)],
    "4 half, 4 half and 4 full where w < 0.5": [Stage(4), Stage(4, False, True), Stage(4, True, True)],
    "4 half uniform 1, 4 half, 4 full where w < 0.5": [Stage(4, uniform=1.0), Stage(4), Stage(4, True, True)],
    "2 half uniform 1, 2 half, 4 full where w < 0.5": [Stage(2, uniform=1.0), Stage(2), Stage(4, True, True)],
}
"""Negative steps: so many less than the setting has, 2 at least."""


@contextlib.contextmanager
def only_within(mask):
    """Within, the steps of every registration move the voxels of a mask alone: the others are held at their values."""
    plain = NewtonSystem.solve

    def solve(system, right, iterations, tolerance=0.03, where=None):
        shown = F.interpolate(mask, size=right.shape[2:], mode="trilinear", align_corners=True).gt(0).to(right)
        return plain(system, right, iterations, tolerance, shown)

    with mock.patch.object(NewtonSystem, "solve", solve):
        yield


def measure(case, setting, way):
    """A row of one way."""
    prior, config = setting
    start, last_steps = case.search(config) if config.search else None, config.steps[-1]
    stages = []
    for number, stage in enumerate(WAYS[way]):
        steps = (
            last_steps if stage.steps is None else stage.steps if stage.steps > 0 else max(last_steps + stage.steps, 2)
        )
        coarse = config.steps[:-1] if number == 0 else (0,) * (len(config.steps) - 1)
        own = replace(config, steps=(*coarse, steps), search=False, corrections=0)
        stages.append(replace(own, velocity_voxels=ALL_VOXELS) if stage.full else own)
        case.problem(stages[-1])
    watch, mask, result = Watch(), None, None
    for stage, own in zip(WAYS[way], stages, strict=True):
        if stage.masked and mask is None:
            mask = F.max_pool3d((result.weight < LOW_WEIGHT).float(), 3, stride=1, padding=1)
        chosen = prior if stage.uniform is None else UniformPrior(strength=stage.uniform)
        with only_within(mask) if stage.masked else contextlib.nullcontext():
            result = case.solve((chosen, own), start)
        start = result.velocity_mm
    row = watch.read() | case.worth(result) | {"energy": last(result), "similarity": result.similarity}
    return row | ({} if mask is None else {"part_moved": float(mask.mean())})


def table(rows):
    """The rows as Markdown."""
    columns = ["case", "setting", "velocity", "near or liver", "against half, %", "away or outside", "against half, %"]
    columns += ["similarity", "folding, %", "part moved", "processor seconds"]
    lines = []
    for key, row in rows.items():
        case, setting, way = key.split("|")
        plain = region_errors(rows.get(f"{case}|{setting}|half", row))
        cells = []
        for value, other in zip(region_errors(row), plain, strict=True):
            cells += [None, None] if value is None else [f"{value:.3f}", f"{100 * (value / other - 1):+.1f}"]
        cells += [f"{row['similarity']:.4f}", f"{row['folding_percent']:.4f}"]
        cells += [f"{row['part_moved']:.2f}" if "part_moved" in row else None, f"{row['processor_seconds']:.1f}"]
        lines.append([case, setting, way, *cells])
    return markdown(columns, lines)


def main():
    parser = case_parser(__doc__, "resolution", SETTINGS, default=NO_HEART)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    rows = Rows(options.out)
    for case in loaded(options.cases if options.settings else [], options.device):
        for text in options.settings:
            for way in options.ways:
                rows.take(f"{case.name}|{text}|{way}", partial(measure, case, parse_setting(text), way), VERSION)
    rows.write(table(rows.shown((VERSION,))))


if __name__ == "__main__":
    main()

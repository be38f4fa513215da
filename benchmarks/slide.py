"""Slide in mm of phantoms, of the true displacement and of registrations whose setting was chosen for the pair.

Run by `python benchmarks/slide.py`. Each phantom is registered by `prior="auto"`; the slide is measured on the true
displacement and on the one found (`SPRCore/metrics/sliding.py`). Rows are kept until the solver's version changes; the
figure registers the phantoms that slide again.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from saved_rows import RESULTS, Rows, Watch, markdown, solver_version

from SPRCore import api
from SPRCore.analysis.figures import DPI, save_figure
from SPRCore.metrics.sliding import segment_sliding
from SPRCore.synthetic import beating_heart, sliding_cylinder, sliding_plates, sliding_thorax

WALL = "wall"
CASES = {
    "plates": (sliding_plates, {}, (WALL,)),
    "cylinder": (sliding_cylinder, {}, (WALL,)),
    "thorax": (sliding_thorax, {}, (WALL, 2, 3, 5)),
    "thorax, seed 1": (sliding_thorax, {"seed": 1}, (WALL,)),
    "plates without slip": (sliding_plates, {"slip_mm": 0.0}, (WALL,)),
    "beating heart": (beating_heart, {}, (1, 2, 3)),
}
"""Phantom, its arguments, and the surfaces: the sliding wall, or labels."""

DRAWN = ("plates", "cylinder", "thorax")


@functools.cache
def registered(case):
    """A phantom, its registration at the setting chosen for it, and the time."""
    make, options, _ = CASES[case]
    phantom, watch = make(**options), Watch()
    return phantom, api.register(phantom.fixed, phantom.moving, prior="auto"), watch.read()


def surfaces(phantom, displacement, wanted):
    """Measured surfaces by name."""
    found = {}
    if WALL in wanted:
        inside = phantom.fixed.with_array((phantom.boundary.array < 0).astype(np.uint8))
        found[WALL] = segment_sliding(displacement, inside)["1"]
    labels = [label for label in wanted if label != WALL]
    if labels:
        every = segment_sliding(displacement, phantom.fixed_labels)
        found |= {label: every[str(label)] for label in labels}
    return found


def measure(case):
    """Rows of a phantom: statistics of the truth and of the registration by surface."""
    phantom, result, times = registered(case)
    wanted = CASES[case][2]
    sides = {"true": phantom.displacement, "found": result.displacement}
    found = {side: surfaces(phantom, field, wanted) for side, field in sides.items()}
    rows = {str(name): {side: found[side][name].summary() for side in sides} for name in wanted}
    voxel = min(phantom.fixed.spacing)
    return {"surfaces": rows, "setting": result.report["hyperparameters"], "voxel_mm": voxel} | times


def table(rows):
    """The rows as Markdown."""
    head = ["phantom", "surface", "slide, true [mm]", "found [mm]", "found / true", "found [voxels]"]
    head += ["opening, true [mm]", "found [mm]", "measured [%]", "λ_max chosen"]
    lines = []
    for case, row in rows.items():
        for name, sides in row["surfaces"].items():
            words = name if name == WALL else f"label {name}"
            true, found = (sides[side]["slide"]["mean"] for side in ("true", "found"))
            ratio = f"{found / true:.2f}" if true > 1.0 else ""
            openings = [f"{sides[side]['opening']['mean']:+.2f}" for side in ("true", "found")]
            numbers = [f"{true:.2f}", f"{found:.2f}", ratio, f"{found / row['voxel_mm']:.2f}", *openings]
            part = f"{sides['found']['measured_percent']:.0f}"
            lines.append([case, words, *numbers, part, f"{row['setting']['lambda_max']:g}"])
    return markdown(head, lines)


def figure():
    """Slide on the walls of the phantoms: the truth, what was found, and one against the other."""
    drawn = Figure(figsize=(13.0, 3.9 * len(DRAWN)), dpi=DPI, layout="constrained")
    for row, case in zip(drawn.subplots(len(DRAWN), 3), DRAWN, strict=True):
        phantom, result, _ = registered(case)
        true, found = (surfaces(phantom, u, (WALL,))[WALL] for u in (phantom.displacement, result.displacement))
        limit = float(np.nanpercentile(true.jump.slide, 99))
        across = 1 if case == "plates" else 0  # seen along the axis across the plates, or from the left
        seen = true.surface.normals[:, across] * (1 if case == "plates" else -1) > 0
        seen |= case == "plates"
        axes = (0, 2) if across == 1 else (1, 2)
        for panel, measured, words in ((row[0], true, "true"), (row[1], found, "found")):
            points = measured.surface.points[seen]
            colors = {"c": measured.jump.slide[seen], "cmap": "viridis", "vmin": 0, "vmax": limit}
            image = panel.scatter(*points[:, axes].T, s=3, rasterized=True, **colors)
            panel.set_aspect("equal")
            panel.set_title(f"{case}: {words}, mean {measured.summary()['slide']['mean']:.1f} mm", fontsize=11)
            panel.set_xlabel("R, mm" if axes[0] == 0 else "A, mm")
            panel.set_ylabel("S, mm")
        drawn.colorbar(image, ax=row[1], label="slide, mm")
        row[2].hexbin(true.jump.slide, found.jump.slide, gridsize=40, mincnt=1, bins="log", cmap="Greys")
        row[2].plot([0, limit], [0, limit], color="#d1495b", linewidth=1.2)
        row[2].set_xlabel("true slide, mm")
        row[2].set_ylabel("slide found, mm")
        row[2].set_title("points of the wall", fontsize=11)
    return drawn


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--no-figure", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "sliding" / "millimeters")
    options = parser.parse_args()
    rows = Rows(options.out)
    for case in options.cases:
        rows.take(case, functools.partial(measure, case), solver_version("auto"))
    rows.write(table(rows.shown()))
    if not options.no_figure:
        save_figure(figure(), options.out / "figure.png")


if __name__ == "__main__":
    main()

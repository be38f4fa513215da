"""Breathing livers by all methods in one run: `python benchmarks/livers.py [--methods ours deeds …]`.

Error at landmarks in mm, in the liver and outside of it (spine, ribs, body wall), without alignment. Rows of
the others are kept and never measured again; those of the solver are, when its source has changed. A method that is
missing is left out with the reason: run it with a Python that has it (`pip install convexAdam antspyx`), and build
deedsBCV and set SPR_DEEDS.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from liver_pairs import FOLDER, REGIONS, isotropic, liver_pairs
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from methods import METHODS
from saved_rows import RESULTS, Rows, Watch, known_settings, markdown, solver_version

from SPRCore.analysis.figures import save_figure
from SPRCore.baselines import BASELINES
from SPRCore.errors import InputError
from SPRCore.geometry import Field
from SPRCore.metrics import folding_percent, tre_mm
from SPRCore.registration import register_instance

RIVALS = {
    "convexAdam": METHODS["convexAdam"],
    "deeds": BASELINES["deeds"],
    "deeds:body": BASELINES["deeds:body"],
    "SyN": BASELINES["syn"],
    "SyN, CC": BASELINES["syn-cc"],
}
_VOXELS_ONLY = ("convexAdam", "deeds", "deeds:body")
SETTINGS = (
    *("beta:0.1,1", "uniform:1", "uniform:3", "uniform:5"),
    *("beta:0.02,20@search", "tv:0.3,30@search", "uniform:0.3@search", "uniform:1@search", "uniform:3@search"),
)
PUBLISHED = {"pTVreg, published": {"liver": 1.88, "outside": 1.72, "seconds": 22.0}}
"""By its authors on all eight pairs of four volunteers: Vishnevskiy et al., Isotropic total variation regularization of
displacements in parametric image registration, IEEE TMI 2017. Quoted, not measured here."""
GOALS = {"liver": 1.9, "outside": 1.8}


def score(pair, field):
    """Errors at landmarks and folding of a field; None without registration."""
    errors = {region: float(tre_mm(*pair.points[region], field).mean()) for region in REGIONS}
    if field is None:
        return errors
    longest = float(np.linalg.norm(field.array, axis=-1).max())
    return errors | {"folding_percent": folding_percent(field), "longest_mm": longest}


def by_other_method(pair, method):
    """A row of a method of others, or None where it is not installed."""
    images = [isotropic(image) if method in _VOXELS_ONLY else image for image in (pair.fixed, pair.moving)]
    watch = Watch()
    field = RIVALS[method].register(*images)
    return watch.read() | score(pair, field)


def by_setting(pair, setting, device):
    """A row of the instance solver."""
    prior, config = setting
    watch = Watch()
    images = [image.to_tensor().to(device) for image in (pair.fixed, pair.moving)]
    result = register_instance(*images, pair.fixed.spacing, prior, config)
    times = watch.read()
    field = Field.from_tensor_vox(result.displacement_vox.cpu(), pair.fixed.affine)
    extra = {"energy": result.energies[-1][-1], "mean_weight": float(result.weight.mean())}
    return times | score(pair, field) | extra


def measure(rows, pairs, options):
    """Compute the requested rows that are missing."""
    for pair in pairs:
        rows.take(f"{pair.name}|before", lambda pair=pair: score(pair, None))
    for name in options.methods:
        for pair in pairs:
            key = f"{pair.name}|{name}"
            if key not in rows.rows or "failed" in rows.rows[key]:
                try:
                    RIVALS[name].check()
                except InputError as error:
                    print(f"left out {name}: {error}", flush=True)
                    break
            rows.take(key, lambda pair=pair, name=name: by_other_method(pair, name))
    for name, setting in known_settings(options.settings).items():
        for pair in pairs:
            call = lambda pair=pair, setting=setting: by_setting(pair, setting, options.device)  # noqa: E731
            rows.take(f"{pair.name}|{name}", call, solver_version(name))


def methods_of(rows):
    """Methods with a row for some pair, with their rows by pair."""
    found = {}
    for key, row in rows.items():
        pair, _, method = key.partition("|")
        found.setdefault(method, {})[pair] = row
    return found


def means(rows):
    """Means over pairs of what all rows of a method have."""
    keys = ("liver", "outside", "folding_percent", "seconds", "processor_seconds", "longest_mm")
    return {key: float(np.mean([row[key] for row in rows])) for key in keys if all(key in row for row in rows)}


def table(rows, pairs):
    """The rows as Markdown: a line per method, mean first and then every pair as liver / outside."""
    columns = ["method", "liver, mm", "outside, mm", "folding, %", "seconds", "of processor", *pairs]
    lines = []
    for method, own in methods_of(rows).items():
        if set(own) != set(pairs):
            continue
        mean = means(list(own.values()))
        cells = [f"{mean[key]:.{digits}f}" if key in mean else None for key, digits in _DIGITS.items()]
        lines.append([method, *cells, *(f"{own[p]['liver']:.2f} / {own[p]['outside']:.2f}" for p in pairs)])
    for method, row in PUBLISHED.items():
        lines.append([method, row["liver"], row["outside"], None, row["seconds"], None, *[None] * len(pairs)])
    return markdown(columns, lines)


_DIGITS = {"liver": 2, "outside": 2, "folding_percent": 4, "seconds": 1, "processor_seconds": 1}


def figure(rows, count):
    """Error in the liver against that outside of it, a point for each method: all of them, and those near the goal."""
    made = Figure(figsize=(12, 5.4), layout="constrained")
    found = {method: means(list(own.values())) for method, own in methods_of(rows).items() if len(own) == count}
    points = {name: (row["liver"], row["outside"]) for name, row in (found | PUBLISHED).items()}
    near = {name: point for name, point in points.items() if max(point) < NEAR_MM}
    far = {name: point for name, point in points.items() if name not in near}
    made.suptitle(f"Breathing livers, mean of {count} pairs; gray: one uniform strength for all", fontsize=11)
    left, right = made.subplots(1, 2)
    for axes, named in ((left, far), (right, near)):
        _points(axes, points, named)
    for scale in (left.set_xscale, left.set_yscale):
        scale("log")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    left.set_xlim(0.9 * min(x for x, _ in points.values()), 1.4 * max(x for x, _ in points.values()))
    right.set_xlim(1.4, NEAR_MM)
    right.set_ylim(1.6, NEAR_MM)
    left.set_title("all", fontsize=10)
    right.set_title("near the goal (green)", fontsize=10)
    return made


NEAR_MM = 2.2


def _points(axes, points, named):
    """Draw all points, those of uniform strengths joined in their order, and name some of them."""
    uniform = [name for name in points if name.startswith("uniform:")]
    for start in ("", "search"):
        sweep = [name for name in uniform if name.partition("@")[2] == start]
        sweep.sort(key=lambda name: float(name.partition("@")[0].split(":")[1]))
        axes.plot(*zip(*(points[name] for name in sweep), strict=True), color="#8c8c8c", linewidth=1.2, zorder=1)
    axes.add_patch(Rectangle((0, 0), GOALS["liver"], GOALS["outside"], color="#1b7f5c", alpha=0.12, zorder=0))
    marks = {name: ("o", "#8c8c8c") for name in uniform}
    marks |= {name: ("s", "black") for name in (*RIVALS, *PUBLISHED, "before")}
    middle = np.median([x for x, _ in named.values()])
    for name, point in points.items():
        mark, color = marks.get(name, ("D", "#d1495b"))
        axes.scatter(*point, marker=mark, color=color, s=28, zorder=2)
        if name in named:  # away from the other points
            side, align = ((6, -3), "left") if point[0] >= middle else ((-6, -3), "right")
            axes.annotate(name, point, xytext=side, textcoords="offset points", fontsize=8, ha=align)
    axes.set_xlabel("error in the liver, mm")
    axes.set_ylabel("error outside of it, mm")
    axes.grid(alpha=0.3, linewidth=0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="*", choices=RIVALS, default=[], help="methods of others")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help="settings of the solver")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "livers")
    options = parser.parse_args()
    pairs = list(liver_pairs())
    if not pairs:
        sys.exit(f"livers: no data in {FOLDER.name}")
    rows = Rows(options.out)
    measure(rows, pairs, options)
    shown = rows.shown()
    rows.write(table(shown, [pair.name for pair in pairs]))
    save_figure(figure(shown, len(pairs)), options.out / "figure.png")


if __name__ == "__main__":
    main()

"""Calibration of the uncertainty: `python benchmarks/uncertainty.py [--cases NAME …]`.

Phantoms with a known displacement: the first two of each kind fit the factor of all standard deviations
(`CALIBRATION`), the other two test it. Real images: lungs of MRI deformed by a known velocity, and breathing livers
with landmarks (1 mm is allowed for reading them). For each case the error and the standard deviation at voxels drawn at
random, or at the landmarks.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import torch
from liver_pairs import REGIONS, liver_pairs
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from pairs import DATA, SCENE
from saved_rows import RESULTS, Rows, Watch, markdown, parse_setting, solver_version
from scipy.stats import rankdata

from SPRCore.functional import gaussian_smooth, integrate, warp
from SPRCore.io import read_volume
from SPRCore.metrics import tre_mm
from SPRCore.metrics.landmarks import sample_volume
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import completed
from SPRCore.registration.pair import start_mm, to_world
from SPRCore.registration.uncertainty import CALIBRATION
from SPRCore.registration.uncertainty_fields import uncertainty_fields
from SPRCore.synthetic import (
    SceneConfig,
    beating_heart,
    scene,
    shape_pair,
    sliding_cylinder,
    sliding_plates,
    sliding_thorax,
)

DRAWN = 500  # voxels of a case
FITTED, TESTED = (0, 1), (2, 3)  # seeds
READING_MM = 1.0
PHANTOMS = {
    "heart": beating_heart,
    "shapes": partial(shape_pair, shape=(64, 64, 64), spacing=(2.0, 2.0, 2.0)),
    "scene": lambda seed: scene(SceneConfig(**SCENE), shape=(80, 80, 80), spacing=(2.0, 2.0, 2.0), seed=seed),
    "thorax": sliding_thorax,
    "plates": sliding_plates,
    "cylinder": sliding_cylinder,
}
LUNGS = ("0004", "0006", "0007", "0011")
SETTINGS = {"phantom": ("beta:0.1,1", "uniform:1", "beta:0.02,20@search"), "lung": ("beta:0.1,1", "uniform:1")}
SETTINGS["liver"] = ("beta:0.02,20@search", "beta:0.1,1", "uniform:1")


def solved(fixed, moving, grid, setting, moving_mask=None):
    """Displacement in RAS mm, uncertainty on the fixed grid, mean residual and seconds of the uncertainty alone."""
    prior, config = parse_setting(setting)
    problem = InstanceProblem.of(fixed, moving, grid.spacing, config, moving_mask=moving_mask)
    found = to_world(problem.course(prior).completed(), grid)
    watch = Watch()
    uncertainty = completed(uncertainty_fields(problem, found, start_mm(found, fixed.device), prior=prior))
    return found.displacement, uncertainty.on(grid), {"residual": uncertainty.residual} | watch.read()


def row_of(errors, deviations, extra):
    """A row: errors and deviations in mm, without the calibration."""
    parts = {"errors": errors, "deviations": deviations / CALIBRATION}
    return {name: " ".join(f"{value:.3g}" for value in values) for name, values in parts.items()} | extra


def values_of(row, name):
    """The "errors" or "deviations" of a row."""
    return np.array(row[name].split(), dtype=float)


def drawn_row(error, deviation, extra, inside=None):
    """A row of voxels drawn at random."""
    places = np.flatnonzero(np.ones(error.size, bool) if inside is None else inside.ravel())
    at = np.random.default_rng(0).choice(places, min(DRAWN, len(places)), replace=False)
    return row_of(error.ravel()[at], deviation.ravel()[at], extra)


def phantom_row(make, seed, setting):
    """One phantom, all voxels."""
    made = make(seed=seed)
    found, deviation, extra = solved(made.fixed.to_tensor(), made.moving.to_tensor(), made.fixed.grid, setting)
    error = np.linalg.norm(found.array - made.displacement.array, axis=-1)
    return drawn_row(error, deviation.array, extra)


def lung_row(name, setting):
    """A lung of MRI and the same one deformed by 8 mm on average, each with its own noise; voxels of the thorax."""
    folder, generator = DATA / "lung_h1mri_lobes", torch.Generator().manual_seed(int(name))
    fixed, mask = (read_volume(folder / f"{name}{part}.nii.gz") for part in ("H1", "Mask"))
    image = fixed.to_tensor().float()
    step = image.new_tensor(fixed.spacing).view(1, 3, 1, 1, 1)
    smooth = gaussian_smooth(
        torch.randn((1, 3, *image.shape[2:]), generator=generator), [25.0 / s for s in fixed.spacing]
    )
    velocity = smooth * 8.0 / smooth.norm(dim=1).mean() / step
    moved, truth = warp(image, integrate(velocity)), integrate(-velocity) * step
    known = (warp(torch.ones_like(image), integrate(velocity)) > 0.99).float()
    noise = [0.03 * float(image.quantile(0.99)) * torch.randn(image.shape, generator=generator) for _ in range(2)]
    field, deviation, extra = solved(image + noise[0], moved + noise[1], fixed.grid, setting, known)
    found = field.to_tensor_vox() * step
    error = (found - truth).norm(dim=1)[0].numpy()
    return drawn_row(error, deviation.array, extra, mask.array > 0)


def liver_row(pair, setting):
    """Landmarks in the liver and outside of it."""
    images = pair.fixed.to_tensor(), pair.moving.to_tensor()
    field, deviation, extra = solved(*images, pair.fixed.grid, setting)
    fixed, moving = (np.concatenate([pair.points[region][side] for region in REGIONS]) for side in (0, 1))
    return row_of(tre_mm(fixed, moving, field), sample_volume(deviation, fixed), extra)


def cases():
    """All cases by key, as functions that return their row."""
    found = {}
    for name, make in PHANTOMS.items():
        for seed in (*FITTED, *TESTED):
            for setting in SETTINGS["phantom"]:
                if seed in TESTED or "@search" not in setting:
                    found[f"phantom|{name} {seed}|{setting}"] = partial(phantom_row, make, seed, setting)
    for name in LUNGS if (DATA / "lung_h1mri_lobes").exists() else ():
        for setting in SETTINGS["lung"]:
            found[f"lung|{name}|{setting}"] = partial(lung_row, name, setting)
    for pair in liver_pairs():
        for setting in SETTINGS["liver"]:
            found[f"liver|{pair.name}|{setting}"] = partial(liver_row, pair, setting)
    return found


def chosen(rows, kind, setting, seeds=None):
    """Rows of a kind of case, a setting and perhaps of the given seeds of phantoms."""
    found = {}
    for key, row in rows.items():
        case = key.split("|")
        if case[0] == kind and case[2] == setting and (seeds is None or int(case[1].split()[1]) in seeds):
            found[case[1]] = row
    return found


def pooled(rows):
    """Errors and uncalibrated deviations of several rows."""
    return tuple(np.concatenate([values_of(row, name) for row in rows.values()]) for name in ("errors", "deviations"))


def rank_correlation(one, other):
    """Spearman's."""
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def fitted(rows):
    """The factor at which 68 % of the errors of the first phantoms are within one standard deviation."""
    errors, deviations = pooled(chosen(rows, "phantom", "beta:0.1,1", FITTED))
    return float(np.quantile(errors / deviations, 0.68))


def statistics(rows, allowed=0.0):
    """Coverage and rank correlation of several rows."""
    errors, deviations = pooled(rows)
    deviations = CALIBRATION * deviations
    ranks = [rank_correlation(values_of(r, "errors"), values_of(r, "deviations")) for r in rows.values()]
    return {
        "cases": len(rows),
        "error": float(np.median(errors)),
        "deviation": float(np.median(deviations)),
        "within_1": float((errors <= deviations + allowed).mean()),
        "within_2": float((errors <= 2.0 * deviations + allowed).mean()),
        "rank": rank_correlation(errors, deviations),
        "rank_case": float(np.median(ranks)),
    }


GROUPS = {
    "phantoms, fitted": ("phantom", FITTED, 0.0),
    "phantoms, others": ("phantom", TESTED, 0.0),
    "lungs, known displacement": ("lung", None, 0.0),
    "livers, landmarks": ("liver", None, READING_MM),
}


def groups(rows):
    """Statistics by name and setting."""
    found = {}
    for name, (kind, seeds, allowed) in GROUPS.items():
        for setting in SETTINGS[kind]:
            part = chosen(rows, kind, setting, seeds)
            if part:
                found[name, setting] = statistics(part, allowed)
    return found


def table(rows):
    """Markdown: a line for each group, then one for each kind of phantom and each other case."""
    columns = ["images", "setting", "cases", "error, median mm", "uncertainty, median mm"]
    columns += ["within 1 SD, %", "within 2 SD, %", "rank correlation", "in one case, median"]
    lines = [_line(*key, found) for key, found in groups(rows).items()]
    single = []
    for name in PHANTOMS:
        for setting in SETTINGS["phantom"]:
            part = {k: r for k, r in chosen(rows, "phantom", setting).items() if k.split()[0] == name}
            single += [_line(name, setting, statistics(part))] if part else []
    for kind, allowed in (("lung", 0.0), ("liver", READING_MM)):
        for setting in SETTINGS[kind]:
            for case, row in chosen(rows, kind, setting).items():
                single.append(_line(f"{kind} {case}", setting, statistics({case: row}, allowed)))
    return markdown(columns, lines) + "\n\n" + markdown(columns, single)


def _line(name, setting, found):
    percents = (f"{100 * found[key]:.0f}" for key in ("within_1", "within_2"))
    return [
        *(name, setting, found["cases"], f"{found['error']:.2f}", f"{found['deviation']:.2f}", *percents),
        *(f"{found['rank']:.2f}", f"{found['rank_case']:.2f}"),
    ]


def figure(rows):
    """Reliability: the fraction of errors below each multiple of the deviation, and error against deviation."""
    made = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = made.subplots(1, 2)
    steps = np.linspace(0.0, 3.0, 61)
    for (name, (kind, seeds, allowed)), color in zip(GROUPS.items(), ("C7", "C0", "C1", "C2"), strict=True):
        part = chosen(rows, kind, SETTINGS[kind][0], seeds)
        if not part:
            continue
        errors, deviations = pooled(part)
        deviations = CALIBRATION * deviations
        words = f"{name} (+ {allowed:g} mm)" if allowed else name
        left.plot(steps, [100 * (errors <= s * deviations + allowed).mean() for s in steps], label=words, color=color)
        edges = np.quantile(deviations, np.linspace(0, 1, 11))
        bins = np.clip(np.searchsorted(edges, deviations, side="right") - 1, 0, 9)
        points = [(deviations[bins == b].mean(), np.quantile(errors[bins == b], 0.68)) for b in range(10)]
        right.plot(*zip(*points, strict=True), marker="o", color=color, label=name)
    left.axvspan(0.98, 1.02, color="k", alpha=0.15, lw=0)
    left.axhspan(60, 76, color="k", alpha=0.08, lw=0)
    left.set(xlabel="multiple of the uncertainty", ylabel="errors within it, %", ylim=(0, 100), xlim=(0, 3))
    left.legend(frameon=False, loc="lower right", fontsize=9)
    right.plot([0.1, 20], [0.1, 20], color="k", lw=0.8, ls="--", label="perfect calibration")
    right.set(xscale="log", yscale="log", xlabel="uncertainty, mm", ylabel="68th percentile of the error, mm")
    for axis, limits in ((right.xaxis, (0.3, 8)), (right.yaxis, (0.3, 8))):
        axis.set_major_locator(FixedLocator([0.5, 1, 2, 4]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
        axis.set_view_interval(*limits, ignore=True)
    right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", help="those whose key contains one of these words (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "uncertainty")
    options = parser.parse_args()
    rows = Rows(options.out)
    for key, measure in cases().items():
        if not options.cases or any(word in key for word in options.cases):
            rows.take(key, measure, solver_version(key))
    fit = {"factor": round(fitted(rows.rows), 3), "fitted_on": "phantoms with seeds 0 and 1", "quantile": 0.68}
    (options.out / "calibration.json").write_text(json.dumps(fit, indent=2) + "\n", encoding="utf-8")
    print(f"calibration {fit['factor']}, in the program {CALIBRATION}")
    rows.publish(table, figure)


if __name__ == "__main__":
    main()

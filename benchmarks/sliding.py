"""Sliding phantoms: settings of the solver against a sweep of uniform strengths.

Run by `python benchmarks/sliding.py [--phantoms thorax …] [--settings beta:0.01,5 tv:0.3,30 …]`.

The error is the distance between the found and the true displacement, in voxels, over all voxels of the body: near the
wall (up to 4 voxels) and away from it. A setting is compared with the uniform strength that is best near the wall and,
separately, against the one that is best away from it. Rows are kept until the source of the solver changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from saved_rows import RESULTS, Rows, Watch, known_settings, markdown, solver_version

from SPRCore.analysis.figures import save_figure
from SPRCore.analysis.sliding import wall_errors
from SPRCore.geometry import Field, Volume
from SPRCore.metrics import folding_percent, ndv_percent
from SPRCore.registration import register_instance
from SPRCore.synthetic import sliding_cylinder, sliding_plates, sliding_thorax

PHANTOMS = {"thorax": sliding_thorax, "cylinder": sliding_cylinder, "plates": sliding_plates}
SETTINGS = ("beta:0.02,20@search", "tv:0.3,30@search", "beta:0.01,5", "gaussian:0.1,1", "tv:0.3,30")
STRENGTHS = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0)
GOALS = {"near": 0.70, "away": 0.75, "folding_percent": 0.01, "time": 2.0}
"""Maximum errors near the wall and away from it and time, relative to the best uniform strength; maximum folding."""


def errors(phantom, field):
    """Mean error in voxels near the wall and away from it, within the body."""
    return {region: mm / min(phantom.fixed.spacing) for region, mm in wall_errors(phantom, field).items()}


def register(phantom, setting, device):
    """Displacement and weight of a setting, and the row of both."""
    prior, config = setting
    watch = Watch()
    fixed, moving = (image.to_tensor().to(device) for image in (phantom.fixed, phantom.moving))
    result = register_instance(fixed, moving, phantom.fixed.spacing, prior, config)
    times = watch.read()
    field = Field.from_tensor_vox(result.displacement_vox.cpu(), phantom.fixed.affine)
    weight = Volume(result.weight[0, 0].cpu().numpy(), phantom.fixed.affine)
    row = errors(phantom, field) | {"folding_percent": folding_percent(field), "ndv_percent": ndv_percent(field)}
    row |= {"mean_weight": float(weight.array.mean()), "energy": result.energies[-1][-1]}
    return field, weight, row | times


def is_uniform(setting):
    return setting.startswith("uniform:")


def of_phantom(rows, phantom):
    """Rows of a phantom by setting."""
    return {key.partition("|")[2]: row for key, row in rows.items() if key.partition("|")[0] == phantom}


def best_uniform(rows, region):
    """Name of the uniform strength with the least error near the wall or away from it; rows of one phantom."""
    return min(filter(is_uniform, rows), key=lambda name: rows[name][region])


def ratios(rows, setting):
    """What the goals are about: a setting against the uniform strengths; rows of one phantom."""
    own = rows[setting]
    parts = {region: own[region] / rows[best_uniform(rows, region)][region] for region in ("near", "away")}
    seconds = np.median([row["processor_seconds"] for name, row in rows.items() if is_uniform(name)])
    return parts | {"folding_percent": own["folding_percent"], "time": own["processor_seconds"] / seconds}


def fails(found):
    """Names of the goals that are missed."""
    return [name for name, goal in GOALS.items() if found[name] > goal]


def verdicts(rows, phantoms):
    """By setting and phantom the ratios, for all settings that were run on all phantoms beside a uniform strength."""
    parts = {phantom: of_phantom(rows, phantom) for phantom in phantoms}
    if not all(any(map(is_uniform, part)) for part in parts.values()):
        return {}
    common = [name for name in next(iter(parts.values())) if all(name in part for part in parts.values())]
    return {
        name: {phantom: ratios(part, name) for phantom, part in parts.items()}
        for name in common
        if not is_uniform(name)
    }


def best_setting(found):
    """The setting nearest to the goals in the worse region of the worst phantom."""

    def distance(name):
        return max(row[region] / GOALS[region] for row in found[name].values() for region in ("near", "away"))

    return min(found, key=distance)


def table(rows, phantoms):
    """The rows and what they say about the goals, as Markdown."""
    columns = ["setting", "near, voxels", "away, voxels", "folding, %", "NDV, %", "mean weight", "seconds"]
    text = ""
    for phantom in phantoms:
        lines = []
        for name, row in of_phantom(rows, phantom).items():
            errors_and_folds = (
                f"{row['near']:.3f} {row['away']:.3f} {row['folding_percent']:.4f} {row['ndv_percent']:.4f}"
            )
            lines.append([name, *errors_and_folds.split(), f"{row['mean_weight']:.2f}", f"{row['seconds']:.1f}"])
        text += f"**{phantom}**\n\n{markdown(columns, lines)}\n"
    return text + _goals(rows, phantoms)


def _goals(rows, phantoms):
    found = verdicts(rows, phantoms)
    columns = [
        "setting",
        "phantom",
        "near / best uniform's",
        "away / best uniform's",
        "folding, %",
        "time / uniform's",
        "",
    ]
    lines = []
    for name, parts in found.items():
        for phantom, row in parts.items():
            missed = fails(row)
            numbers = [
                f"{row['near']:.2f}",
                f"{row['away']:.2f}",
                f"{row['folding_percent']:.4f}",
                f"{row['time']:.1f}",
            ]
            lines.append([name, phantom, *numbers, "missed: " + ", ".join(missed) if missed else "reached"])
    lines.append(["goal", "", *(f"≤ {goal:g}" for goal in GOALS.values()), ""])
    return markdown(columns, lines)


def figure(rows, phantoms, settings, device):
    """A row of pictures for each phantom: the best setting of all beside the uniform strength best near the wall."""
    from sliding_figure import draw

    chosen = best_setting(verdicts(rows, phantoms))
    contenders = {}
    for phantom in phantoms:
        names = (chosen, best_uniform(of_phantom(rows, phantom), "near"))
        made = PHANTOMS[phantom]()
        contenders[phantom] = made, {name: register(made, settings[name], device)[:2] for name in names}
    return draw(contenders)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", nargs="+", choices=PHANTOMS, default=list(PHANTOMS))
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS))
    parser.add_argument("--strengths", nargs="*", type=float, default=list(STRENGTHS), help="uniform strengths")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-figure", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "sliding")
    options = parser.parse_args()
    rows = Rows(options.out)
    settings = known_settings([*options.settings, *(f"uniform:{strength:g}" for strength in options.strengths)])
    for phantom in options.phantoms:
        made = PHANTOMS[phantom]()
        for name, setting in settings.items():
            call = lambda made=made, setting=setting: register(made, setting, options.device)[2]  # noqa: E731
            rows.take(f"{phantom}|{name}", call, solver_version(name))
    current = rows.shown()
    rows.write(table(current, options.phantoms))
    if not options.no_figure and verdicts(current, options.phantoms):
        known = known_settings({key.partition("|")[2] for key in current})
        save_figure(figure(current, options.phantoms, known, options.device), options.out / "figure.png")


if __name__ == "__main__":
    main()

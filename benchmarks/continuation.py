"""Continuation over settings compared with the direct solution, by energy, with as many steps.

Run by `python benchmarks/continuation.py [--cases thorax …] [--settings beta:0.01,20 …]`.

A path is a list of stages: changes of the setting (strength and first hyperparameter times a factor, or another prior)
and the maximum steps per level, coarsest first. Each stage starts from the velocity of the previous one; the last stage
has the target setting. The energy is that of the last velocity at the target setting, on the finest level with all
voxels, so that voxels outside of the field of view of a start do not count.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from cases import NO_HEART, case_parser, loaded, region_errors
from matplotlib.figure import Figure
from saved_rows import Rows, Watch, markdown, parse_setting, solver_version

from SPRCore.registration.level import completed, evaluation
from SPRCore.regularization import UniformPrior
from SPRCore.regularization.most_probable import pool_of
from SPRCore.regularization.priors import hyperparameters

SETTINGS = ("beta:0.01,20", "tv:0.3,30", "beta:0.02,20@search")
BY_LEVEL = ((12, 0, 0, 0), (0, 10, 0, 0), (0, 0, 8, 4))
THIRDS = ((4, 4, 3, 1), (4, 3, 3, 1), (4, 3, 2, 2))
HALVES = ((6, 5, 4, 2), (6, 5, 4, 2))


def scaled(strength=1.0, first=1.0):
    """A change of a setting: its strength and its first hyperparameter times a factor."""

    def change(prior):
        names = list(hyperparameters(prior))
        factors = {names[-1]: strength} | ({names[0]: first} if len(names) > 1 else {})
        return replace(prior, **{name: getattr(prior, name) * factor for name, factor in factors.items()})

    return change


def uniform(factor=1.0):
    """A change of a setting: uniform weight, with a fraction of the target strength."""
    return lambda prior: UniformPrior(strength=factor * list(hyperparameters(prior).values())[-1])


def _stages(changes, steps):
    return tuple(zip(changes, steps, strict=True))


FROM_REST = {
    "as it is": _stages([scaled()], [(12, 10, 8, 4)]),
    "strength x16, x4, x1 by level": _stages([scaled(16), scaled(4), scaled()], BY_LEVEL),
    "strength x16, x4, x1, thirds": _stages([scaled(16), scaled(4), scaled()], THIRDS),
    "strength /16, /4, x1 by level": _stages([scaled(1 / 16), scaled(1 / 4), scaled()], BY_LEVEL),
    "strength /4, x1, halves": _stages([scaled(1 / 4), scaled()], HALVES),
    "uniform at a twentieth, then asked, halves": _stages([uniform(1 / 20), scaled()], HALVES),
    "uniform at the strength, then asked, halves": _stages([uniform(), scaled()], HALVES),
    "first x16, x4, x1 by level": _stages([scaled(1, 16), scaled(1, 4), scaled()], BY_LEVEL),
    "first x16, x4, x1, thirds": _stages([scaled(1, 16), scaled(1, 4), scaled()], THIRDS),
    "first x10, halves": _stages([scaled(1, 10), scaled()], HALVES),
    "asked by level": _stages([scaled()] * 3, BY_LEVEL),
    "strength /4, /2, x1 by level": _stages([scaled(1 / 4), scaled(1 / 2), scaled()], BY_LEVEL),
    "strength /16, /16, x1 by level": _stages([scaled(1 / 16), scaled(1 / 16), scaled()], BY_LEVEL),
    "strength /4, first x4; /2, x2; x1 by level": _stages([scaled(1 / 4, 4), scaled(1 / 2, 2), scaled()], BY_LEVEL),
    "asked, 12 on the finest": _stages([scaled()], [(12, 10, 8, 12)]),
    "asked, 40 on the finest": _stages([scaled()], [(12, 10, 8, 40)]),
}
FROM_SEARCH = {
    "as it is": _stages([scaled()], [(0, 0, 0, 12)]),
    "strength x16, x4, x1": _stages([scaled(16), scaled(4), scaled()], [(0, 0, 0, 4)] * 3),
    "strength x4, x1": _stages([scaled(4), scaled()], [(0, 0, 0, 4), (0, 0, 0, 8)]),
    "strength /4, x1": _stages([scaled(1 / 4), scaled()], [(0, 0, 0, 4), (0, 0, 0, 8)]),
    "uniform at a twentieth, then asked": _stages([uniform(1 / 20), scaled()], [(0, 0, 0, 4), (0, 0, 0, 8)]),
    "first x16, x4, x1": _stages([scaled(1, 16), scaled(1, 4), scaled()], [(0, 0, 0, 4)] * 3),
    "first x4, x1": _stages([scaled(1, 4), scaled()], [(0, 0, 0, 4), (0, 0, 0, 8)]),
    "asked, 40 steps": _stages([scaled()], [(0, 0, 0, 40)]),
}
"""The last of each group use more steps, as an upper bound for continuation."""


def energy_of(case, setting, velocity_mm):
    """Energy of a velocity on the finest level, all voxels included."""
    prior, config = setting
    images = case.problem(config).levels[-1]
    return completed(evaluation(images, velocity_mm, prior, pool_of(images.grid.spacing, config.pool))).energy


def along(case, setting, stages):
    """A row: the result of a path."""
    prior, config = setting
    start = case.search(config) if config.search else None
    configs = [
        replace(config, steps=steps, tolerance=1e-4 if max(steps) >= 40 else config.tolerance) for _, steps in stages
    ]
    for own in configs:
        case.problem(own)
    watch, steps = Watch(), 0
    for (change, _), own in zip(stages, configs, strict=True):
        result = case.solve((change(prior), own), start)
        start, steps = result.velocity_mm, steps + sum(len(part) - 1 for part in result.energies)
    times = watch.read()
    return case.worth(result) | {"energy": energy_of(case, setting, start), "steps": steps} | times


def paths_of(setting):
    """The paths for a setting by name."""
    return FROM_SEARCH if setting[1].search else FROM_REST


def grouped(rows):
    """Rows by case and setting, and by path within."""
    found = {}
    for key, row in rows.items():
        case, setting, path = key.split("|")
        found.setdefault((case, setting), {})[path] = row
    return found


def table(rows):
    """The rows as Markdown."""
    columns = ["case", "setting", "path", "energy", "against as it is, %", "near or liver", "away or outside", "steps"]
    columns += ["processor seconds"]
    lines = []
    for (case, setting), own in grouped(rows).items():
        plain = own.get("as it is", next(iter(own.values())))["energy"]
        for path, row in own.items():
            errors = [None if value is None else f"{value:.3f}" for value in region_errors(row)]
            cells = [f"{row['energy']:.5f}", f"{100 * (row['energy'] / plain - 1):+.2f}", *errors, row["steps"]]
            lines.append([case, setting, path, *cells, f"{row['processor_seconds']:.1f}"])
    return markdown(columns, lines)


def figure(rows):
    """Energy relative to the direct solution, and the change of both errors: a line per path, a color per case."""
    groups = grouped(rows)
    starts = [name for name in (FROM_REST, FROM_SEARCH) if any(set(own) <= set(name) for own in groups.values())]
    made = Figure(figsize=(13, 3.8 * len(starts)), layout="constrained")
    titles = ("energy against as it is, %", "error near or in the liver, %", "error away or outside, %")
    for panels, paths in zip(made.subplots(len(starts), 3, squeeze=False), starts, strict=True):
        names = list(paths)
        for number, ((case, setting), own) in enumerate(groups.items()):
            if "as it is" not in own or paths is not paths_of(parse_setting(setting)):
                continue
            for panel, title, part in zip(panels, titles, range(3), strict=True):
                values = {path: (row["energy"], *region_errors(row))[part] for path, row in own.items()}
                if values["as it is"] is not None:
                    change = [100 * (value / values["as it is"] - 1) for value in values.values()]
                    label = f"{case}, {setting.partition('@')[0]}"
                    panel.plot(
                        change, [names.index(path) for path in values], ".", color=f"C{number % 10}", label=label
                    )
                panel.set_xlabel(title)
                panel.axvline(0, color="gray", linewidth=0.8)
                panel.grid(alpha=0.3, linewidth=0.5)
                panel.set_yticks(range(len(names)), names if panel is panels[0] else [""] * len(names), fontsize=8)
                panel.set_ylim(len(names) - 0.5, -0.5)
        panels[2].legend(fontsize=7)
    return made


def main():
    parser = case_parser(__doc__, "continuation", SETTINGS, default=NO_HEART)
    parser.add_argument("--paths", nargs="+", choices=(*FROM_REST, *FROM_SEARCH), help="some of the paths")
    options = parser.parse_args()
    rows = Rows(options.out)
    for case in loaded(options.cases if options.settings else [], options.device):
        for text in options.settings:
            setting = parse_setting(text)
            for path, stages in paths_of(setting).items():
                if options.paths and path not in options.paths:
                    continue
                rows.take(f"{case.name}|{text}|{path}", partial(along, case, setting, stages), solver_version(text))
    rows.publish(table, figure)


if __name__ == "__main__":
    main()

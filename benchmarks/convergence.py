"""How well the linear system of a step is solved, and what a better solution is worth.

Run by `python benchmarks/convergence.py [--cases thorax …] [--parts frozen whole]`.

*frozen*: a registration runs to the finest level; its system there, at the first step or after eight, is solved by
conjugate gradients with every preconditioner of `preconditioners.py`. Shown is the part of the decrease of the
quadratic model that is still missing (the least of all is 400 iterations in double precision), over iterations and over
processor seconds.

*whole*: registrations with each of them, from rest and from the search: final energy, errors and processor time. The
row of 300 iterations is what an exact solution would gain.

*sets*: the same for real pairs with labels or landmarks, with what of the time goes to the systems.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from functools import partial
from unittest import mock

import torch
from cases import case_parser, loaded, region_errors
from grid_pairs import SETS
from matplotlib.figure import Figure
from preconditioners import CANDIDATES
from saved_rows import Rows, markdown, parse_setting, solver_version
from settings_grid import register

from SPRCore.analysis.figures import save_figure
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.level import completed
from SPRCore.registration.newton import NewtonSystem, conjugate_gradients
from SPRCore.registration.pair import problem_of

FROZEN = {
    "beta:0.01,20": "beta:0.01,20",
    "beta:0.001,100": "beta:0.001,100@pool=0",
    "beta:0.02,20, search": "beta:0.02,20@search",
}
"""Contrasts: the weights reach from 1e-3 or so to 1 at the first, down to 1e-6 at the second."""
STEPS = (0, 8)
MOST = 60
"""Iterations that are followed."""
WHOLE = {
    **{f"block diagonal, {count}": ("block diagonal", count, 0.03) for count in (3, 6, 12, 30)},
    "block diagonal, 300": ("block diagonal", 300, 1e-4),
    **{f"V-cycle, {count}": ("V-cycle", count, 0.03) for count in (1, 2, 3)},
    **{f"V-cycle, Galerkin, {count}": ("V-cycle, Galerkin", count, 0.03) for count in (1, 2, 3)},
    "additive, Galerkin, 8": ("additive, Galerkin", 8, 0.03),
}
SETS_WAYS = ("block diagonal, 12", "block diagonal, 30", "block diagonal, 300", "V-cycle, 2", "V-cycle, 3")
PAIRS = {"brain": 1, "heart": 4, "lung": 1, "prostate": 1, "liver": 4}
"""Pairs of each set."""
WHOLE_SETTINGS = ("beta:0.1,1", "beta:0.01,20", "beta:0.001,100", "beta:0.02,20@search")


def system_of(case, setting, steps):
    """System and right-hand side of the step after some steps on the finest level."""
    prior, config = setting
    counts = (*config.steps[:-1], steps + 1)
    caught = []
    plain = NewtonSystem.solve

    def solve(system, right, *rest, **more):
        caught[:] = [(system, right.clone())]
        return plain(system, right, *rest, **more)

    with mock.patch.object(NewtonSystem, "solve", solve):
        case.solve((prior, replace(config, steps=counts, tolerance=0.0)))
    return caught[0]


def followed(system, right, make, iterations):
    """After each iteration: decrease of the quadratic model, residual in parts of its start, processor seconds."""
    begin = time.process_time()
    precondition = make(system)
    seconds, spent = time.process_time() - begin, 0.0
    solution, residual = torch.zeros_like(right), right.clone()
    z = precondition(residual)
    direction, rho = z, float(torch.sum(residual * z))
    first, rows = float(right.norm()), []
    for _ in range(iterations):
        begin = time.process_time()
        image = system.apply(direction)
        step = rho / float(torch.sum(direction * image))
        solution.add_(direction, alpha=step)
        residual.add_(image, alpha=-step)
        z = precondition(residual)
        previous, rho = rho, float(torch.sum(residual * z))
        direction = z.add_(direction, alpha=rho / previous)
        spent += time.process_time() - begin
        model = 0.5 * float(torch.sum((right + residual).double() * solution.double()))
        rows.append([model, float(residual.norm()) / first, seconds + spent])
        if rho <= 0.0 or rows[-1][1] < 1e-6:  # single precision knows no better
            break
    return rows


def least(system, right):
    """The largest decrease of the model: 400 iterations in double precision."""
    double = NewtonSystem(
        system.curvature.double(), [e.double() for e in system.edges], system.inverse_diagonal.double()
    )
    solution = double.solve(right.double(), 400, 1e-9)
    return 0.5 * float(torch.sum(right.double() * solution))


def frozen(case, setting, steps):
    """A row: the course of every candidate on one system."""
    system, right = system_of(case, setting, steps)
    best = least(system, right)
    weights = torch.cat([edge.flatten() for edge in system.edges])
    courses = {name: followed(system, right, make, MOST) for name, make in CANDIDATES.items()}
    best = max(best, *(row[0] for rows in courses.values() for row in rows))
    contrast = float(weights.max() / weights.min().clamp(min=1e-30))
    for rows in courses.values():
        rows[:] = [[1.0 - model / best, residual, seconds] for model, residual, seconds in rows]
    return {"courses": courses, "voxels": right[0, 0].numel(), "contrast": contrast}


@contextlib.contextmanager
def solved_by(name, iterations, tolerance):
    """Within, every step of every registration solves its system by a candidate; yields the seconds so far."""
    spent = [0.0]

    def solve(system, right, *_, **__):
        begin = time.process_time()
        found = conjugate_gradients(system.apply, CANDIDATES[name](system), right, iterations, tolerance)
        spent[0] += time.process_time() - begin
        return found

    with mock.patch.object(NewtonSystem, "solve", solve):
        yield spent


def whole(case, setting, way):
    """A row: a registration with one way of solving."""
    prior, config = setting
    with solved_by(*WHOLE[way]) as spent:
        result, row = case.timed((prior, config))
    return row | {"steps": [len(part) - 1 for part in result.energies], "solving_seconds": spent[0]}


def of_sets(rows, options):
    """Rows of real pairs."""
    for name, count in PAIRS.items():
        if name in options.sets:
            for pair in list(SETS[name]())[:count]:
                keys = [(text, way) for text in options.settings for way in options.ways if way in SETS_WAYS]
                keys = [f"sets|{name} {pair.name}|{text}|{way}" for text, way in keys]
                loaded_pair, problems = [], {}
                for key in keys:
                    call = partial(of_pair, pair, loaded_pair, problems, *key.split("|")[2:], options.device)
                    rows.take(key, call, solver_version(key))


def of_pair(pair, loaded_pair, problems, text, way, device):
    """A row of a real pair, which is read when it is needed; preparing and searching are not timed."""
    if not loaded_pair:
        loaded_pair.append(pair.load())
    prior, config = parse_setting(text)
    if config not in problems:
        case = loaded_pair[0]
        job = RegistrationJob(prior=prior, model=None, refine=0, config=config, device=torch.device(device))
        problems[config] = problem_of(case.fixed, case.moving, case.affine_ras, job)
        if config.search:
            completed(problems[config].searched())
    with solved_by(*WHOLE[way]) as spent:
        row = register(loaded_pair[0], problems, text, device)
    return row | {"solving_seconds": spent[0]}


def reached(course, missing):
    """Iterations and processor seconds until no more than a part of the decrease is missing; None if never."""
    for count, (left, _, seconds) in enumerate(course, 1):
        if left <= missing:
            return count, seconds
    return None


def table(rows):
    """Both parts as Markdown."""
    return (
        "**One system: iterations (processor milliseconds) until a part of the model's decrease is missing**\n\n"
        + system_table(rows)
        + "\n**Whole registrations; the search is not part of the time**\n\n"
        + registration_table(rows)
    )


def system_table(rows):
    """The part *frozen*: a row for each system and preconditioner."""
    columns = ["system", "voxels", "contrast", "preconditioner"]
    columns += ["missing after 12, %", "after 30, %", "≤ 10 %", "≤ 1 %"]
    lines = []
    for key in (name for name in rows if name.startswith("frozen|")):
        system = key.removeprefix("frozen|").replace("|", ", ")
        title = [system, rows[key]["voxels"], f"{rows[key]['contrast']:.0e}"]
        for name, course in rows[key]["courses"].items():
            cells = [f"{100 * course[min(n, len(course)) - 1][0]:.2f}" for n in (12, 30)]
            for missing in (0.1, 0.01):
                found = reached(course, missing)
                cells.append(f"{found[0]} ({1e3 * found[1]:.0f})" if found else f"> {len(course)}")
            lines.append([*(title if name == "block diagonal" else ["", "", ""]), name, *cells])
    return markdown(columns, lines)


def registration_table(rows):
    """The part *whole*: a row for each registration."""
    columns = ["case", "setting", "solved by", "energy", "against 12, %", "near or liver", "away or outside", "steps"]
    columns += ["processor seconds", "of them solving", "Dice"]
    lines = []
    for key, row in rows.items():
        kind, _, rest = key.partition("|")
        if kind != "frozen":
            case, setting, way = rest.split("|")
            twelve = rows.get(f"{kind}|{case}|{setting}|block diagonal, 12", row)["energy"]
            errors = [f"{value:.3f}" for value in region_errors(row) if value is not None] or [None, None]
            cells = [f"{row['energy']:.5f}", f"{100 * (row['energy'] / twelve - 1):+.2f}", *errors]
            cells.append(sum(row["steps"]) if "steps" in row else None)
            cells += [f"{row[k]:.1f}" if k in row else None for k in ("processor_seconds", "solving_seconds")]
            lines.append([case, setting, way, *cells, f"{row['dice']:.4f}" if "dice" in row else None])
    return markdown(columns, lines)


def figure(rows):
    """Remaining excess of the energy over iterations and over processor seconds, a row of panels for each system."""
    parts = [name for name in rows if name.startswith("frozen|")]
    made = Figure(figsize=(11, 3.0 * len(parts) + 0.6), layout="constrained")
    panels = made.subplots(len(parts), 2, sharey=True, squeeze=False)
    for (left, right), key in zip(panels, parts, strict=True):
        for number, (name, course) in enumerate(rows[key]["courses"].items()):
            missing = [max(row[0], 1e-7) for row in course]
            style = {"color": "black", "linewidth": 2.2} if number == 0 else {"color": f"C{number}", "linewidth": 1.2}
            left.semilogy(range(1, len(course) + 1), missing, label=name, **style)
            right.semilogy([row[2] for row in course], missing, **style)
        for count in (12, 30):
            left.axvline(count, color="gray", linewidth=0.6)
        right.set_xlim(0, 1.05 * rows[key]["courses"]["block diagonal"][-1][2])
        left.set_ylim(1e-5, 1.0)
        left.set_title(key.removeprefix("frozen|").replace("|", ", "), fontsize=9)
        left.set_ylabel("missing decrease")
        for panel in (left, right):
            panel.grid(alpha=0.3, linewidth=0.5)
    panels[-1][0].set_xlabel("iterations")
    panels[-1][1].set_xlabel("processor seconds")
    panels[0][0].legend(fontsize=7, frameon=False)
    return made


def main():
    parser = case_parser(__doc__, "convergence", WHOLE_SETTINGS, default=("thorax", "cylinder", "liver"))
    parser.add_argument("--parts", nargs="*", choices=("frozen", "whole", "sets"), default=["frozen", "whole", "sets"])
    parser.add_argument("--sets", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--ways", nargs="+", choices=WHOLE, default=list(WHOLE))
    options = parser.parse_args()
    rows = Rows(options.out)
    for case in loaded(options.cases if {"frozen", "whole"} & {*options.parts} else [], options.device):
        if "frozen" in options.parts:
            for name, text in FROZEN.items():
                for steps in STEPS:
                    call = partial(frozen, case, parse_setting(text), steps)
                    rows.take(f"frozen|{case.name}|{name}|after {steps} steps", call, solver_version(name))
        if "whole" in options.parts:
            for text in options.settings:
                for way in options.ways:
                    call = partial(whole, case, parse_setting(text), way)
                    rows.take(f"whole|{case.name}|{text}|{way}", call, solver_version(text))
    if "sets" in options.parts:
        of_sets(rows, options)
    shown = rows.shown()
    rows.write(table(shown))
    if any(key.startswith("frozen|") for key in shown):
        save_figure(figure(shown), options.out / "figure.png")


if __name__ == "__main__":
    main()

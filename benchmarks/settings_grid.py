"""Which setting serves which part of the body: `python benchmarks/settings_grid.py [--sets heart brain …]`.

Every pair is read, aligned and prepared once and registered at each setting of the grid. A row is a line of JSON, on
the disk as soon as it is measured, so an interrupted run resumes; `--workers N` divides the pairs
among processes, `--device cuda` computes there. Rows of another version of the solver are kept and not shown.
The setting "auto" is chosen for each pair, and the time to choose counts; `--again` repeats its rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from grid_pairs import SETS
from matplotlib.figure import Figure
from saved_rows import RESULTS, VERSIONS, Watch, known_settings, markdown, parse_setting, solver_version

from SPRCore.analysis.figures import save_figure
from SPRCore.functional import kept_memory
from SPRCore.geometry import compose_affine
from SPRCore.metrics import folding_percent
from SPRCore.registration.choice import AUTO, choose_setting
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.pair import problem_of, to_world
from SPRCore.regularization import BetaPrior
from SPRCore.regularization.priors import hyperparameters

DEFAULT = "beta:0.1,1"
GRID = (
    *(f"uniform:{strength:g}" for strength in (0.1, 0.2, 0.5, 1, 2, 5, 10)),
    *(f"beta:{alpha:g},{strength:g}" for alpha in (0.01, 0.03, 0.1, 0.3) for strength in (0.5, 1, 3, 10)),
    *(f"gaussian:{sigma:g},{strength:g}" for sigma in (0.1, 0.3) for strength in (0.5, 1, 3)),
    *(f"tv:{t:g},{strength:g}" for t in (0.1, 0.3, 1) for strength in (3, 10, 30)),
    AUTO,
)
LEAST = {"dice": 0.003, "tre": 0.03}
"""How much worse than the best uniform strength counts as no worse: Dice, and part of the landmark error."""


def read_lines(path, versions=VERSIONS):
    """Rows of some versions by (set, pair, setting); incomplete lines are ignored."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["version"] in versions:
            rows[row["set"], row["pair"], row["setting"]] = row
    return rows


def append_line(path, row):
    """Add a row by one write, so that lines of several processes do not mix; the line before may be half written."""
    with path.open("a+b", buffering=0) as stream:
        stream.seek(max(stream.seek(0, 2) - 1, 0))
        start = b"" if stream.read(1) in (b"", b"\n") else b"\n"
        stream.write(start + (json.dumps(row) + "\n").encode())


def register(case, problems, setting, device):
    """A row: the scores, the statistics of the solver, and its cost without the preparation of the pair."""
    prior, config = parse_setting(DEFAULT if setting == AUTO else setting)
    job = RegistrationJob(prior=prior, model=None, refine=0, config=config, device=torch.device(device))
    with kept_memory():
        if config not in problems:
            problems[config] = problem_of(case.fixed, case.moving, case.affine_ras, job)
        watch, choice = Watch(), None
        if setting == AUTO:
            choice = choose_setting(case.fixed, case.moving, case.affine_ras, job)
            prior, choosing = choice.prior, watch.read()["processor_seconds"]
        solved = problems[config].course(prior).completed()
        times = watch.read()
    if choice is not None:
        times |= {"choosing_processor_seconds": choosing, "choice": choice.report()}
    found = to_world(solved, case.fixed.grid)
    total = found.displacement if case.affine_ras is None else compose_affine(found.displacement, case.affine_ras)
    extra = {"similarity": solved.similarity, "energy": solved.energies[-1][-1]}
    extra |= {"folding_percent": folding_percent(found.displacement), "mean_weight": float(found.weight.array.mean())}
    return case.score(total) | extra | times


def measure_pair(task, path, device, threads):
    """All rows of one pair that are missing; in a process of its own."""
    torch.set_num_threads(threads)
    name, pair_name, settings = task
    case, problems = next(pair for pair in SETS[name]() if pair.name == pair_name).load(), {}
    key = {"set": name, "pair": pair_name}
    if "before" in settings:
        append_line(path, key | {"setting": "before", "version": solver_version()} | case.score(_aligned(case)))
    for setting in settings:
        if setting != "before":
            append_line(
                path,
                key
                | {"setting": setting, "version": solver_version(setting)}
                | register(case, problems, setting, device),
            )
    return f"{name} {pair_name}: {len(settings)} rows"


def _aligned(case):
    from SPRCore.geometry import affine_field

    return affine_field(case.fixed.grid, np.eye(4) if case.affine_ras is None else case.affine_ras)


def missing(options, settings, rows):
    """A task for each pair: its set, its name and the settings still to run."""
    for name in options.sets:
        pairs = list(SETS[name]())[: options.pairs]
        if not pairs:
            print(f"left out {name}: its data are missing", flush=True)
        for pair in pairs:
            rest = [setting for setting in ("before", *settings) if (name, pair.name, setting) not in rows]
            if rest:
                yield name, pair.name, rest


def by_setting(rows, name):
    """Means of a set by setting, over the pairs that all settings shown have; and the number of pairs."""
    own = {key[1:]: row for key, row in rows.items() if key[0] == name}
    settings = list(dict.fromkeys(setting for _, setting in own))
    pairs = {pair for pair, _ in own}
    whole = [setting for setting in settings if all((pair, setting) in own for pair in pairs)]
    parts = {setting: [own[pair, setting] for pair in sorted(pairs)] for setting in whole}
    keys = ("dice", "tre", "tre_liver", "tre_outside", "folding_percent", "processor_seconds", "seconds", "mean_weight")
    means = {s: {k: float(np.mean([r[k] for r in part])) for k in keys if k in part[0]} for s, part in parts.items()}
    return means, len(pairs)


def best_uniform(means, measure):
    """The best uniform strength, or None where none was run."""
    uniform = [name for name in means if name.startswith("uniform:")]
    return max(uniform, key=lambda name: _worth(means[name][measure], measure), default=None)


def _worth(value, measure):
    return -value if measure == "tre" else value


def is_no_worse(value, reference, measure):
    """Whether a mean is at most the allowance behind that of the best uniform strength."""
    return value <= reference * (1 + LEAST["tre"]) if measure == "tre" else value >= reference - LEAST["dice"]


def measure_of(means):
    """ "tre" where there are landmarks, otherwise "dice"."""
    return "tre" if "tre" in next(iter(means.values())) else "dice"


def table(rows, sets):
    """The means of each set as Markdown, the best first, beside the best uniform strength and the default."""
    text = ""
    for name in sets:
        means, count = by_setting(rows, name)
        if means:
            text += f"**{name}**, {count} pairs\n\n{_set_table(means)}\n"
    return text


def _set_table(means):
    measure = measure_of(means)
    title = "error, mm" if measure == "tre" else "Dice"
    columns = ["setting", title, "against best uniform", "against default", "no worse", "folding, %", "seconds"]
    columns += ["liver, mm", "outside, mm"] if measure == "tre" else []
    uniform = best_uniform(means, measure)
    lines = []
    for name in sorted(means, key=lambda name: -_worth(means[name][measure], measure)):
        row = means[name]
        against = [row[measure] - means[other][measure] if other in means else None for other in (uniform, DEFAULT)]
        good = uniform and is_no_worse(row[measure], means[uniform][measure], measure)
        cells = [name, f"{row[measure]:.4f}", *(None if value is None else f"{value:+.4f}" for value in against)]
        cells += [None if uniform is None else "yes" if good else "no"]
        cells += [
            f"{row[key]:.{digits}f}" if key in row else None for key, digits in (("folding_percent", 4), ("seconds", 1))
        ]
        lines.append(cells + ([f"{row[key]:.2f}" for key in ("tre_liver", "tre_outside")] if measure == "tre" else []))
    return markdown(columns, lines)


def figure(rows, sets):
    """A panel for each set: the score over the strength, a curve for each prior and first hyperparameter."""
    shown = [name for name in sets if len(by_setting(rows, name)[0]) > 1]
    made = Figure(figsize=(4.2 * len(shown), 4.0), layout="constrained")
    for panel, name in zip(np.atleast_1d(made.subplots(1, len(shown))), shown, strict=True):
        means, count = by_setting(rows, name)
        measure = measure_of(means)
        for (label, style), points in sorted(_curves(means, measure).items()):
            panel.plot(*zip(*sorted(points), strict=True), label=label, marker=".", **dict(style))
        panel.set_xscale("log")
        panel.set_title(f"{name}, {count} pairs", fontsize=10)
        panel.set_xlabel("strength λ (λ_max, λ_mean)")
        panel.set_ylabel("landmark error, mm (lower is better)" if measure == "tre" else "Dice (higher is better)")
        panel.grid(alpha=0.3, linewidth=0.5)
        panel.legend(fontsize=7, frameon=False)
    return made


def _curves(means, measure):
    """Points (strength, score) by label and style."""
    curves = {}
    for name, row in means.items():
        if name in ("before", AUTO):
            continue
        prior = parse_setting(name)[0]
        *first, (_, strength) = hyperparameters(prior).items()
        label = " ".join([prior.name, *(f"{key} {value:g}" for key, value in first)])
        style = (
            {"color": "black", "linewidth": 2.2}
            if not first
            else {"linestyle": "-" if prior.name == BetaPrior.name else "--"}
        )
        curves.setdefault((label, tuple(style.items())), []).append((strength, row[measure]))
    return curves


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--settings", nargs="+", default=list(GRID))
    parser.add_argument("--pairs", type=int, help="at most so many pairs of each set")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="threads of each worker")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--again", action="store_true", help="measure the rows of auto again")
    parser.add_argument("--out", type=Path, default=RESULTS / "settings_grid")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rows.jsonl"
    settings = [name for name in options.settings if name == AUTO or known_settings([name])]
    kept = read_lines(path)
    kept = {key: row for key, row in kept.items() if not (options.again and key[2] == AUTO)}
    tasks = list(missing(options, settings, kept))
    call = partial(measure_pair, path=path, device=options.device, threads=options.threads)
    with multiprocessing.get_context("spawn").Pool(options.workers, maxtasksperchild=1) as pool:
        for done in pool.imap_unordered(call, tasks):
            print(done, flush=True)
    rows = {key: row for key, row in read_lines(path).items() if key[2] in ("before", *settings)}
    if not rows:
        sys.exit("settings_grid: no rows")
    text = table(rows, options.sets)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    save_figure(figure(rows, options.sets), options.out / "figure.png")


if __name__ == "__main__":
    main()

"""How much of its energy the solver leaves: `python benchmarks/energy.py [--cases thorax liver …]`.

At each setting the energy of a run from rest is compared with the least of all starts: rest, the solutions of four
uniform strengths and of three neighboring settings, the solution itself with noise on it and halved, and the logarithm
of the true displacement where that is known. All are minimized with the same settings and compared on the same finest
level, whose grid and weight are the same for all. Rows are kept until the source of the solver changes.
"""

from __future__ import annotations

import torch
from cases import case_parser, last, loaded
from matplotlib.figure import Figure
from saved_rows import Rows, Watch, known_settings, markdown, solver_version

from SPRCore.functional import gaussian_smooth

SETTINGS = ("beta:0.1,1", "beta:0.01,5", "beta:0.01,20", "tv:0.3,30")
STARTS = ("uniform:0.3", "uniform:1", "uniform:3", "uniform:10", "beta:0.1,1", "beta:0.005,3", "beta:0.03,10")
GOAL_PERCENT = 2.0
_NOISE_VOXELS, _NOISE_SIGMA = 0.5, 2.0


class Bench:
    """One case, with the velocities that starts are made of."""

    def __init__(self, case):
        self._case, self._solutions = case, {}

    def solve(self, setting, start=None):
        """Minimize at a setting (prior and configuration) from a velocity in mm, or from rest."""
        return self._case.solve(setting, start)

    def starts(self, setting, cold):
        """Velocities to start from, by name; `cold` is the velocity of the run from rest."""
        for name, neighbor in known_settings(STARTS).items():
            if neighbor[0] != setting[0]:
                if name not in self._solutions:
                    self._solutions[name] = self.solve(neighbor).velocity_mm
                yield name, self._solutions[name]
        yield "itself, with noise", cold + self._noise(cold)
        yield "itself, halved", 0.5 * cold
        if self._case.phantom is not None:
            yield "truth", self._case.true_velocity_mm

    def _noise(self, velocity):
        """Smooth noise of half a voxel, the same every time."""
        generator = torch.Generator().manual_seed(0)
        noise = gaussian_smooth(torch.randn(velocity.shape, generator=generator), [_NOISE_SIGMA] * 3)
        step = min(self._case.spacing) * _NOISE_VOXELS
        return (noise * (step / noise.std())).to(velocity)


def measure(bench, setting):
    """A row: the energy of a cold run, and of every start."""
    watch = Watch()
    result = bench.solve(setting)
    times = watch.read()
    energies = {"rest": last(result)}
    for name, start in bench.starts(setting, result.velocity_mm):
        energies[name] = last(bench.solve(setting, start))
    return {"energies": energies} | times


def gap_percent(row):
    """How far the cold run is above the least energy known, in percent of it; and the start that led there."""
    best = min(row["energies"], key=row["energies"].get)
    least = row["energies"][best]
    return 100.0 * (row["energies"]["rest"] - least) / abs(least), best


def table(rows):
    """The rows as Markdown."""
    columns = ["case", "setting", "energy from rest", "least known", "found from", "gap to best known, %", "starts"]
    columns += ["seconds from rest", f"≤ {GOAL_PERCENT:g} %"]
    lines = []
    for key, row in rows.items():
        gap, best = gap_percent(row)
        energies = [f"{row['energies'][name]:.5f}" for name in ("rest", best)]
        count, reached = len(row["energies"]), "yes" if gap <= GOAL_PERCENT else "no"
        lines.append([*key.split("|"), *energies, best, f"{gap:.1f}", count, f"{row['seconds']:.1f}", reached])
    return markdown(columns, lines)


def figure(rows):
    """Energy of every start above the least one, a line of points for each case and setting."""
    made = Figure(figsize=(8.5, 0.36 * len(rows) + 1.6), layout="constrained")
    axes = made.subplots()
    names = list(dict.fromkeys(name for row in rows.values() for name in row["energies"]))
    for number, name in enumerate(names):
        points = [(number, row["energies"]) for number, row in enumerate(rows.values()) if name in row["energies"]]
        above = [100 * (energies[name] / min(energies.values()) - 1) for _, energies in points]
        style = {"marker": "D", "color": "black", "s": 34, "zorder": 3} if name == "rest" else {"s": 22, "zorder": 2}
        style = style if name == "rest" else style | {"color": f"C{number % 10}", "marker": "o" if number < 11 else "x"}
        axes.scatter(above, [number for number, _ in points], label=name, **style)
    axes.axvspan(0, GOAL_PERCENT, color="#1b7f5c", alpha=0.12, zorder=0)
    axes.set_yticks(range(len(rows)), [key.replace("|", "  ") for key in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("energy above the least known, %  (green: goal)")
    axes.grid(alpha=0.3, linewidth=0.5)
    made.legend(loc="outside right upper", fontsize=8, frameon=False, title="start")
    return made


def main():
    options = case_parser(__doc__, "energy", SETTINGS).parse_args()
    rows = Rows(options.out)
    settings = known_settings(options.settings)
    for case in loaded(options.cases, options.device):
        bench = Bench(case)
        for text, setting in settings.items():
            rows.take(
                f"{case.name}|{text}",
                lambda bench=bench, setting=setting: measure(bench, setting),
                solver_version(text),
            )
    rows.publish(table, figure)


if __name__ == "__main__":
    main()

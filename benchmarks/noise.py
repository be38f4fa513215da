"""Criteria without ground truth that stop the solver, or stiffen the field, before it fits noise.

Run by `python benchmarks/noise.py [--cases thorax …]`.

The steps of the finest level are evaluated on phantoms with a known displacement: error, and excess of the squared
correlation over that of the true displacement. The same run with every fourth block held out (the pattern of
`SPRCore.registration.choice`) gives a measure without ground truth: the similarity in these blocks. The criteria choose
the step at which to stop, or the regions to stiffen; the last and the best step are listed for comparison.

*held-out, all*: the step with the largest held-out similarity. *held-out, by region*: one step each for the regions
whose last weight is below 0.5 and above, the velocities joined. *expected*: the first step whose squared correlation,
over all voxels, reaches that of a perfect match at the noise level, ((V - n)/V)² for windows of variance V and noise n.
*expected, by window*: the same in each neighborhood; *… where w ≥ 0.5*: elsewhere the last step. *saturated*: a window
above the expected squared correlation is clamped to it and has no gradient. *stiffer, all*, *stiffer by blocks*: four
times the strength everywhere, or around the held-out blocks, if that has the larger held-out similarity there.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from functools import partial
from unittest import mock

import torch
from cases import case_parser, loaded
from matplotlib.figure import Figure
from saved_rows import Rows, markdown, parse_setting, solver_version
from sliding import PHANTOMS, errors
from torch.nn import functional as F

from SPRCore.analysis.sliding import NEAR_VOXELS
from SPRCore.functional import gaussian_smooth, mirrored_box_mean, resize, warp
from SPRCore.geometry import Field
from SPRCore.registration.choice import held_out_blocks
from SPRCore.registration.instance import InstanceProblem
from SPRCore.registration.level import completed, displacement_on
from SPRCore.registration.solver import LevelSolver
from SPRCore.similarity import FixedStatistics, attainable_correlation, correlate

SETTINGS = (
    *("beta:0.01,20", "beta:0.02,20@search", "beta:0.01,20@velocity_voxels=1000000000"),
    *("uniform:0.1", "uniform:0.1@velocity_voxels=1000000000"),
)
STEPS, BLOCK, WINDOW, STIFFER = 16, 13, 5, 4.0


class Truth:
    """Ground truth of a phantom: errors of a velocity, and excess of squared correlation by region.

    Args:
        case: The phantom.
        images: Its finest level, all voxels.
    """

    def __init__(self, case, images):
        self._case, self.images = case, images
        phantom = case.phantom
        distance = torch.from_numpy(abs(phantom.boundary.array)) / min(phantom.fixed.spacing)
        body = torch.from_numpy(phantom.fixed_labels.array > 0)
        near = distance <= NEAR_VOXELS
        self.regions = {"near": (body & near)[None, None], "away": (body & ~near)[None, None]}
        self._truth = self.squared(phantom.displacement.to_tensor_vox())

    def squared(self, displacement_vox):
        """Squared local correlation at every voxel."""
        return correlate(self.images.fixed, warp(self.images.moving, displacement_vox), derivatives=False).squared

    def row(self, velocity_mm):
        """Errors, and excess of squared correlation near the wall and away from it."""
        moved = displacement_on(self.images.level, velocity_mm, self.images.spacing)
        excess = self.squared(moved) - self._truth
        found = errors(self._case.phantom, Field.from_tensor_vox(moved, self._case.affine))
        return found | {f"excess_{name}": float(excess[where].mean()) for name, where in self.regions.items()}


class Held:
    """Held-out blocks on the finest level.

    Args:
        images: The finest level, all voxels.
    """

    def __init__(self, images):
        self.images = images
        number, self.mask = held_out_blocks(images.level, BLOCK)
        self.number = number[None, None]
        radius = (WINDOW // 2,) * 3
        self._statistics = FixedStatistics.of(images.fixed.image, radius, self.mask.float(), images.fixed.floor)
        whole = F.max_pool3d((~self.mask).float(), WINDOW, stride=1, padding=WINDOW // 2) == 0
        self.scored = whole & (self._statistics.usable > 0)

    def squared(self, velocity_mm):
        """Squared local correlation of the held-out windows."""
        moved = displacement_on(self.images.level, velocity_mm, self.images.spacing)
        return correlate(self._statistics, warp(self.images.moving, moved), derivatives=False).squared

    def by_block(self, squared):
        """Means of the blocks; NaN where one has no information."""
        count = torch.bincount(self.number[self.scored], minlength=int(self.number.max()) + 1)
        sums = torch.bincount(self.number[self.scored], weights=squared[self.scored], minlength=len(count))
        return sums / count


def followed(problem, setting, start):
    """Velocities before and after each step of the finest level, and the last weight."""
    prior, config = setting
    if config.search:
        coarse = start
    else:
        coarse = replace(problem, config=replace(config, steps=(*config.steps[:-1], 0))).course(prior).completed()
        coarse = coarse.velocity_mm
    images = problem.levels[-1]
    velocity = resize(coarse, images.grid.shape)
    solver = LevelSolver(images.seen_from(velocity), velocity, prior, config)
    completed(solver.started())
    course = [velocity]
    for _ in range(STEPS):
        before = len(solver.energies)
        completed(solver.step())
        if len(solver.energies) == before:
            break
        course.append(solver.velocity)
    return course, solver.state.weight


def expected(images):
    """Squared correlation of a perfect match at the noise level, and the voxels for which it is defined."""
    return attainable_correlation(images.fixed), images.fixed.usable > 0


@contextlib.contextmanager
def saturated():
    """Context in which the gradient of a window is 0 above the correlation of a perfect match at the noise level."""
    goals, plain = {}, correlate

    def wrapped(fixed, warped, **more):
        if id(fixed) not in goals:
            goals[id(fixed)] = fixed, attainable_correlation(fixed)
        goal = goals[id(fixed)][1]
        squared = plain(fixed, warped, derivatives=False).squared
        pulls = (squared < goal).to(squared)
        found = plain(replace(fixed, usable=fixed.usable * pulls), warped, **more)
        return found._replace(squared=torch.minimum(squared, goal))

    with mock.patch.object(sys.modules[FixedStatistics.__module__], "correlate", wrapped):
        yield


def joined(course, index):
    """The velocity of step index(x) at each voxel of its grid, the index smoothed over a few voxels."""
    index = gaussian_smooth(index.float(), [2.0] * 3)
    low = index.floor().clamp(max=len(course) - 1)
    part, found = index - low, torch.zeros_like(course[0])
    for step, velocity in enumerate(course):
        here = (low == step).float() * (1 - part) + (low + 1 == step).float() * part
        found += here * velocity
    return found


def stopped(course, chosen, truth, held):
    """Velocities of the criteria that stop, by name; `chosen` are the velocities with held-out blocks."""
    images, weight = truth.images, chosen["weight"]
    maps = [held.squared(velocity) for velocity in chosen["course"]]
    low = F.interpolate(weight, size=images.level.shape, mode="trilinear", align_corners=True) < 0.5
    regions = {"all": held.scored, "low": held.scored & low, "high": held.scored & ~low}
    last = len(course) - 1
    best = {}
    for name, where in regions.items():
        means = [float(part[where].mean()) if bool(where.any()) else 0.0 for part in maps]
        best[name] = min(max(range(len(means)), key=means.__getitem__), last)
    yield "held-out, all", course[best["all"]], best["all"]
    index = torch.where(weight < 0.5, best["low"], best["high"])
    yield "held-out, by region", joined(course, index), [best["low"], best["high"]]
    goal, told = expected(images)
    reached = torch.full_like(goal, float(last))
    overall = last
    for step in reversed(range(len(course))):
        squared = truth.squared(displacement_on(images.level, course[step], images.spacing))
        overall = step if float((squared - goal)[told].mean()) >= 0 else overall
        local = mirrored_box_mean((squared - goal) * told, (4, 4, 4)) >= 0
        reached = torch.where(local, float(step), reached)
    yield "expected, all", course[overall], overall
    index = resize(reached, course[0].shape[2:])
    yield "expected, by window", joined(course, index), float(reached.mean())
    stiff = torch.where(chosen["last_weight"] < 0.5, float(last), index)
    yield "expected, by window where w ≥ 0.5", joined(course, stiff), float(stiff.mean())


def stiffened(case, setting, held, scores, starts):
    """Velocities with more stiffness where it increases the held-out similarity, by name."""
    images = held.images
    factor = torch.full((1, 1, *images.level.shape), STIFFER)
    partial_problem = _problem(case, setting[1], held.mask, factor)
    stiff = held.by_block(held.squared(followed(partial_problem, setting, starts[1])[0][-1]))
    better = torch.nan_to_num((stiff > scores).float())
    wanted = better[held.number] * held.mask.float()
    near = [2 * BLOCK / 2.0] * 3
    share = gaussian_smooth(wanted, near) / gaussian_smooth(held.mask.float(), near).clamp(min=1e-3)
    found = followed(_problem(case, setting[1], None, factor), setting, starts[0])[0][-1]
    yield "stiffer, all", found, None
    factor = STIFFER ** share.clamp(0.0, 1.0)
    found = followed(_problem(case, setting[1], None, factor), setting, starts[0])[0][-1]
    yield "stiffer by blocks", found, float(better[held.number[held.scored].unique()].mean())


def _problem(case, config, held=None, stiffness=None):
    mask = None if held is None else (~held).float()
    return InstanceProblem.of(*case.images, case.spacing, config, mask=mask, stiffness=stiffness)


def measure(case, setting):
    """A row: the errors of all steps, and of the step of each criterion."""
    config = replace(setting[1], stop_at_noise=False)
    setting = setting[0], config
    start = case.search(config) if config.search else None
    problem = case.problem(config)
    truth, held = Truth(case, problem.levels[-1]), Held(problem.levels[-1])
    course, last_weight = followed(problem, setting, start)
    rows = [truth.row(velocity) for velocity in course]
    without = _problem(case, config, held.mask)
    # What a search finds without the blocks, where there is one.
    begin = completed(without.searched()) if config.search else None
    partly, weight = followed(without, setting, begin)
    scores = held.by_block(held.squared(partly[-1]))
    found = {"last": rows[-1] | {"step": len(rows) - 1}}
    for name, velocity, step in stopped(
        course, {"course": partly, "weight": weight, "last_weight": last_weight}, truth, held
    ):
        found[name] = truth.row(velocity) | {"step": step}
    for name, velocity, step in stiffened(case, setting, held, scores, (start, begin)):
        found[name] = truth.row(velocity) | {"step": step}
    with saturated():
        pulled = followed(problem, setting, start)[0]
    found["saturated"] = truth.row(pulled[-1]) | {"step": len(pulled) - 1}
    similarity = [float(held.squared(velocity)[held.scored].mean()) for velocity in partly]
    return {"course": rows, "held_out": similarity, "criteria": found}


def table(rows):
    """The rows as Markdown."""
    columns = ["case", "setting", "criterion", "step", "near, voxels", "against last, %", "away, voxels"]
    columns += ["against last, %", "excess near", "excess away"]
    lines = []
    for key, row in rows.items():
        criteria = dict(row["criteria"])
        plain = criteria["last"]
        best = {place: min(step[place] for step in row["course"]) for place in ("near", "away")}
        at = [min(range(len(row["course"])), key=lambda n, p=p: row["course"][n][p]) for p in best]
        criteria["best step, each place its own"] = best | {"step": at}
        for name, found in criteria.items():
            cells = []
            for place in ("near", "away"):
                cells += [f"{found[place]:.3f}", f"{100 * (found[place] / plain[place] - 1):+.1f}"]
            cells += [f"{found[f'excess_{p}']:+.4f}" if f"excess_{p}" in found else None for p in ("near", "away")]
            step = found["step"]
            step = f"{step:.1f}" if isinstance(step, float) else "" if step is None else step
            lines.append([*(key.split("|") if name == "last" else ["", ""]), name, step, *cells])
    return markdown(columns, lines)


def figure(rows):
    """Errors, excess and held-out similarity over the steps of the finest level."""
    made = Figure(figsize=(14, 2.7 * len(rows) + 0.5), layout="constrained")
    titles = ("error near the wall, voxels", "error away from it, voxels", "squared correlation above the truth's")
    titles += ("held-out similarity",)
    for panels, (key, row) in zip(made.subplots(len(rows), 4, squeeze=False), rows.items(), strict=True):
        lines = [[[step[place] for step in row["course"]]] for place in ("near", "away")]
        lines += [[[step[f"excess_{place}"] for step in row["course"]] for place in ("near", "away")]]
        lines += [[row["held_out"]]]
        for panel, title, parts in zip(panels, titles, lines, strict=True):
            for part, label in zip(parts, ("near", "away"), strict=False):
                panel.plot(part, ".-", label=label)
            panel.set_title(title, fontsize=9)
            panel.grid(alpha=0.3, linewidth=0.5)
        panels[2].axhline(0.0, color="gray", linewidth=0.8)
        panels[2].legend(fontsize=8, frameon=False)
        panels[0].set_ylabel(
            key.replace("|", "\n").replace("@velocity_voxels=1000000000", "\nfull velocity"), fontsize=8
        )
    return made


def main():
    options = case_parser(__doc__, "noise", SETTINGS, cases=PHANTOMS).parse_args()
    rows = Rows(options.out)
    for case in loaded(options.cases if options.settings else [], options.device):
        for text in options.settings:
            rows.take(f"{case.name}|{text}", partial(measure, case, parse_setting(text)), solver_version(text))
    rows.publish(table, figure)


if __name__ == "__main__":
    main()

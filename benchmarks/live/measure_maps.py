"""Accuracy of previews: `python benchmarks/live/measure_maps.py --out docs/results/live`.

A heart (ACDC), a lung (proton MRI) and a labelled brain, where their data are at hand, and the thorax of `spr demo
--voxels 64`.
Settings are drawn evenly over the sliders, with a seed, for the priors beta and tv. They are visited in short walks,
each in a session of its own: at every setting the first preview is compared with the exact result, which is then known
to the session. So the first preview of a walk knows nothing exact, the second one setting, and so on.

Weight maps are compared on the fixed grid, the preview's brought there linearly, as they are drawn: their correlation
and mean absolute difference. Exact results are computed once for all walks, and kept in `--keep` where that is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pickle
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE.parents[1]), str(HERE.parent)]

import torch  # noqa: E402
from grid_pairs import SETS  # noqa: E402
from maps_table import write_figure, write_table  # noqa: E402

from SPRCore.cli.demo import thorax  # noqa: E402
from SPRCore.geometry import resample  # noqa: E402
from SPRCore.live import LiveOptions, LiveSession  # noqa: E402
from SPRCore.live.settings import Axes, key_of  # noqa: E402
from SPRCore.regularization.hyperparameters import usual_ranges  # noqa: E402
from SPRCore.regularization.priors import hyperparameters, make_prior  # noqa: E402

PRIORS = ("beta", "tv")
INIT = {"heart": "auto", "lung": "affine", "brain": "affine", "thorax": "none"}


def pair_of(name):
    """Fixed and moving image: the first pair of a set, or the phantom of `spr demo`."""
    if name == "thorax":
        phantom = thorax(64, 0)
        return phantom.fixed, phantom.moving
    case = next(iter(SETS[name]())).load()
    return case.fixed.original, case.moving.original


def settings_of(prior, count, seed):
    """Settings drawn evenly over the sliders of a prior."""
    axes, random = Axes(usual_ranges(prior)), np.random.default_rng(seed)
    return [axes.setting(position) for position in random.uniform(size=(count, len(axes.ranges)))]


class Solved:
    """Exact solutions by their settings, computed once for all sessions of a pair.

    Args:
        folder: Where they are kept; None for memory alone.
    """

    def __init__(self, folder):
        self.folder, self.known = folder, {}

    def into(self, live):
        """Make a session use these exact solutions."""
        solve = live._method.exact
        live._method.exact = lambda prior, position, check: self._of(prior, lambda: solve(prior, position, check))

    def _of(self, prior, solve):
        key = "-".join([prior.name, *map(str, key_of(hyperparameters(prior)))])
        file = None if self.folder is None else self.folder / f"{key}.pickle"
        if key not in self.known and file is not None and file.exists():
            self.known[key] = pickle.loads(file.read_bytes())
        if key not in self.known:
            exact = solve()
            deformation = dataclasses.replace(exact.deformation, inverse=None)
            self.known[key] = dataclasses.replace(exact, deformation=deformation)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(pickle.dumps(self.known[key]))
        return self.known[key]


def exact_reply(live):
    """The exact reply at the setting of a session."""
    replies = list(iter(live.improve, None))
    return replies[-1] if replies else live.update()


def compared(preview, exact):
    """Differences of a preview from the exact result."""
    there = resample(preview.weight, exact.weight.grid, continued=True).array
    here = exact.weight.array
    spread = min(float(there.std()), float(here.std()))
    longest = [reply.quality.max_displacement_mm for reply in (preview, exact)]
    return {
        "correlation": float(np.corrcoef(there.ravel(), here.ravel())[0, 1]) if spread > 1e-6 else None,
        "difference": float(np.abs(there - here).mean()),
        "longest_mm": longest[0],
        "exact_mm": longest[1],
        "ratio": longest[0] / max(longest[1], 1e-6),
        "mean_exact": float(here.mean()),
        "known": preview.weight_known,
        "milliseconds": preview.milliseconds,
    }


def walk(pair, name, prior, settings, solved):
    """Rows of one walk over settings in a new session."""
    options = LiveOptions(init=INIT[name])
    with LiveSession.open(*pair, prior=make_prior(prior, settings[0]), device="cpu", options=options) as live:
        solved.into(live)
        positions, lengths = [], []
        for visited, setting in enumerate(settings):
            preview = live.update(**setting)
            position = Axes(live.ranges).position(setting)
            near = [float(np.linalg.norm(position - at)) for at in positions]
            row = compared(preview, exact_reply(live))
            where = {"near": min(near, default=None), "nearest_mm": lengths[int(np.argmin(near))] if near else None}
            positions.append(position)
            lengths.append(row["exact_mm"])
            yield {"pair": name, "prior": prior, "setting": setting, "visited": visited, **where, **row}


def rows_of(name, arguments):
    """Rows of all walks of a pair."""
    pair = pair_of(name)
    for prior in arguments.priors:
        settings = settings_of(prior, arguments.settings, arguments.seed + PRIORS.index(prior))
        solved = Solved(None if arguments.keep is None else arguments.keep / name)
        random = np.random.default_rng(arguments.seed)
        for _ in range(arguments.walks):
            order = random.permutation(len(settings))[: arguments.length]
            yield from walk(pair, name, prior, [settings[index] for index in order], solved)


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", choices=INIT, default=list(INIT))
    parser.add_argument("--settings", type=int, default=7, help="settings of each prior that are solved exactly")
    parser.add_argument("--walks", type=int, default=5, help="walks of each prior")
    parser.add_argument("--length", type=int, default=5, help="settings of a walk")
    parser.add_argument("--priors", nargs="+", choices=PRIORS, default=list(PRIORS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for exact solutions, to be read again")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "live")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = arguments.out / "maps.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    for name in arguments.pairs:
        rows = [row for row in rows if row["pair"] != name]
        rows += list(rows_of(name, arguments))
        arguments.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=1) + "\n")
    write_table(rows, arguments.out / "maps.md")
    write_figure(rows, arguments.out / "maps.png")


if __name__ == "__main__":
    main()

"""How far the stiffness map of a preview is from the exact one: `python Testing/benchmarks/live/measure_maps.py`.

On the sample pair of the panels and the two phantoms, at seven settings, with nothing exact known, with one exact
setting and with two. `SPRCore.live.visited.NEAR` and docs/adr/0015 rest on what it prints: for each pair and each
distance of the nearest exact setting, in lengths of a slider, the largest mean difference of the maps, 0 to 1, and the
largest displacements of that preview and of its exact result.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "SPRRegistration"), str(ROOT / "Testing" / "slicer")]

from SPRCore.geometry import Volume  # noqa: E402
from SPRCore.live import LiveSession  # noqa: E402
from SPRCore.synthetic import beating_heart, sliding_thorax  # noqa: E402

SETTINGS = (*((0.01, 4.0), (0.1, 2.0), (0.05, 2.0), (0.02, 4.0), (0.3, 1.0), (0.012, 3.5), (0.03, 2.5)),)
"""Pairs of alpha and lambda_max; the first two are where exact solutions are begun with."""

BUDGETS_MS = {"sample": (30.0, 80.0), "heart": (80.0,), "thorax": (80.0,)}


def pair_of(name):
    """Fixed and moving image by a name."""
    if name == "sample":
        from harness import core

        core.make_scene()  # the sample belongs to the panels and asks for Slicer's modules
        from SPRRegistrationLib import samples

        return [Volume(samples.body(moved)[0], samples._affine()) for moved in (0.0, samples.BREATH_MM)]
    phantom = {"heart": beating_heart, "thorax": sliding_thorax}[name]()
    return [phantom.fixed, phantom.moving]


def setting(place):
    """A setting by its place in the list."""
    return dict(zip(("alpha", "lambda_max"), SETTINGS[place], strict=True))


def solved(live, place):
    """The exact reply at a setting, the previews on the way left out."""
    live.update(**setting(place))
    replies = list(iter(live.improve, None))
    return replies[-1] if replies else live.update(**setting(place))


def difference(reply, exact):
    """Mean difference of two maps on the grid of the first."""
    voxels = np.linalg.solve(exact.weight.affine, reply.weight.affine)
    points = voxels[:3, :3] @ np.indices(reply.weight.array.shape).reshape(3, -1) + voxels[:3, 3:]
    there = map_coordinates(exact.weight.array, points, order=1, mode="nearest")
    return float(np.abs(there.reshape(reply.weight.array.shape) - reply.weight.array).mean())


def rows(name, budget_ms):
    """Distance of the nearest exact setting, difference, and both largest displacements, for every preview."""
    pair = pair_of(name)
    with LiveSession.open(*pair, budget_ms=budget_ms) as live:
        exact = [solved(live, place) for place in range(len(SETTINGS))]
        at = [live._method.axes.place(setting(place)) for place in range(len(SETTINGS))]
    for start in (0, 1):
        with LiveSession.open(*pair, budget_ms=budget_ms) as live:
            reply, known = live.update(**setting(start)), []
            while not reply.exact:
                yield np.inf, difference(reply, exact[start]), *longest(reply, exact[start])
                reply = live.improve()
            for more in (start, 2):
                solved(live, more)
                known.append(more)
                for place in set(range(len(SETTINGS))) - set(known):
                    reply = live.update(**setting(place))
                    near = min(float(np.linalg.norm(at[place] - at[one])) for one in known)
                    yield near, difference(reply, exact[place]), *longest(reply, exact[place])


def longest(reply, exact):
    """Largest displacements of a preview and of the exact result, in mm."""
    return reply.quality.max_displacement_mm, exact.quality.max_displacement_mm


def main():
    """Measure and print."""
    ends = (0.2, 0.4, 0.7, 1.1, np.inf)
    print(
        "| pair, budget of a preview | nearest exact setting | previews | largest mean difference | displacements, mm |"
    )
    print("|---|---|---|---|---|")
    for name, budgets in BUDGETS_MS.items():
        for budget_ms in budgets:
            found = list(rows(name, budget_ms))
            for low, high in zip((-1.0, *ends[:-1]), ends, strict=True):
                here = [row for row in found if low < row[0] <= high]
                if here:
                    worst = max(here, key=lambda row: row[1])
                    title = "none" if np.isinf(high) else f"within {high:g}"
                    moves = f"{worst[2]:.1f}, exact {worst[3]:.1f}"
                    print(
                        f"| {name}, {budget_ms:g} ms | {title} | {len(here)} | {worst[1]:.3f} | {moves} |", flush=True
                    )


if __name__ == "__main__":
    main()

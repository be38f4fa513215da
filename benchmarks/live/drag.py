"""The recorded drag of two sliders. `python benchmarks/live/drag.py` writes drag.json.

Strokes between resting points follow the minimum-jerk curve of reaching movements (Flash and Hogan 1985,
doi:10.1523/JNEUROSCI.05-07-01688.1985) with a little tremor; a mouse reports 60 times a second, and a slider of 200
steps reports changes only.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("drag.json")
RATE, STEPS = 60.0, 200
STROKES = (  # slider, target position, seconds of movement, seconds of rest
    *((1, 0.65, 1.4, 0.3), (1, 0.45, 0.6, 0.5), (1, 0.50, 0.5, 0.8)),
    *((0, 0.70, 1.2, 0.2), (0, 0.20, 1.6, 0.4), (0, 0.30, 0.5, 0.6)),
    *((1, 0.95, 0.9, 0.3), (1, 0.10, 1.5, 0.6), (0, 0.85, 1.4, 0.5), (1, 0.40, 1.0, 0.5)),
)


def record():
    """Moves as (milliseconds, position of slider 0, position of slider 1), positions from 0 to 1."""
    rng = np.random.default_rng(0)
    now, position, moves = 0.0, [0.3, 0.2], []
    for slider, goal, seconds, rest in STROKES:
        start = position[slider]
        for tick in range(1, round(seconds * RATE) + 1):
            part = tick / (seconds * RATE)
            way = 10 * part**3 - 15 * part**4 + 6 * part**5
            exact = start + (goal - start) * way + 0.004 * rng.standard_normal() * np.sin(np.pi * part)
            stepped = float(np.clip(round(exact * STEPS) / STEPS, 0.0, 1.0))
            if stepped != position[slider]:
                position[slider] = stepped
                moves.append((round(now + 1000 * tick / RATE, 1), *position))
        now += 1000 * (seconds + rest)
    return moves


def load():
    """The recorded moves."""
    return [tuple(move) for move in json.loads(FILE.read_text(encoding="utf-8"))]


def setting_at(move, ranges):
    """Hyperparameters of a move, sliders in the order of the names."""
    return {
        name: low + position * (high - low)
        for position, (name, (low, high)) in zip(move[1:], sorted(ranges.items()), strict=False)
    }


if __name__ == "__main__":
    FILE.write_text("[\n" + ",\n".join(json.dumps(move) for move in record()) + "\n]\n", encoding="utf-8")

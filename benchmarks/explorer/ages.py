"""From notes of the page and of the server to numbers: how old what is shown is, and how often it changes."""

from __future__ import annotations

import numpy as np

STILL_MS = 250.0
"""A hand that has not moved for so long rests: what is shown then is no part of the drag."""


def percentiles(values):
    """Number, median, 95th percentile and largest of some numbers; None for none."""
    if not len(values):
        return None
    found = {"n": len(values), "p50": np.median(values), "p95": np.percentile(values, 95), "max": np.max(values)}
    return {name: value if name == "n" else round(float(value), 1) for name, value in found.items()}


def ages(moves, pictures, pushed):
    """Milliseconds from the move that a picture shows to the picture: the first of any view that shows that move.

    Args:
        moves: Moves of the mouse: when, and what the slider then said.
        pictures: Pictures that were shown: when, and how many bytes they had.
        pushed: Pictures that were sent: when, how many bytes, and the value of the slider that they show.
    """
    found, shown = [], set()
    for picture in sorted((each for each in pictures if each["changed"]), key=lambda each: each["at"]):
        sent = [each for each in pushed if each["bytes"] == picture["bytes"] and each["at"] < picture["at"]]
        if not sent:
            continue
        source = sent[-1]
        asked = [move for move in moves if move["at"] < source["at"] and abs(move["value"] - source["value"]) < 1e-9]
        if asked and asked[-1]["at"] not in shown:  # the same setting, drawn again, is no older for that
            shown.add(asked[-1]["at"])
            found.append(picture["at"] - asked[-1]["at"])
    return found


def strokes(moves):
    """First and last time of each movement without a rest."""
    found = []
    for move in moves:
        if found and move["at"] - found[-1][1] < STILL_MS:
            found[-1][1] = move["at"]
        else:
            found.append([move["at"], move["at"]])
    return found


def pictures_per_second(moves, pictures, views=3):
    """Pictures of each view that were shown a second, from the first to the last of each stroke; least first."""
    counts, seconds = [0] * views, [0.0] * views
    for start, end in strokes(moves):
        for view in range(views):
            times = [each["at"] for each in pictures if each["view"] == view and start <= each["at"] <= end + STILL_MS]
            if end - start > 2 * STILL_MS and len(times) > 1:
                counts[view] += len(times) - 1
                seconds[view] += (max(times) - min(times)) / 1e3
    return sorted(round(count / max(spent, 1e-3), 1) for count, spent in zip(counts, seconds, strict=True))

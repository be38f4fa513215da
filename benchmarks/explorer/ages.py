"""From events of the page and of the server to the age of the shown images and their rate."""

from __future__ import annotations

import numpy as np

STILL_MS = 250.0
"""A stroke ends after this time without a movement."""


def percentiles(values):
    """Count, median, 95th percentile and maximum; None without values."""
    if not len(values):
        return None
    found = {"n": len(values), "p50": np.median(values), "p95": np.percentile(values, 95), "max": np.max(values)}
    return {name: value if name == "n" else round(float(value), 1) for name, value in found.items()}


def ages(moves, pictures, pushed):
    """Milliseconds from a movement to the first image of any view that shows its setting.

    Args:
        moves: Movements of the mouse: time, and value of the slider.
        pictures: Shown images: time, and size in bytes.
        pushed: Sent images: time, size in bytes, and value of the slider that they show.
    """
    found, shown = [], set()
    for picture in sorted((each for each in pictures if each["changed"]), key=lambda each: each["at"]):
        sent = [each for each in pushed if each["bytes"] == picture["bytes"] and each["at"] < picture["at"]]
        if not sent:
            continue
        source = sent[-1]
        requests = [move for move in moves if move["at"] < source["at"] and abs(move["value"] - source["value"]) < 1e-9]
        if requests and requests[-1]["at"] not in shown:  # a repeated image of the same setting does not count
            shown.add(requests[-1]["at"])
            found.append(picture["at"] - requests[-1]["at"])
    return found


def strokes(moves):
    """First and last time of each stroke."""
    found = []
    for move in moves:
        if found and move["at"] - found[-1][1] < STILL_MS:
            found[-1][1] = move["at"]
        else:
            found.append([move["at"], move["at"]])
    return found


def pictures_per_second(moves, pictures, views=3):
    """Images per second of each view within strokes, in ascending order."""
    counts, seconds = [0] * views, [0.0] * views
    for start, end in strokes(moves):
        for view in range(views):
            times = [each["at"] for each in pictures if each["view"] == view and start <= each["at"] <= end + STILL_MS]
            if end - start > 2 * STILL_MS and len(times) > 1:
                counts[view] += len(times) - 1
                seconds[view] += (max(times) - min(times)) / 1e3
    return sorted(round(count / max(spent, 1e-3), 1) for count, spent in zip(counts, seconds, strict=True))

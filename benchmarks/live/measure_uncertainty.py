"""Uncertainty while sliders move: `python benchmarks/live/measure_uncertainty.py --sizes heart brain`.

For each size, instance optimization in a real worker, with the uncertainty off and on:

* a drag with a pause of `--pause` seconds after each fifth move, in which improvements and uncertainty run; latency of
  the previews, those after a pause apart;
* the slider rests: time from the preview to the map of the preview, and to that of the exact result, with the processor
  time of the worker, which other programs hardly change.

Writes `docs/results/live/uncertainty.json` and `.md`. Times are valid only without other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from drag import load, setting_at  # noqa: E402
from live_pairs import SIZES, write_pair  # noqa: E402
from run import machine  # noqa: E402

from SPRCore.live.client import SubprocessClient  # noqa: E402
from SPRCore.live.events import Arrived, Deadlines  # noqa: E402

PATIENT = Deadlines(open=600.0, update=600.0, commit=600.0)
HEAD = """# Uncertainty while sliders move

Measured by `python benchmarks/live/measure_uncertainty.py`; its docstring says how. *Preview*: from asking to having
the arrays, median and 95th percentile, of the moves without and with a pause before them. *Map*: from the preview to
the uncertainty of the preview and of the exact result, with the processor time of the worker. *Load*: what else ran.

| pair | uncertainty | previews, ms | after a pause, ms | map of the preview, s (processor) | of the exact, s | load |
|---|---|---|---|---|---|---|
"""


class Worker:
    """A real worker with a pair open."""

    def __init__(self, pair, on):
        self.client = SubprocessClient(deadlines=PATIENT)
        self.process = psutil.Process(self.client.process.pid)
        arrays = {name: (pair[name], pair["affine"]) for name in ("fixed", "moving")}
        self.ranges = self.client.do("open", arrays).message.ranges
        if on:
            self.client.do("uncertainty")

    def previews(self, moves, pause):
        """Latencies in ms of previews after other moves, and after pauses."""
        found = {False: [], True: []}
        for number, move in enumerate(moves):
            is_after = number % 5 == 0 and number > 0
            if is_after:
                for _ in self.client.events(pause):
                    pass
            start = time.perf_counter()
            self.client.do("update", **setting_at(move, self.ranges))
            found[is_after].append(1e3 * (time.perf_counter() - start))
        return found

    def maps(self, move):
        """Seconds and processor seconds from a preview to the first map, and to the map of the exact result."""
        self.client.do("update", **setting_at(move, self.ranges))
        start, before, found = time.perf_counter(), self._processor_s(), []
        for event in self.client.events(600.0):
            kind = event.message.kind if isinstance(event, Arrived) else ""
            if kind == "uncertainty":
                found.append((event.message.exact, time.perf_counter() - start, self._processor_s() - before))
            if kind == "idle":
                return found
        raise TimeoutError("the worker did not become idle")

    def _processor_s(self):
        return sum(self.process.cpu_times()[:2])


def measure(size, on, options, folder):
    """Measure one size with the uncertainty on or off."""
    load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    moves = load()
    worker = Worker(write_pair(size, folder), on)
    with worker.client:
        found = worker.previews(moves[: options.moves], options.pause)
        kinds = {True: [], False: []}
        for number in range(options.rests if on else 0):
            for exact, seconds, processor_s in worker.maps(moves[(37 * number + 11) % len(moves)]):
                kinds[exact].append((seconds, processor_s))
    rows = {"previews_ms": found[False], "after_pause_ms": found[True], "load": load_before}
    return rows | {"map_of_preview": kinds[False], "map_of_exact": kinds[True]}


def markdown(rows):
    """Write the rows as a page."""
    text = HEAD
    for key, row in rows.items():
        size, state = key.split("/")
        previews = [f"{np.median(row[name]):.0f}, {np.percentile(row[name], 95):.0f}" for name in row if "_ms" in name]
        maps = [_times(row["map_of_preview"]), _times(row["map_of_exact"])]
        text += f"| {size} | {state} | {' | '.join(previews)} | {' | '.join(maps)} | {row['load']:.1f} |\n"
    return text


def _times(found):
    if not found:
        return ""
    seconds, processor_s = np.median(found, axis=0)
    return f"{seconds:.1f} ({processor_s:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["heart"])
    parser.add_argument("--moves", type=int, default=50, help="moves of the recorded drag")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds of a pause")
    parser.add_argument("--rests", type=int, default=5, help="settings at which the slider rests")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "live")
    options = parser.parse_args()
    rows = {}
    for size in options.sizes:
        for on in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                rows[f"{size}/{'on' if on else 'off'}"] = measure(size, on, options, Path(folder))
    report = {"machine": machine(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))), "rows": rows}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "uncertainty.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "uncertainty.md").write_text(markdown(rows), encoding="utf-8")
    sys.stdout.write(markdown(rows))


if __name__ == "__main__":
    main()

"""Slider latency with a real worker: `python benchmarks/live/measure_live.py`.

For each size and method, in one worker:

* every move of the recorded drag, one after the other: latency of a preview;
* moves at 60 a second for 30 s: age of the previews, memory of both processes, time until idle after the release;
* exact results at new settings, and how long previews take to converge;
* the last of them against `SPRCore.register` in a new process.

Networks have random weights: their time does not depend on them. Finished rows are written at once, so that an
interrupted run is resumed. Timings are valid only without other programs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
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
from live_pairs import METHODS, SIZES, cold_difference_vox, write_bundle_of, write_pair  # noqa: E402
from live_table import markdown  # noqa: E402
from run import machine  # noqa: E402

from SPRCore.live.client import SubprocessClient, WorkerError  # noqa: E402
from SPRCore.live.events import Arrived, Deadlines  # noqa: E402

RATE = 60.0
MEBI = 2**20
PATIENT = Deadlines(open=600.0, update=600.0, commit=600.0)


def percentiles(values):
    """Median, 95th percentile and largest of some numbers."""
    if not len(values):
        return None
    return {"n": len(values), "p50": float(np.median(values)), "p95": float(np.percentile(values, 95)),
            "max": float(np.max(values))}  # fmt: skip


class Bench:
    """One worker with a pair open."""

    def __init__(self, pair, method, options):
        self.client = SubprocessClient(deadlines=PATIENT)
        self.worker = psutil.Process(self.client.process.pid)
        arrays = {name: (pair[name], pair["affine"]) for name in ("fixed", "moving")}
        start = time.perf_counter()
        self.opened = self.client.do("open", arrays, method=str(method), device=options.device).message
        self.row = {"start_and_open_s": time.perf_counter() - start, "open_s": self.opened.milliseconds / 1e3}
        self.moves = load()[: options.moves]

    def setting(self, move):
        """Hyperparameters of a move, within the ranges of this method."""
        return setting_at(move, self.opened.ranges)

    def one_after_the_other(self):
        """Latency of previews with copied arrays, and of the computation alone, in ms."""
        seen, computed, exact, age, before = [], [], 0, [], self._processor_s()
        for move in self.moves:
            start = time.perf_counter()
            message = self.client.do("update", **self.setting(move)).message
            seen.append(1e3 * (time.perf_counter() - start))
            computed.append(message.milliseconds)
            age.append(seen[-1] - message.age_ms)
            exact += message.exact
        self.row["preview_ms"], self.row["preview_computed_ms"] = percentiles(seen), percentiles(computed)
        self.row["between_processes_ms"] = percentiles(age)
        self.row["exact_at_once"] = exact
        self.row["preview_processor_ms"] = 1e3 * (self._processor_s() - before) / len(self.moves)

    def dragging(self, seconds):
        """Moves at a fixed rate: number and age of previews, memory, time until idle."""
        requests, ages, ratios, memory, answered = {}, [], [], [], 0
        start = time.perf_counter()
        for tick in range(round(seconds * RATE)):
            while (left := start + tick / RATE - time.perf_counter()) > 0:
                answered += self._note(self.client.poll(left), requests, ages, ratios)
            move = self.moves[tick % len(self.moves)]
            requests[self.client.ask("update", improve=False, **self.setting(move))] = time.perf_counter()
            if tick % 15 == 0:
                memory.append(self._memory())
        released = time.perf_counter()
        requested = len(requests)
        idle = self._until_idle(requests, ages, ratios)
        self.row["drag"] = {
            "asked": requested,
            "shown": len(ages),
            "shown_per_s": len(ages) / seconds,
            "age_ms": percentiles(ages),
            "age_over_computation": percentiles(ratios),
            "memory": _growth(memory),
            "idle_after_release_s": idle - released,
            "processor_share_1_to_2_s_after": self._share(released + 1.0 - time.perf_counter(), 1.0),
        }

    def releasing(self):
        """A drag with improvements and a commit: seconds until the exact result and the commit."""
        for move in self.moves[:60]:
            self.client.ask("update", **self.setting(move))
            self.client.poll(1 / RATE)
        released, shown = time.perf_counter(), None
        commit = self.client.ask("commit")
        for message in self._messages():
            if message.kind == "result" and message.exact:
                shown = shown or time.perf_counter() - released
                if message.id == commit:
                    break
        committed = time.perf_counter() - released
        share = self._share(0.2, 1.0)
        self.row["release"] = {"exact_after_s": shown, "committed_after_s": committed, "processor_share_then": share}

    def exact(self, count):
        """Seconds until the exact result, by improvements and by a commit."""
        rng, improved, committed, spent = np.random.default_rng(1), [], [], []
        ranges = self.opened.ranges
        for number in range(2 * count):
            setting = {name: float(rng.uniform(low, high)) for name, (low, high) in ranges.items()}
            start, before = time.perf_counter(), self._processor_s()
            if number % 2:
                self.client.do("update", improve=False, **setting)
                middle = time.perf_counter()
                self.final = self.client.do("commit")
                committed.append(time.perf_counter() - middle)
            else:
                self._until_exact(self.client.ask("update", **setting))
                improved.append(time.perf_counter() - start)
                spent.append(self._processor_s() - before)
        self.row["improved_to_exact_s"], self.row["commit_s"] = percentiles(improved), percentiles(committed)
        self.row["exact_processor_s"] = percentiles(spent)

    def _messages(self):
        for event in self.client.events(600.0):
            if isinstance(event, Arrived):
                if event.message.kind == "error":
                    raise WorkerError(event.message)
                yield event.message
        raise TimeoutError("no message of the worker")

    def _until_exact(self, request):
        for message in self._messages():
            if message.kind == "idle" or (message.kind == "result" and message.id == request and message.exact):
                return

    def _until_idle(self, requests, ages, ratios):
        for event in self.client.events(600.0):
            self._note([event], requests, ages, ratios)
            if isinstance(event, Arrived) and event.message.kind == "idle":
                return time.perf_counter()
        raise RuntimeError("the worker did not become idle in time")

    def _note(self, events, requests, ages, ratios):
        results = [event.message for event in events if isinstance(event, Arrived) and event.message.kind == "result"]
        for message in results:
            age = 1e3 * (time.perf_counter() - requests[message.id])
            ages.append(age)
            ratios.append(age / max(message.milliseconds, 0.1))
        return len(results)

    def _memory(self):
        shared = Path("/dev/shm").glob(f"{self.client.session.folder.name}-*")
        return {
            "worker": self.worker.memory_info().rss / MEBI,
            "client": psutil.Process().memory_info().rss / MEBI,
            "shared": sum(path.stat().st_size for path in shared) / MEBI,
        }

    def _share(self, after, seconds):
        """CPU share of the worker over `seconds`, after a pause."""
        time.sleep(max(after, 0.0))
        before = self._processor_s()
        time.sleep(seconds)
        return (self._processor_s() - before) / seconds

    def _processor_s(self):
        """CPU seconds of the worker."""
        return sum(self.worker.cpu_times()[:2])


def _growth(memory):
    """Maximum memory in MiB, and growth from the middle third to the last."""
    third = len(memory) // 3
    parts = {}
    for name in ("worker", "client", "shared"):
        values = [sample[name] for sample in memory]
        parts[name] = {"most_mib": max(values)}
        if third:
            parts[name]["growth_mib"] = float(np.mean(values[-third:]) - np.mean(values[third : 2 * third]))
    return parts


def measure(size, method, options, scratch):
    """Measure one size and method."""
    pair = write_pair(size, scratch)
    bundle = "instance" if method == "instance" else write_bundle_of(method, scratch)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # load of other programs
    bench = Bench(pair, bundle, options)
    with bench.client:
        bench.one_after_the_other()
        bench.dragging(options.seconds)
        bench.releasing()
        bench.exact(options.exact)
    row = bench.row | {"shape": list(pair["fixed"].shape), "device": options.device, "load_before": load}
    if not options.no_check:
        setting, field = bench.final.message.setting, bench.final.arrays["displacement"][0]
        row["from_cold_run_vox"] = cold_difference_vox(pair, bundle, bench.opened.prior, setting, field, options.device)
    return row


def commit():
    """The commit that is measured."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["heart", "brain"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--moves", type=int, default=10_000, help="at most so many moves of the recorded drag")
    parser.add_argument("--seconds", type=float, default=30.0, help="of moves at 60 a second")
    parser.add_argument("--exact", type=int, default=5, help="exact results of each kind")
    parser.add_argument("--no-check", action="store_true", help="no comparison with a cold run")
    parser.add_argument("--again", action="store_true", help="measure rows again that are there")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "live")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "rows.json"
    report = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {"rows": {}}
    report["machine"] = machine(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    for size in options.sizes:
        for method in options.methods:
            key = f"{size}/{method}/{options.device}"
            if key in report["rows"] and not options.again:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                row = measure(size, method, options, Path(scratch))
            report["rows"][key] = {"size": size, "method": method, "commit": commit()} | row
            kept.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            (options.out / "table.md").write_text(markdown(report), encoding="utf-8")
    sys.stdout.write(markdown(report))


if __name__ == "__main__":
    main()

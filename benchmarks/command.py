"""The whole command `spr register FIXED MOVING --out DIR`, stage by stage, from typing to the prompt.

    python benchmarks/command.py [--size 160 192 224] [--cubes 64 96 128 192 256] [--repeats 3] [--threads 2]

Each run is a process of its own on a pair of synthetic scenes in NIfTI files. *Seconds* are those of the clock;
*processor* are those of all threads together, which do not see what else the machine does; *peak* is the most resident
memory of the process during the stage. Of several runs the one with the least processor time counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("start", "read", "align", "register", "measure", "write", "end")
_WORDS = {"reading": "read", "aligning": "align", "registering": "register", "measuring": "measure", "writing": "write"}
_SELF = Path("/proc/self")


class Marks:
    """Notes clock, processor time and peak memory where one stage ends and the next begins."""

    def __init__(self):
        self.rows, self.stage = {}, "start"
        self.before = time.time(), 0.0  # what passed before is known to the process that started this one

    def begin(self, stage):
        """End the stage before."""
        now = time.time(), time.process_time()
        seconds, processor = (new - old for new, old in zip(now, self.before, strict=True))
        self.rows[self.stage] = {"seconds": seconds, "processor": processor, "peak_mib": _peak_mib()}
        self.stage, self.before = stage, now


def _peak_mib():
    """Most resident memory since the last call."""
    lines = (_SELF / "status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    (_SELF / "clear_refs").write_text("5", encoding="ascii")
    return peak


def run_marked(words, report):
    """Run `spr register` in this process and write the time of each stage; its reports of progress begin the stages."""
    marks = Marks()
    from SPRCore.cli import main, register

    shown = register.progress_display

    @contextlib.contextmanager
    def marked():
        with shown() as report_stage:

            def mark(stage, fraction=None):
                if stage in _WORDS and _WORDS[stage] != marks.stage:
                    marks.begin(_WORDS[stage])
                report_stage(stage, fraction)

            yield mark

    register.progress_display = marked
    sys.argv = ["spr", *words]
    code = main()
    marks.begin("end")
    report.write_text(json.dumps({"rows": marks.rows, "ended": marks.before}), encoding="utf-8")
    return code


def measure_command(folder, repeats, threads):
    """Stages of the command on a pair of files; of several runs that with the least processor time."""
    return min((_run(folder, threads) for _ in range(repeats)), key=lambda row: row["all"]["processor"])


def _run(folder, threads):
    with tempfile.TemporaryDirectory() as scratch:
        report, out = Path(scratch) / "stages.json", Path(scratch) / "out"
        images = [str(folder / f"{part}.nii.gz") for part in ("fixed", "moving")]
        command = [sys.executable, __file__, "--be", str(report), *images, "--out", str(out)]
        setting, start = {**os.environ, "OMP_NUM_THREADS": str(threads)}, time.time()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=setting)
        output = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds, processor = time.time() - start, usage.ru_utime + usage.ru_stime
        if status:
            raise RuntimeError(output.decode(errors="replace"))
        found = json.loads(report.read_text(encoding="utf-8"))
    rows, (ended, spent) = found["rows"], found["ended"]
    rows["end"] = {"seconds": start + seconds - ended, "processor": processor - spent, "peak_mib": 0.0}
    rows["start"]["seconds"] = seconds - sum(row["seconds"] for name, row in rows.items() if name != "start")
    peak = max(row["peak_mib"] for row in rows.values())
    rows["all"] = {"seconds": seconds, "processor": processor, "peak_mib": peak}
    return rows


def write_scene(folder, size):
    """Write a pair of synthetic scenes, as in the table of registrations."""
    from pairs import PARTS, SCENE, write_volumes

    from SPRCore.synthetic import scene
    from SPRCore.synthetic.scenes import SceneConfig

    made = scene(SceneConfig(**SCENE), shape=tuple(size), spacing=(1.0, 1.0, 1.0), seed=1)
    return write_volumes(folder, {part: getattr(made, part) for part in PARTS})


def measure_sizes(sizes, repeats, threads):
    """Rows of the command for several sizes of images."""
    from measure import run_isolated

    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            folder = run_isolated(write_scene, Path(scratch) / "pair", size)
            found["x".join(map(str, size))] = {"size": list(size), "rows": measure_command(folder, repeats, threads)}
    return found


HEAD = "| stage | seconds | processor, s | peak, MiB |\n|---|---|---|---|\n"


def markdown(found):
    """A table of stages for each size, and one of processor time per voxel."""
    text = ""
    for name, row in found.items():
        text += f"\n{name.replace('x', ' x ')} voxels:\n\n{HEAD}"
        for stage, part in row["rows"].items():
            peak = f"{part['peak_mib']:.0f}" if part["peak_mib"] else ""
            text += f"| {stage} | {part['seconds']:.2f} | {part['processor']:.2f} | {peak} |\n"
    if len(found) > 1:
        stages = ("read", "align", "register", "measure", "write")
        text += "\nProcessor time in microseconds per voxel of the fixed image, and memory:\n\n"
        text += f"| voxels | {' | '.join(stages)} | peak, MiB | peak, bytes per voxel |\n" + "|---" * 8 + "|\n"
        for name, row in found.items():
            voxels = row["size"][0] * row["size"][1] * row["size"][2]
            cells = [f"{1e6 * row['rows'][stage]['processor'] / voxels:.2f}" for stage in stages]
            peak = row["rows"]["all"]["peak_mib"]
            text += f"| {name.replace('x', ' x ')} | {' | '.join(cells)} | {peak:.0f} | {peak * 2**20 / voxels:.0f} |\n"
    return text


def main():
    if sys.argv[1:2] == ["--be"]:
        return run_marked(["register", *sys.argv[3:]], Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(160, 192, 224), metavar=("X", "Y", "Z"))
    parser.add_argument("--cubes", type=int, nargs="*", default=[], metavar="N", help="also N x N x N voxels")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    options = parser.parse_args()
    sizes = [options.size, *((n, n, n) for n in options.cubes)]
    found = measure_sizes(sizes, options.repeats, options.threads)
    print(markdown(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

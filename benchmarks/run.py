"""Measure the hot operations and whole registrations, and write them down as JSON and as a table.

    python benchmarks/run.py [--quick] [--size 160 192 224] [--only warp lncc stages brain] [--slow]

Every row is measured in its own process, ours and its reference in one run. With `--only`, and for the slow methods
without `--slow`, the rows of an earlier run on the same machine are kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "reference" / "performance.md"
CUBES = (64, 96, 128, 192, 256)  # voxels along each axis: what the whole command costs has to grow with their number
LOG = logging.getLogger("benchmark")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rows: does everything still run?")
    parser.add_argument("--size", type=int, nargs=3, default=(160, 192, 224), metavar=("X", "Y", "Z"))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each operation; the median counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--command-threads", type=int, help="threads of the whole command, if others than of the rest")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="operations, pairs, `stages` and `command`, by name")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="methods to register pairs with")
    parser.add_argument("--slow", action="store_true", help="also SyN with local correlation, and FireANTs: hours")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON file")
    parser.add_argument("--table", type=Path, default=DOCS, help="Markdown file")
    options = parser.parse_args()
    if options.quick:
        options.size, options.repeats, options.only = (
            (24, 20, 16),
            1,
            options.only or ["warp", "lncc", "heart", "stages", "command"],
        )
    return options


def machine(threads):
    import torch

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def measure_operations(options, rows):
    from measure import accuracy, measure, run_isolated
    from operations import OPERATIONS

    for name, operation in OPERATIONS.items():
        if options.only and name not in options.only:
            continue
        size = operation.size(options.size)
        LOG.info("%s at %s", name, "x".join(map(str, size)))
        rows[name] = {"size": size, "title": operation.title, "against": operation.against}
        if operation.package and importlib.util.find_spec(operation.package) is None:
            rows[name]["absent"] = f"{operation.package} is not installed"
            continue
        for who in ("ours", "reference"):
            rows[name][who] = run_isolated(measure, name, who, size, options.repeats)
        rows[name]["error"] = run_isolated(accuracy, name, (32, 28, 24))


def measure_pairs(options, rows, save):
    from measure import run_isolated
    from methods import METHODS, SLOW
    from pairs import PAIRS, register, write_pair

    methods = options.methods or [name for name in METHODS if options.slow or name not in SLOW]
    methods = ["ours"] if options.quick and not options.methods else methods
    for name, title in PAIRS.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = run_isolated(write_pair, Path(scratch), name, options.quick)
            if folder is None:
                LOG.info("%s: the data are not at hand", title)
                continue
            for method in methods:
                LOG.info("%s by %s", title, method)
                rows.setdefault(title, {})[method] = run_isolated(register, folder, method)
                save()


def measure_all_stages(options, report):
    from measure import run_isolated
    from pairs import write_pair
    from stages import measure_stages

    if options.only and "stages" not in options.only:
        return
    with tempfile.TemporaryDirectory() as scratch:
        candidates = (run_isolated(write_pair, Path(scratch), name, options.quick) for name in ("brain", "scene"))
        folder = next(folder for folder in candidates if folder is not None)
        LOG.info("stages of a registration")
        report["stages"] = run_isolated(measure_stages, folder, options.repeats)


def measure_whole_command(options, report):
    from command import measure_sizes

    if options.only and "command" not in options.only:
        return
    LOG.info("spr register, whole")
    cubes = [] if options.quick else [(n, n, n) for n in CUBES]
    threads = options.command_threads or options.threads
    report["command"] = {"threads": threads, "sizes": measure_sizes([options.size, *cubes], 1, threads)}


def earlier_report(path, where):
    """The report of an earlier run on the same machine."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if report.get("machine") == where and not report.get("quick") else {}


def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = arguments()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = str(options.threads)  # before torch and ITK are loaded
    sys.path.insert(0, str(HERE))
    from methods import METHODS
    from table import markdown

    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{platform.machine().lower()}-{os.cpu_count()}cores.json"
    where = machine(options.threads)
    report = {"machine": where, "quick": options.quick, "operations": {}, "pairs": {}, "stages": {}}
    report |= {} if options.quick else earlier_report(path, where)
    report["methods"] = list(METHODS)

    def save():
        path.write_text(json.dumps(_without_traces(report), indent=1) + "\n", encoding="utf-8")
        options.table.parent.mkdir(parents=True, exist_ok=True)
        options.table.write_text(markdown(report), encoding="utf-8")

    for part in (
        lambda: measure_operations(options, report["operations"]),
        lambda: measure_all_stages(options, report),
        lambda: measure_whole_command(options, report),
        lambda: measure_pairs(options, report["pairs"], save),
    ):
        part()
        save()
    LOG.info("%s\n%s", path, options.table)
    failed = [(is_ours, row) for is_ours, row in _rows(report) if "failed" in row]
    for _is_ours, row in failed:
        LOG.error("%s", row.get("trace", row["failed"]))
    return 1 if any(is_ours for is_ours, _row in failed) else 0  # failures of other packages are rows of the table


def _without_traces(value):
    """The report without the traces of failures, which name folders of the machine."""
    if not isinstance(value, dict):
        return value
    return {key: _without_traces(part) for key, part in value.items() if key != "trace"}


def _rows(report):
    """Whether it is ours, and the row."""
    for row in report["operations"].values():
        yield from ((part != "reference", row[part]) for part in ("ours", "reference", "error") if part in row)
    yield True, report["stages"]
    for row in report["pairs"].values():
        yield from ((method == "ours", each) for method, each in row.items())


if __name__ == "__main__":
    sys.exit(main())

"""Measure the hot operations and whole registrations, and write them down as JSON and as a table.

    python Testing/benchmarks/run.py [--quick] [--size 160 192 224] [--only warp lncc pairs] [--syn-cc]

Every row is measured in a process of its own, ours and its twin one after the other in one run.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs" / "reference" / "performance.md"
LOG = logging.getLogger("benchmark")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rows: does everything still run?")
    parser.add_argument("--size", type=int, nargs=3, default=(160, 192, 224), metavar=("X", "Y", "Z"))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each operation; the median counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", metavar="NAME", help="operations by name, and `pairs`")
    parser.add_argument("--syn-cc", action="store_true", help="also SyN with local correlation (slow)")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON file")
    parser.add_argument("--table", type=Path, default=DOCS, help="Markdown file")
    options = parser.parse_args()
    if options.quick:
        options.size, options.repeats, options.only = (24, 20, 16), 1, options.only or ["warp", "lncc", "pairs"]
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


def measure_operations(options):
    from measure import accuracy, in_a_child, measure
    from operations import OPERATIONS

    rows = {}
    for name, operation in OPERATIONS.items():
        if options.only and name not in options.only:
            continue
        size = operation.size(options.size)
        LOG.info("%s at %s", name, "x".join(map(str, size)))
        rows[name] = {"size": size, "title": operation.title, "against": operation.against}
        for who in ("ours", "twin"):
            rows[name][who] = in_a_child(measure, name, who, size, options.repeats)
        rows[name]["error"] = in_a_child(accuracy, name, (32, 28, 24))
    return rows


def measure_pairs(options):
    if options.only and "pairs" not in options.only:
        return {}
    from measure import in_a_child
    from pairs import has_ants, register_ours, register_syn, write_pairs

    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, folder in in_a_child(write_pairs, Path(scratch), options.quick).items():
            LOG.info("registering %s", name)
            rows[name] = {"ours": in_a_child(register_ours, folder)}
            if has_ants() and not options.quick:
                rows[name]["SyN"] = in_a_child(register_syn, folder, False)
            if has_ants() and options.syn_cc:
                rows[name]["SyN, CC"] = in_a_child(register_syn, folder, True)
    return rows


def main():
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = arguments()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = str(options.threads)  # before torch and ITK are loaded
    sys.path.insert(0, str(HERE))
    from table import markdown

    report = {"machine": machine(options.threads), "quick": options.quick}
    report |= {"operations": measure_operations(options), "pairs": measure_pairs(options)}
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{platform.machine().lower()}-{os.cpu_count()}cores.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    options.table.parent.mkdir(parents=True, exist_ok=True)
    options.table.write_text(markdown(report), encoding="utf-8")
    LOG.info("%s\n%s", path, options.table)
    failed = [row for row in _rows(report) if "failed" in row]
    for row in failed:
        LOG.error("%s", row.get("trace", row["failed"]))
    return 1 if failed else 0


def _rows(report):
    for row in report["operations"].values():
        yield from (row["ours"], row["twin"], row["error"])
    for row in report["pairs"].values():
        yield from row.values()


if __name__ == "__main__":
    sys.exit(main())

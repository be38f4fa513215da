"""The pairs of ACDC for `spr benchmark`: `python benchmarks/acdc_pairs.py --set test --out pairs.csv`.

Every patient twice: end-diastole (moving) to end-systole (fixed) and back, on whole images; labels 1 RV, 2 MYO, 3 LV.
With `--one-way --patients 6` the first six patients of the set, contraction alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path

from cohort import hearts
from pairs import DATA

SPLIT = Path(__file__).parents[1] / "Training/recipes/acdc/split.json"


def rows(patients, both_ways=True):
    """Both directions of each patient, or contraction alone."""
    for name, files in hearts(1000):
        if name in patients:
            yield {"pair": f"{name}, ED to ES", "subject": name, "group": "ED to ES", **files}
            if both_ways:
                back = {_swapped(part): path for part, path in files.items()}
                yield {"pair": f"{name}, ES to ED", "subject": name, "group": "ES to ED", **back}


def write_list(path, rows):
    """Write pairs as a list for `spr benchmark`, with paths relative to its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            relative = {k: os.path.relpath(v, path.parent) for k, v in row.items() if isinstance(v, Path)}
            writer.writerow(row | relative)


def _swapped(part):
    """The same part of the other image."""
    return part.replace("fixed", "moving") if "fixed" in part else part.replace("moving", "fixed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--patients", type=int, help="the first so many of the set (default: all)")
    parser.add_argument("--one-way", action="store_true", help="ED to ES alone")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"acdc_pairs: no data in {DATA.name}")
    patients = json.loads(SPLIT.read_text(encoding="utf-8"))["sets"][options.set]
    patients = patients[: options.patients]
    found = list(rows(patients, both_ways=not options.one_way))
    write_list(options.out, found)
    print(f"{len(found)} pairs of {len(patients)} patients in {options.out}")


if __name__ == "__main__":
    main()

"""Real pairs, all methods in one run: `python benchmarks/cohort.py [--patients 16]`.

Cine MRI of the heart: end-diastole (moving) to end-systole (fixed), mean Dice of RV, MYO and LV. Brains: similarity and
folding, since they have no labels. On a machine that is shared set OMP_WAIT_POLICY=PASSIVE before. Every finished row
is saved, so an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measure import run_isolated
from pairs import DATA, register
from run import machine

from SPRCore.io import read_labels, read_volume, write_volume

METHODS = {"ours": "ours", "SyN": "SyN", "SyN, CC": "SyN, CC to half resolution"}
BRAINS = {
    "OASIS A": ("clapirn_A", "clapirn_B"),
    "OASIS B": ("lapirn_A_160x192x144", "lapirn_B_160x192x144"),
    "OASIS C": ("pirate_fixed", "pirate_moving"),
}


def hearts(count):
    """Evenly spaced patients of the cohort: name, then paths of fixed and moving image and labels."""
    patients = sorted((DATA / "acdc").glob("patient*"))
    for patient in [patients[int(i)] for i in np.linspace(0, len(patients) - 1, min(count, len(patients)))]:
        lines = (line.split(":") for line in (patient / "Info.cfg").read_text().splitlines() if ":" in line)
        info = {key.strip(): value.strip() for key, value in lines}
        stem = {phase: f"{patient.name}_frame{int(info[phase]):02d}" for phase in ("ED", "ES")}
        yield (
            patient.name,
            {
                "fixed": patient / f"{stem['ES']}.nii.gz",
                "moving": patient / f"{stem['ED']}.nii.gz",
                "fixed_labels": patient / f"{stem['ES']}_gt.nii.gz",
                "moving_labels": patient / f"{stem['ED']}_gt.nii.gz",
            },
        )


def brains():
    """Pairs of brains of different subjects: name, then paths of fixed and moving image."""
    folder = DATA / "brain_oasis_unlabelled"
    for name, stems in BRAINS.items():
        yield name, {part: folder / f"{stem}.nii.gz" for part, stem in zip(("fixed", "moving"), stems, strict=True)}


def measure(paths, method):
    """One row: a method on a pair, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        for part, path in paths.items():
            read = read_labels if part.endswith("labels") else read_volume
            write_volume(read(path), Path(scratch) / f"{part}.nii.gz")
        return run_isolated(register, Path(scratch), METHODS[method])


def table(rows):
    """The rows as Markdown: a line per cohort and method."""
    columns = ["pairs", "n", "method", "Dice before → after", "gain, least gain", "LNCC before → after"]
    columns += ["folding, %", "seconds", "of processor", "peak, MiB"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    done = [row for row in rows.values() if "lncc" in row]
    for cohort in ("heart", "brain"):
        for method in METHODS:
            part = [row for row in done if (row["cohort"], row["method"]) == (cohort, method)]
            if part:
                lines.append(_line(cohort, method, part))
    return "\n".join(lines) + "\n"


def _line(cohort, method, part):
    def mean(key):
        return np.mean([row[key] for row in part])

    overlap = gain = "no labels"
    if "dice" in part[0]:
        gains = [row["dice"] - row["dice_before"] for row in part]
        overlap = f"{mean('dice_before'):.3f} → {mean('dice'):.3f}"
        gain = f"{np.mean(gains):+.3f}, {min(gains):+.3f}"
    similarity = f"{mean('lncc_before'):.3f} → {mean('lncc'):.3f}"
    times = f"{mean('seconds'):.1f} | {mean('processor_seconds'):.1f}"
    cost = f"{mean('folding_percent'):.4f} | {times} | {max(row['peak_mib'] for row in part):.0f}"
    return f"| {cohort} | {len(part)} | {method} | {overlap} | {gain} | {similarity} | {cost} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cohorts", nargs="+", choices=("heart", "brain"), default=["heart", "brain"])
    parser.add_argument("--out", type=Path, default=Path("docs/results/real_pairs"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "rows.json"
    rows = json.loads(kept.read_text())["rows"] if kept.exists() else {}
    cohorts = {"heart": lambda: hearts(options.patients), "brain": brains}
    for cohort in options.cohorts:
        for name, paths in cohorts[cohort]():
            for method in options.methods:
                key = f"{name}/{method}"
                if key not in rows:
                    rows[key] = {"cohort": cohort, "pair": name, "method": method} | measure(paths, method)
                    kept.write_text(json.dumps({"machine": machine(torch.get_num_threads()), "rows": rows}, indent=1))
                    (options.out / "table.md").write_text(table(rows))
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()

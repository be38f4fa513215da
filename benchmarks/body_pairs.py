"""Real pairs of five parts of the body: `python benchmarks/body_pairs.py --out DIR` writes a list for `spr benchmark`.

Hearts (labels), brains (labels), lungs (lobes), prostates (labels) and breathing livers (landmarks); images of one
subject are one subject. A set without its data is left out. With `--each N` the first N pairs of each set.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from acdc_pairs import SPLIT, rows, write_list
from grid_pairs import BRAINS, LUNGS
from liver_pairs import liver_pairs
from pairs import DATA

from SPRCore.io import write_landmarks, write_volume


def hearts(_folder):
    """End-diastole to end-systole of the test patients."""
    return rows(json.loads(SPLIT.read_text(encoding="utf-8"))["sets"]["test"], both_ways=False)


def brains(_folder):
    """Brains of different people."""
    return _between((name.split("<") for name in BRAINS), "brain_oasis_labelled", "{}_SS.nii.gz", "{}_glm.nii.gz")


def lungs(_folder):
    """Lungs of different people."""
    return _between(((LUNGS[0], other) for other in LUNGS[1:]), "lung_h1mri_lobes", "{}H1.nii.gz", "{}Lobes.nii.gz")


def prostates(_folder):
    """Prostates of two people, both ways."""
    return _between(["01", "10"], "prostate_mri_promise12", "image{}.nii.gz", "label{}.nii.gz")


def livers(folder):
    """Exhale and inhale of volunteers, with landmarks in the liver and outside of it."""
    for pair in liver_pairs():
        name = pair.name.replace("/", "_")
        files = {part: folder / f"liver_{name}_{part}.nii.gz" for part in ("fixed", "moving")}
        points = {f"{part}_points": folder / f"liver_{name}_{part}.fcsv" for part in ("fixed", "moving")}
        for side, part in enumerate(("fixed", "moving")):
            write_volume(getattr(pair, part), files[part])
            together = np.concatenate([region[side] for region in pair.points.values()])
            write_landmarks(together, points[f"{part}_points"])
        yield {"subject": pair.name.split("/")[0], "pair": pair.name, **files, **points}


SETS = {"heart": hearts, "brain": brains, "lung": lungs, "prostate": prostates, "liver": livers}


def _between(names, folder, image, labels):
    for fixed, moving in names:
        row = {"subject": moving, "pair": f"{moving} to {fixed}"}
        for part, name in (("fixed", fixed), ("moving", moving)):
            row |= {part: DATA / folder / image.format(name), f"{part}_labels": DATA / folder / labels.format(name)}
        if all(path.exists() for path in row.values() if isinstance(path, Path)):
            yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, help="the first so many pairs of each set (default: all)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"body_pairs: no data in {DATA.name}")
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for group, pairs in SETS.items():
        for row in islice(pairs(options.out), options.each):
            names = {key: f"{group} {row[key]}" for key in ("pair", "subject")}
            found.append(row | names | {"group": group})
    write_list(options.out / "pairs.csv", found)
    print(f"{len(found)} pairs in {options.out / 'pairs.csv'}")


if __name__ == "__main__":
    main()

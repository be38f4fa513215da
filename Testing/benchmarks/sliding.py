"""Sliding phantom, one setting of the beta prior against a sweep of uniform strengths.

Run by `python Testing/benchmarks/sliding.py`.

The error is the distance between the found and the true displacement, in voxels, over all voxels of the body: near the
wall (up to 4 voxels) and away from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from SPRCore import BetaPrior, UniformPrior
from SPRCore.geometry import Field
from SPRCore.metrics import folding_percent, ndv_percent
from SPRCore.registration import register_instance
from SPRCore.synthetic import sliding_thorax

NEAR_VOXELS = 4
SPR = BetaPrior(alpha=0.01, lambda_max=5.0)
STRENGTHS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0)


def errors(phantom, field):
    """Mean error in voxels near the wall and away from it, within the body."""
    voxel = min(phantom.fixed.spacing)
    distance = np.abs(phantom.boundary.array) / voxel
    body = phantom.fixed_labels.array > 0
    error = np.linalg.norm(field.array - phantom.displacement.array, axis=-1) / voxel
    near = distance <= NEAR_VOXELS
    return {"near": float(error[body & near].mean()), "away": float(error[body & ~near].mean())}


def measure(phantom, prior):
    """Register with a prior; errors, folding, mean weight, seconds."""
    start = time.perf_counter()
    fixed, moving = phantom.fixed.to_tensor(), phantom.moving.to_tensor()
    result = register_instance(fixed, moving, phantom.fixed.spacing, prior)
    seconds = time.perf_counter() - start
    field = Field.from_tensor_vox(result.displacement_vox, phantom.fixed.affine)
    row = errors(phantom, field) | {"folding_percent": folding_percent(field), "ndv_percent": ndv_percent(field)}
    return row | {"mean_weight": float(result.weight.mean()), "seconds": seconds}


def sweep(phantom):
    """Rows by name: the beta prior first, then every uniform strength."""
    rows = {f"SPR, alpha {SPR.alpha:g}, lambda_max {SPR.lambda_max:g}": measure(phantom, SPR)}
    return rows | {f"uniform, lambda {s:g}": measure(phantom, UniformPrior(strength=s)) for s in STRENGTHS}


def table(rows):
    """The rows as Markdown."""
    lines = ["| regularization | near, voxels | away, voxels | folding, % | NDV, % | mean weight | seconds |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        numbers = f"{row['near']:.3f} | {row['away']:.3f} | {row['folding_percent']:.4f} | {row['ndv_percent']:.4f}"
        lines.append(f"| {name} | {numbers} | {row['mean_weight']:.2f} | {row['seconds']:.1f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results/sliding"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    rows = sweep(sliding_thorax())
    (folder / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(table(rows), encoding="utf-8")
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()

"""One brain scanned twice: `python benchmarks/scan_rescan.py [--methods SyN] [--settings beta:0.1,1 …]`.

Between two scans of one person within weeks nothing moves but the head. What a deformable registration finds after the
rigid alignment is noise that it fitted, and differences of the scanner: it should be small, and change no volume. The
rigid alignment is the same for all. Rows of the others are kept and never measured again; those of the solver are, when
its source has changed. Run the others with a Python that has them (`pip install antspyx`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from pairs import DATA
from saved_rows import RESULTS, Rows, Watch, known_settings, markdown, solver_version

import SPRCore as spr
from SPRCore.analysis.figures import save_figure
from SPRCore.baselines import BASELINES
from SPRCore.errors import InputError
from SPRCore.geometry import MaskedVolume, resample
from SPRCore.io import read_labels, read_volume
from SPRCore.metrics import determinant_map, dice, dice_mean, folding_percent, local_correlation
from SPRCore.registration.prealign import prealign

FOLDER = DATA / "brain_oasis_labelled"
FIXED, MOVING = "1003", "1023"
RIVALS = {"SyN": BASELINES["syn"], "SyN, CC": BASELINES["syn-cc"]}
SETTINGS = ("beta:0.1,1", "uniform:0.3", "uniform:1", "uniform:3", "beta:0.05,2", "beta:0.01,20", "tv:0.3,30")
PARTS = np.linspace(0.0, 1.0, 41)


class Case:
    """Both scans, the moving one brought onto the fixed by one rigid alignment."""

    def __init__(self):
        self.fixed, moving = (read_volume(FOLDER / f"{name}_SS.nii.gz") for name in (FIXED, MOVING))
        self.labels, self._moving_labels = (read_labels(FOLDER / f"{name}_glm.nii.gz") for name in (FIXED, MOVING))
        both = MaskedVolume.of(self.fixed, "fixed"), MaskedVolume.of(moving, "moving")
        self.affine_ras = prealign(*both, "rigid").affine_ras
        self.moving = resample(moving, self.fixed.grid, affine_ras=self.affine_ras)

    def score(self, field):
        """Motion and change of volume within the brain, and overlap; None for the rigid alignment alone."""
        options = {"affine_ras": self.affine_ras, "displacement": field, "labels": True}
        warped = resample(self._moving_labels, self.fixed.grid, **options)
        row = {"dice": dice_mean(dice(self.labels, warped))}
        if field is None:
            return row | {"lncc": local_correlation(self.fixed, self.moving)}
        brain = self.labels.array > 0
        length = np.linalg.norm(field.array, axis=-1)[brain]
        inner = brain[1:-1, 1:-1, 1:-1]
        change = np.abs(np.log(np.maximum(determinant_map(field), 1e-3)))[inner]
        row |= {"mean_mm": float(length.mean()), "p95_mm": float(np.percentile(length, 95))}
        row |= {"mean_log_jacobian": float(change.mean()), "p95_log_jacobian": float(np.percentile(change, 95))}
        row |= {"folding_percent": folding_percent(field)}
        row |= {"lncc": local_correlation(self.fixed, resample(self.moving, self.fixed.grid, displacement=field))}
        curves = {"mm": length, "log_jacobian": change}
        return row | {f"quantiles_{name}": np.quantile(v, PARTS).round(4).tolist() for name, v in curves.items()}

    def by_other_method(self, name):
        watch = Watch()
        field = RIVALS[name].register(self.fixed, self.moving)
        return watch.read() | self.score(field)

    def by_setting(self, setting, device):
        prior, config = setting
        watch = Watch()
        options = spr.RegistrationOptions(config=config)
        result = spr.register(self.fixed, self.moving, prior=prior, init="none", device=device, options=options)
        return watch.read() | self.score(result.displacement) | {"mean_weight": float(result.weight.array.mean())}


def table(rows):
    """The rows as Markdown, with what each has of SyN's false deformation."""
    columns = ["method", "mean motion, mm", "p95, mm", "mean abs log J", "p95", "Dice", "LNCC", "folding, %", "seconds"]
    columns += ["motion / SyN's", "log J / SyN's"]
    keys = {"mean_mm": 3, "p95_mm": 3, "mean_log_jacobian": 4, "p95_log_jacobian": 4, "dice": 4, "lncc": 4}
    keys |= {"folding_percent": 4, "seconds": 1}
    lines, syn = [], rows.get("SyN")
    for name, row in rows.items():
        shares = [None, None]
        if syn and "mean_mm" in row:
            shares = [f"{row[key] / syn[key]:.2f}" for key in ("mean_mm", "mean_log_jacobian")]
        lines.append([name, *(f"{row[key]:.{n}f}" if key in row else None for key, n in keys.items()), *shares])
    return markdown(columns, lines)


def figure(rows):
    """Which part of the brain moves by more, and changes its volume by more."""
    made = Figure(figsize=(11, 4.2), layout="constrained")
    axes = made.subplots(1, 2, sharey=True)
    titles = {"mm": "false displacement, mm", "log_jacobian": "false change of volume, |log determinant|"}
    for panel, (name, title) in zip(axes, titles.items(), strict=True):
        for number, (method, row) in enumerate(rows.items()):
            if f"quantiles_{name}" in row:
                # Curves that coincide stay visible: later ones are thinner.
                style = {"linewidth": max(4.5 - number, 1.2)}
                style = {"color": "black", "linewidth": 2.4, "linestyle": "--"} if method in RIVALS else style
                panel.plot(row[f"quantiles_{name}"][:-2], 100 * (1 - PARTS[:-2]), label=method, **style)
        panel.set_xlabel(title)
        panel.grid(alpha=0.3, linewidth=0.5)
        panel.set_xlim(left=0)
    axes[0].set_ylabel("part of the brain with more, %")
    axes[1].legend(frameon=False, fontsize=8)
    made.suptitle("One brain scanned twice, after a rigid alignment: further to the left is better", fontsize=11)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="*", choices=RIVALS, default=[])
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "scan_rescan")
    options = parser.parse_args()
    if not FOLDER.exists():
        sys.exit(f"scan_rescan: no data in {FOLDER.name}")
    rows, case = Rows(options.out), Case()
    rows.take("rigid alone", lambda: case.score(None))
    for name in options.methods:
        try:
            RIVALS[name].check()
        except InputError as error:
            print(f"left out {name}: {error}", flush=True)
            continue
        rows.take(name, lambda name=name: case.by_other_method(name))
    for name, setting in known_settings(options.settings).items():
        rows.take(name, lambda setting=setting: case.by_setting(setting, options.device), solver_version(name))
    shown = rows.shown()
    rows.write(table(shown))
    save_figure(figure(shown), options.out / "figure.png")


if __name__ == "__main__":
    main()

"""Similarities on images of different contrast: `python benchmarks/multimodal.py [--pairs NAME …] [--strengths L …]`.

Images of one space, or of one patient and position, have a displacement of zero. The moving one is deformed by a known
velocity (smooth, 6 mm on average), and the error of the displacement that the solver finds is measured in the head or
the thigh. One pair of the same contrast is the control. Grids of 4 mm: about three minutes on a free core.

`--recompute` computes the MIND descriptors of the warped image at every step, and on every level, instead of warping
those of the moving image.
"""

from __future__ import annotations

import argparse
import contextlib
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from matplotlib.figure import Figure
from pairs import DATA
from saved_rows import RESULTS, Rows, Watch, markdown, solver_version
from scipy import ndimage

from SPRCore.functional import gaussian_smooth, integrate, resize, warp
from SPRCore.geometry import Grid, MaskedVolume, resample
from SPRCore.io import read_volume
from SPRCore.registration import instance, level, prealign
from SPRCore.registration.instance import InstanceConfig, InstanceProblem
from SPRCore.regularization import BetaPrior
from SPRCore.similarity import SIMILARITIES, fixed_side, mind_ssc

STEP_MM, SIGMA_MM, MEAN_MM = 4.0, 25.0, 6.0
STRENGTHS = (2.0, 8.0, 32.0)
"""λ_max of the beta prior."""

BRAIN, THIGH, SPACE = (DATA / name for name in ("brain_multimodal", "sarcoma_ct_mr_pet", "mni_t1_t2_ct"))
T1, T2, CT = (
    SPACE / name for name in ("MNI152_T1_2mm.nii.gz", "MNI152_T2_2mm.nii.gz", "clinical_toolbox_scct_2mm.nii.gz")
)
PAIRS = {
    "template T1, T1 with noise": (T1, T1, "none"),
    "template T1, T2": (T1, T2, "none"),
    "template T1, CT": (T1, CT, "none"),
    "patient T1, T2": (BRAIN / "t1.nii.gz", BRAIN / "t2.nii.gz", "rigid"),
    "patient T1, FLAIR": (BRAIN / "t1.nii.gz", BRAIN / "flair.nii.gz", "rigid"),
    "thigh MR, CT": (THIGH / "STS_006" / "MR_T1_image.nii.gz", THIGH / "STS_006" / "CT_image.nii.gz", "none"),
}


class Case:
    """A pair on a coarse grid, the moving image deformed by a known velocity."""

    def __init__(self, fixed, moving, init, name):
        self.name, images = name, [MaskedVolume.of(read_volume(path), "image") for path in (fixed, moving)]
        affine_ras = prealign(*images, init).affine_ras
        aligned = resample(images[1].volume, images[0].grid, affine_ras=affine_ras, continued=True)
        inside = images[1].known_on(images[0].grid, affine_ras=affine_ras)
        grid = images[0].grid
        shape = [
            max(16, round(n * s / STEP_MM)) if s < STEP_MM else n for n, s in zip(grid.shape, grid.spacing, strict=True)
        ]
        self.fixed, moved = (resize(image.to_tensor().float(), shape) for image in (images[0].volume, aligned))
        known = resize(torch.from_numpy(inside.astype(np.float32))[None, None], shape)
        self.spacing = tuple((n - 1) / (m - 1) * s for n, m, s in zip(grid.shape, shape, grid.spacing, strict=True))
        self.grid = Grid(tuple(shape), np.diag([*self.spacing, 1.0]))
        self.body = self._body() & (known > 0.99)
        velocity = self._velocity(zlib.crc32(name.encode()))
        if fixed == moving:
            noise = torch.randn(moved.shape, generator=torch.Generator().manual_seed(1))
            moved = moved + 0.02 * float(moved.max()) * noise
        displacement = integrate(velocity, 7)
        self.moving, self.valid = warp(moved, displacement), (warp(known, displacement) > 0.99).float()
        self.truth = integrate(-velocity, 7)

    def _body(self):
        """The body without its skin, whose noise and air are of no interest."""
        bright = self.fixed[0, 0].numpy() > 0.1 * float(torch.quantile(self.fixed.flatten()[::7], 0.99))
        filled = ndimage.binary_fill_holes(ndimage.binary_opening(bright))
        return torch.from_numpy(ndimage.binary_erosion(filled, iterations=2))[None, None]

    def _velocity(self, seed):
        shape = self.fixed.shape[2:]
        noise = torch.randn((1, 3, *shape), generator=torch.Generator().manual_seed(seed))
        step = torch.tensor(self.spacing).view(1, 3, 1, 1, 1)
        smooth = gaussian_smooth(noise, [SIGMA_MM / s for s in self.spacing])
        return smooth * MEAN_MM / smooth.norm(dim=1, keepdim=True)[self.body].mean() / step

    def error_mm(self, displacement_vox):
        """Lengths of the error in the body, in mm."""
        step = torch.tensor(self.spacing).view(1, 3, 1, 1, 1)
        return ((displacement_vox - self.truth) * step).norm(dim=1, keepdim=True)[self.body]

    def score(self, displacement_vox):
        found = self.error_mm(displacement_vox)
        return {"mean_mm": float(found.mean()), "p95_mm": float(found.quantile(0.95))}

    def solve(self, similarity, strength):
        """The row of a similarity at a strength of the beta prior."""
        watch, config = Watch(), InstanceConfig(similarity=similarity)
        problem = InstanceProblem.of(self.fixed, self.moving, self.spacing, config, moving_mask=self.valid)
        found = problem.course(BetaPrior(lambda_max=strength)).completed()
        return self.score(found.displacement_vox) | watch.read()


@contextlib.contextmanager
def recomputed(case):
    """Let the solver describe both images on every level, and the warped one at every step."""

    def described(image, spacing=case.spacing):
        return mind_ssc(image, spacing=spacing)

    def side(name, image, spacing, *options):
        return fixed_side(name, described(image, spacing), spacing, *options)

    def warped(image, displacement_vox):
        moved = warp(image, displacement_vox)
        return described(moved) if torch.is_grad_enabled() else moved  # masks are warped without a graph

    plain = vars(level)["_warp_at_rest"]
    with (
        mock.patch.object(instance, "features", lambda name, image, spacing: image),
        mock.patch.object(instance, "fixed_side", side),
        mock.patch.object(level, "warp", warped),
        mock.patch.object(level, "_warp_at_rest", lambda *parts: described(plain(*parts))),
    ):
        yield


def table(rows):
    """Errors before, and of each similarity at its best strength and at each one, in mm."""
    strengths = sorted({float(key.rsplit("|", 1)[1]) for key in rows if key.count("|") == 2})
    columns = ["pair", "before", *(f"{name}, best" for name in SIMILARITIES)]
    columns += [f"{name}, λ_max {strength:g}" for name in SIMILARITIES for strength in strengths]
    lines = []
    for pair in dict.fromkeys(key.split("|")[0] for key in rows):
        found = {
            (key.split("|")[1], float(key.split("|")[2])): row
            for key, row in rows.items()
            if key.startswith(f"{pair}|") and key.count("|") == 2
        }
        best = {
            name: min((row["mean_mm"] for (n, _), row in found.items() if n == name), default=None)
            for name in SIMILARITIES
        }
        line = [
            pair,
            f"{rows[f'{pair}|before']['mean_mm']:.2f}",
            *(None if v is None else f"{v:.2f}" for v in best.values()),
        ]
        cells = [found.get((name, strength)) for name in SIMILARITIES for strength in strengths]
        lines.append(line + [None if row is None else f"{row['mean_mm']:.2f}" for row in cells])
    return markdown(columns, lines)


def figure(rows):
    """Mean error of each similarity over the strength, a panel for each pair."""
    pairs = list(dict.fromkeys(key.split("|")[0] for key in rows))
    columns = min(3, len(pairs))
    count = -(-len(pairs) // columns)
    made = Figure(figsize=(3.2 * columns, 3.0 * count), layout="constrained")
    panels = np.ravel(made.subplots(count, columns, squeeze=False))
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    for panel, pair in zip(panels, pairs, strict=False):
        for name in SIMILARITIES:
            points = sorted(
                (float(k.split("|")[2]), r["mean_mm"])
                for k, r in rows.items()
                if k.startswith(f"{pair}|{name}|") and k.count("|") == 2
            )
            panel.plot(*zip(*points, strict=True), marker="o", label=name) if points else None
        panel.axhline(rows[f"{pair}|before"]["mean_mm"], color="gray", linestyle="--", label="before")
        panel.set(title=pair, xscale="log", xlabel="λ_max")
        panel.set_xticks(STRENGTHS, [f"{strength:g}" for strength in STRENGTHS], minor=False)
        panel.set_xticks([], minor=True)
        panel.set_ylim(bottom=0, top=4.0 * rows[f"{pair}|before"]["mean_mm"])
        panel.grid(alpha=0.3)
    for panel in panels[::columns]:
        panel.set_ylabel("mean error, mm")
    made.axes[0].legend(frameon=False, fontsize=8)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", nargs="*", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--similarities", nargs="*", choices=SIMILARITIES, default=list(SIMILARITIES))
    parser.add_argument("--strengths", nargs="*", type=float, default=list(STRENGTHS))
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "multimodal")
    options = parser.parse_args()
    rows = Rows(options.out)
    for name in options.pairs:
        fixed, moving, init = PAIRS[name]
        if not fixed.exists():
            print(f"left out {name}: no data")
            continue
        case = Case(fixed, moving, init, name)
        rows.take(f"{name}|before", lambda case=case: case.score(torch.zeros_like(case.truth)))
        for strength in options.strengths:
            if options.recompute:
                with recomputed(case):
                    rows.take(f"{name}|mind|{strength:g}|recomputed", lambda c=case, s=strength: c.solve("mind", s))
                continue
            for similarity in options.similarities:
                key = f"{name}|{similarity}|{strength:g}"
                rows.take(key, lambda c=case, m=similarity, s=strength: c.solve(m, s), solver_version())
    rows.publish(table, figure)


if __name__ == "__main__":
    main()

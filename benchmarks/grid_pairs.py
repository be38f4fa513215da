"""Real pairs with labels or landmarks, by the part of the body, aligned as a whole once for all settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from cohort import hearts
from liver_pairs import liver_pairs
from pairs import DATA

from SPRCore.geometry import MaskedVolume, Volume, resample
from SPRCore.io import read_labels, read_volume
from SPRCore.metrics import dice, tre_mm
from SPRCore.registration.prealign import prealign

BRAINS = ("1000<1001", "1000<1002", "1001<1002", "1002<1036", "1036<1101", "1101<1113", "1000<1003", "1000<1128")
LUNGS = ("0004", "0006", "0007", "0011", "0012")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A pair that is ready to be deformed, and what its result is measured by.

    Attributes:
        fixed: Fixed image with its data.
        moving: Moving image with its data.
        affine_ras: Alignment as a whole, or None.
        labels: Label maps of both, or None.
        points: Landmarks of both images by region, RAS mm.
    """

    fixed: MaskedVolume
    moving: MaskedVolume
    affine_ras: np.ndarray | None
    labels: tuple[Volume, Volume] | None = None
    points: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def score(self, displacement):
        """What a total displacement is worth: mean Dice over labels that both maps have, mean landmark errors in mm."""
        row = {f"tre_{region}": float(tre_mm(*both, displacement).mean()) for region, both in self.points.items()}
        if row:
            row["tre"] = float(np.mean(list(row.values())))
        if self.labels is not None:
            fixed, moving = self.labels
            warped = resample(moving, fixed.grid, displacement=displacement, labels=True)
            common = set(np.unique(fixed.array)) & set(np.unique(moving.array)) - {0}
            row["dice"] = float(np.mean([value for label, value in dice(fixed, warped).items() if label in common]))
        return row


@dataclass(frozen=True)
class Pair:
    """A pair by name, read when it is needed."""

    name: str
    load: Callable[[], Case]


def _labelled(paths, init):
    images = [MaskedVolume.of(read_volume(paths[part]), part) for part in ("fixed", "moving")]
    labels = tuple(read_labels(paths[f"{part}_labels"]) for part in ("fixed", "moving"))
    return Case(fixed=images[0], moving=images[1], affine_ras=prealign(*images, init).affine_ras, labels=labels)


def _pairs(names, files, init):
    for name, (fixed, moving) in names.items():
        paths = {}
        for part, stem in (("fixed", fixed), ("moving", moving)):
            paths[part], paths[f"{part}_labels"] = files(stem)
        if all(path.exists() for path in paths.values()):
            yield Pair(name, lambda paths=paths: _labelled(paths, init))


def _hearts():
    for name, paths in hearts(16):
        yield Pair(name, lambda paths=paths: _labelled(paths, "auto"))


def _brains():
    folder = DATA / "brain_oasis_labelled"
    names = {name: name.split("<") for name in BRAINS}
    return _pairs(names, lambda stem: (folder / f"{stem}_SS.nii.gz", folder / f"{stem}_glm.nii.gz"), "affine")


def _lungs():
    folder = DATA / "lung_h1mri_lobes"
    names = {f"{LUNGS[0]}<{other}": (LUNGS[0], other) for other in LUNGS[1:]}
    return _pairs(names, lambda stem: (folder / f"{stem}H1.nii.gz", folder / f"{stem}Lobes.nii.gz"), "affine")


def _prostates():
    folder = DATA / "prostate_mri_promise12"
    names = {"0<1": "01", "1<0": "10"}
    return _pairs(names, lambda stem: (folder / f"image{stem}.nii.gz", folder / f"label{stem}.nii.gz"), "auto")


def _livers():
    for pair in liver_pairs():
        images = [MaskedVolume.of(image, "liver") for image in (pair.fixed, pair.moving)]
        case = Case(fixed=images[0], moving=images[1], affine_ras=None, points=pair.points)
        yield Pair(pair.name, lambda case=case: case)


SETS = {"heart": _hearts, "brain": _brains, "lung": _lungs, "prostate": _prostates, "liver": _livers}
"""Pairs of each set; none where its data are not at hand."""

"""Cases of the experiments on the solver: images, prepared problems and the errors of a result."""

from __future__ import annotations

import argparse
from pathlib import Path

from cohort import hearts
from liver_pairs import liver_pairs
from livers import score as landmark_errors
from pairs import DATA
from saved_rows import RESULTS, Watch
from sliding import PHANTOMS, errors

from SPRCore.functional import logarithm
from SPRCore.geometry import Field
from SPRCore.io import read_volume
from SPRCore.metrics import folding_percent
from SPRCore.registration.instance import InstanceProblem

CASES = (*PHANTOMS, "heart", "liver")
NO_HEART = (*PHANTOMS, "liver")


def case_parser(description, name, settings, *, cases=CASES, default=None):
    """Parser of the options of all benchmarks on cases; its tables are written to `docs/results/<name>`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(default or cases))
    parser.add_argument("--settings", nargs="*", default=list(settings))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / name)
    return parser


class Case:
    """A pair, prepared once for each configuration.

    Args:
        name: The phantom, the heart or the liver.
        fixed: Fixed image.
        moving: Moving image.
        phantom: The phantom with its true displacement, or None.
        pair: The liver with its landmarks, or None.
        device: Where to compute.
    """

    def __init__(self, name, fixed, moving, *, phantom=None, pair=None, device="cpu"):
        self.name, self.phantom, self.pair = name, phantom, pair
        self.images = [image.to_tensor().to(device) for image in (fixed, moving)]
        self.spacing, self.affine = fixed.spacing, fixed.affine
        self._problems = {}

    def problem(self, config):
        """The pair prepared for a configuration; a search is run once for all that have the same levels."""
        if config not in self._problems:
            made = InstanceProblem.of(*self.images, self.spacing, config)
            for known in self._problems.values():
                made.found.extend(known.found[: 1 - len(made.found)])
            self._problems[config] = made
        return self._problems[config]

    def solve(self, setting, start=None):
        """Minimize at a setting (prior and configuration) from a velocity in mm, or as the configuration says."""
        prior, config = setting
        return self.problem(config).course(prior, start).completed()

    def search(self, config):
        """Velocity in mm of the discrete search, excluded from the next timing."""
        from SPRCore.registration.level import completed

        return completed(self.problem(config).searched())

    def timed(self, setting, start=None):
        """A result and its row: errors, energy and times, without the preparation that is done once."""
        if setting[1].search and start is None:
            self.search(setting[1])
        self.problem(setting[1])
        watch = Watch()
        result = self.solve(setting, start)
        times = watch.read()
        return result, self.worth(result) | {"energy": last(result), "similarity": result.similarity} | times

    def field(self, result):
        """Displacement in RAS mm."""
        return Field.from_tensor_vox(result.displacement_vox.cpu(), self.affine)

    def worth(self, result):
        """Errors in voxels near a wall and away from it, or in mm in the liver and outside; folding."""
        field = self.field(result)
        folds = {"folding_percent": folding_percent(field), "mean_weight": float(result.weight.mean())}
        if self.phantom is not None:
            return errors(self.phantom, field) | folds
        return (landmark_errors(self.pair, field) if self.pair is not None else {}) | folds

    @property
    def true_velocity_mm(self):
        """Logarithm of the true displacement, or None where that is not known."""
        if self.phantom is None:
            return None
        velocity_vox = logarithm(self.phantom.displacement.to_tensor_vox().to(self.images[0].device))[0]
        return velocity_vox * velocity_vox.new_tensor(self.spacing).view(1, 3, 1, 1, 1)


def load(name, device="cpu"):
    """A case by its name, or None without its data."""
    if name in PHANTOMS:
        made = PHANTOMS[name]()
        return Case(name, made.fixed, made.moving, phantom=made, device=device)
    if name == "heart":
        paths = next(iter(hearts(1)), (None, None))[1] if (DATA / "acdc").exists() else None
        return paths and Case(name, read_volume(paths["fixed"]), read_volume(paths["moving"]), device=device)
    pair = next(liver_pairs(), None)
    return pair and Case(name, pair.fixed, pair.moving, pair=pair, device=device)


def loaded(names, device="cpu"):
    """Cases whose data are present; the others are printed."""
    for name in names:
        case = load(name, device)
        if case is None:
            print(f"left out {name}: its data are missing", flush=True)
        else:
            yield case


REGIONS = (("near", "away"), ("liver", "outside"), ("tre_liver", "tre_outside"))


def last(result):
    """Energy that was reached on the finest level."""
    return result.energies[-1][-1]


def region_errors(row):
    """The two errors of a row: near a wall and away from it, or in the liver and outside; None if unknown."""
    return next(((row[a], row[b]) for a, b in REGIONS if a in row), (None, None))

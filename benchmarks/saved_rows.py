"""Settings by name, versions of the solver, and saved rows that are not measured twice."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import torch

from SPRCore.errors import InputError
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
from SPRCore.regularization.priors import make_prior

RESULTS = Path("docs/results")
SOLVER, SEARCH = 1, 3
"""Versions of the results of the solver from rest and from the search. Increase a version when its results change; rows
of other versions are measured again. `test_the_results_of_the_solver_are_those_of_its_version` detects a change."""


def solver_version(setting=""):
    """Version of the solver for a setting."""
    return f"solver {SOLVER}, search {SEARCH}" if "@search" in setting else f"solver {SOLVER}"


VERSIONS = (solver_version(), solver_version("@search"))
"""Versions of current rows."""


_SETTINGS = (
    *("beta:0.1,1@velocity_voxels=3000", "uniform:1", "tv:0.3,30"),
    "beta:0.02,20@search;velocity_voxels=3000",  # with corrections at full resolution
)


def fingerprint():
    """Energies and similarities of small phantoms at settings that use every part of the solver."""
    from SPRCore.registration import register_instance
    from SPRCore.synthetic import sliding_cylinder, sliding_plates, sliding_thorax

    found = {}
    for make in (sliding_thorax, sliding_cylinder, sliding_plates):
        made = make(shape=(24, 20, 22), spacing=(8.0, 8.0, 8.0))
        images = made.fixed.to_tensor(), made.moving.to_tensor()
        for setting in _SETTINGS:
            prior, config = parse_setting(setting)
            solved = register_instance(*images, (8.0, 8.0, 8.0), prior, config)
            found[f"{make.__name__}|{setting}"] = (solved.energies[-1][-1], solved.similarity)
    return found


def parse_setting(text):
    """Prior and configuration of "beta:0.01,5", "beta:0.02,20@search" or "tv:0.3,30@window=7;steps=[6,6,6,6]".

    Raises:
        InputError: There is no such prior, or it does not take these values.
    """
    from SPRCore.registration import InstanceConfig

    setting, _, changes = text.partition("@")
    name, _, values = setting.partition(":")
    if name not in HYPERPARAMETERS:
        raise InputError("setting", got=repr(text), expected=f"one of: {', '.join(HYPERPARAMETERS)}")
    keys, numbers = HYPERPARAMETERS[name], values.split(",") if values else []
    if len(numbers) > len(keys):
        raise InputError("setting", got=repr(text), expected=f"{name}:{','.join(keys)}")
    try:
        prior = make_prior(name, {key: float(value) for key, value in zip(keys, numbers, strict=False)})
        words = [change for change in changes.split(";") if change]
        base = InstanceConfig.searching() if "search" in words else InstanceConfig()
        pairs = (change.split("=") for change in words if change != "search")
        parts = {key: json.loads(value) for key, value in pairs}
        parts = {key: tuple(value) if isinstance(value, list) else value for key, value in parts.items()}
        return prior, replace(base, **parts)
    except (ValueError, TypeError) as error:
        raise InputError("setting", got=repr(text), expected="PRIOR:NUMBER,NUMBER@FIELD=VALUE;FIELD=VALUE") from error


def known_settings(texts):
    """The valid settings, by name; the others are skipped with a printed reason."""
    known = {}
    for text in texts:
        try:
            known[text] = parse_setting(text)
        except InputError as error:
            print(f"left out {text}: {error}", flush=True)
    return known


class Watch:
    """Time passed, and time of all threads and child processes on the processor."""

    def __init__(self):
        self._start = self._now()

    def read(self):
        """Both, in seconds."""
        wall, processor = (now - start for now, start in zip(self._now(), self._start, strict=True))
        return {"seconds": wall, "processor_seconds": processor}

    @staticmethod
    def _now():
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter(), sum(os.times()[:4])


class Rows:
    """Rows of a results folder: `rows.json` holds them, and each is written as soon as it is measured.

    Args:
        folder: The folder; made if missing.
    """

    def __init__(self, folder):
        self.folder, self.path = folder, folder / "rows.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    def take(self, key, measure, version=None):
        """Return the saved row of a key; measure it if it is missing, failed or of another version of the solver."""
        row = self.rows.get(key)
        if row is None or "failed" in row or row.get("version") != version:
            print(f"{key} ...", flush=True)
            row = measure() | ({"version": version} if version else {})
            self.rows[key] = row
            self._save()
        return row

    def shown(self, versions=VERSIONS):
        """Rows of other methods, and those of the current solver."""
        return {key: row for key, row in self.rows.items() if "version" not in row or row["version"] in versions}

    def write(self, table):
        """Write the table beside the rows, and print it."""
        (self.folder / "table.md").write_text(table, encoding="utf-8")
        print(table)

    def publish(self, table, figure):
        """Write the table of the current rows, and the figure if there are any."""
        from SPRCore.analysis.figures import save_figure

        shown = self.shown()
        self.write(table(shown))
        if shown:
            save_figure(figure(shown), self.folder / "figure.png")

    def _save(self):
        partial = self.path.with_suffix(".part")
        partial.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)


def markdown(columns, lines):
    """A table as Markdown; None is an empty cell."""
    cells = [columns, ["---"] * len(columns), *lines]
    return (
        "\n".join("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in cells) + "\n"
    )

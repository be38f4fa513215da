"""Images, labels and lists of small data sets on disk, and recipes for them."""

from __future__ import annotations

import csv
import logging

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.training.data import build_datasets
from SPRCore.training.recipe import Recipe

SHAPE, AFFINE = (18, 17, 16), np.diag([2.0, 2.0, 2.0, 1.0])


def image(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def labels(seed, members=(1, 2, 3), shape=SHAPE):
    return np.random.default_rng(seed + 99).choice([0, *members], shape).astype(np.int16)


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, affine), path)


def recipe_for(folder, dataset, preprocessing=None, **data):
    values = {
        "name": "layout",
        "data": {"dataset": dataset, "folder": str(folder), "cache": str(folder / ".cache")}
        | {"split": {"validation": 1, "test": 1}}
        | data,
        "preprocessing": preprocessing or {},
        "model": "vxm-spr-small",
        "optimiser": {"epochs": 1},
    }
    return Recipe.from_dict(values)


def problems_of(recipe, caplog):
    caplog.clear()
    with caplog.at_level(logging.ERROR, "SPRCore"), pytest.raises(InputError):
        build_datasets(recipe)
    return [record.getMessage() for record in caplog.records]


def read_rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)

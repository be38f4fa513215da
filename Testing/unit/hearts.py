"""A small cohort of hearts in the layout of ACDC, and recipes for it."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.training.data import build_datasets
from SPRCore.training.recipe import Recipe

AFFINE = np.array([[-1.5, 0, 0, 20], [0, 0, 2.0, -30], [0, 1.5, 0, 5], [0, 0, 0, 1.0]])  # axes to L, S, A


def heart(seed, shape=(24, 22, 6), scale=1.0):
    """An image with a bright spot off the middle, and labels that tell its parts."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    radius = np.sqrt((x - 8) ** 2 + (y - 12) ** 2 + 4 * (z - 3) ** 2) / scale
    image = np.exp(-((radius / 4) ** 2)) * 800 + 20 * rng.random(shape)
    labels = np.select([radius < 2, radius < 4, (radius < 6) & (x < 8)], [3, 2, 1]).astype(np.uint8)
    return image.astype(np.int16), labels


def write_patient(folder, name, seed):
    frames = {"ED": (1, 1.0), "ES": (11, 0.6)}
    patient = folder / name
    patient.mkdir(parents=True)
    (patient / "Info.cfg").write_text("ED: 1\nES: 11\nGroup: NOR\nHeight: 180.0\n")
    for number, (frame, scale) in enumerate(frames.values()):
        image, labels = heart(10 * seed + number, scale=scale)
        write_volume(Volume(image, AFFINE), patient / f"{name}_frame{frame:02d}.nii.gz")
        write_volume(Volume(labels, AFFINE), patient / f"{name}_frame{frame:02d}_gt.nii.gz")


def recipe_for(folder, **parts):
    values = {
        "name": "heart",
        "data": {
            "dataset": "acdc",
            "folder": str(folder),
            "cache": str(folder.parent / "cache"),
            "split": {"validation": 1, "test": 1},
        },
        "preprocessing": {"shape": [16, 18, 16], "crop": "labels"},
        "model": "vxm-spr-small",
        "optimiser": {"epochs": 1},
    }
    for key, value in parts.items():
        values[key] = values.get(key, {}) | value
    return Recipe.from_dict(values)


def problems_of(recipe, caplog):
    """Lines that a refused cohort gives, and the message of the refusal."""
    caplog.clear()
    with caplog.at_level(logging.ERROR, "SPRCore"), pytest.raises(InputError) as caught:
        build_datasets(recipe)
    assert "\n" not in str(caught.value)
    return [record.getMessage() for record in caplog.records], str(caught.value)


def data_of(folder, **split):
    values = {"dataset": "acdc", "folder": str(folder), "cache": str(folder.parent / "cache")}
    return values | ({"split": split} if split else {})

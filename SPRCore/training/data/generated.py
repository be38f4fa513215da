"""Synthetic pairs, generated on first use and determined by the seed."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from SPRCore.config import encode
from SPRCore.geometry import MaskedVolume, Volume, ras_to_voxel
from SPRCore.io.cards import Preprocessing
from SPRCore.io.samples import Sample, write_sample
from SPRCore.registration.working import prepared
from SPRCore.synthetic import Phantom, beating_heart, scene, shape_pair
from SPRCore.training.data.cases import Pair
from SPRCore.training.data_config import GeneratedConfig

_CONTRACTION = (0.2, 0.4)  # ejection fractions of about 40 to 70 %
_STREAM = {"train": 0, "validation": 1, "test": 2}
_VERSION = 1  # of the generation; part of the name of a folder of written samples
_THINNEST, _THICKEST = 16, 32  # voxels of a slab
MAX_BYTES = 2**30
"""Memory of a process for generated samples: generating one takes longer than training on it."""


def generated_pairs(config: GeneratedConfig, part: str) -> tuple[Pair, ...]:
    """Return the names of the pairs of a set, "train", "validation" or "test"."""
    names = [f"{part}-{number:05d}" for number in range(getattr(config, part))]
    return tuple(Pair(f"{name}_moving", f"{name}_fixed") for name in names)


def generated_labels(config: GeneratedConfig) -> tuple[int, ...]:
    """Return the labels of the pairs without 0."""
    count = {"heart": 4, "shapes": config.labels, "scenes": config.scene.labels}[config.kind]
    return tuple(range(1, count))


class GeneratedSource:
    """Samples of synthetic pairs; the latest are cached, up to `MAX_BYTES`.

    Args:
        config: The synthetic data.
        preprocessing: Intensity preprocessing.
        seed: Seed of all pairs.
    """

    def __init__(self, config: GeneratedConfig, preprocessing: Preprocessing, seed: int) -> None:
        self._config, self._preprocessing, self._seed = config, preprocessing, seed
        self._cache: OrderedDict[str, Sample] = OrderedDict()

    def load(self, name: str) -> Sample:
        """Return the sample of a case named by `generated_pairs`."""
        if name not in self._cache:
            pair = name.rsplit("_", 1)[0]
            part, number = pair.split("-")
            phantom = self._phantom(part, int(number))
            for role in ("moving", "fixed"):
                self._cache[f"{pair}_{role}"] = self._sample(phantom, role)
            self._evict()
        self._cache.move_to_end(name)
        return self._cache[name]

    def write(self, names: Iterable[str], folder: Path) -> dict[str, Path]:
        """Write the samples of cases into a folder named by the settings in `folder`, without those already there.

        Returns:
            The file of each case (`OutputError` if one cannot be written).
        """
        settings = [encode(self._config), encode(self._preprocessing), self._seed, _VERSION]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        paths = {name: folder / f"generated-{digest[:12]}" / f"{name}.safetensors" for name in names}
        for name, path in paths.items():
            if not path.is_file():
                write_sample(self.load(name), path)
        return paths

    def _evict(self) -> None:
        sizes = [sample.image.nbytes + sample.labels.nbytes for sample in self._cache.values()]
        while sum(sizes) > MAX_BYTES and len(sizes) > 2:
            self._cache.popitem(last=False)
            del sizes[0]

    def _phantom(self, part: str, number: int) -> Phantom:
        config = self._config
        rng = np.random.default_rng([self._seed, _STREAM[part], number])
        seed = int(rng.integers(2**31))
        if config.kind == "scenes":
            shape = list(config.shape)
            if part == "train" and rng.random() < config.thin:
                shape[2] = int(rng.integers(_THINNEST, min(_THICKEST, config.shape[2]) + 1))
            return scene(config.scene, shape=shape, spacing=config.spacing_mm, seed=seed)
        shared = {"shape": config.shape, "spacing": config.spacing_mm, "noise": config.noise, "seed": seed}
        if config.kind == "heart":
            return beating_heart(contraction=float(rng.uniform(*_CONTRACTION)), **shared)
        sizes = {"labels": config.labels, "scale_mm": config.scale_mm, "amplitude_mm": config.amplitude_mm}
        return shape_pair(**sizes, **shared)

    def _sample(self, phantom: Phantom, role: str) -> Sample:
        volume: Volume = getattr(phantom, role)
        return Sample(
            image=prepared(MaskedVolume.whole(volume), [self._preprocessing], role)[0].array,
            labels=getattr(phantom, f"{role}_labels").array.astype(np.int16),
            points=ras_to_voxel(getattr(phantom, f"{role}_points"), volume.affine).astype(np.float32),
            affine=volume.affine,
        )

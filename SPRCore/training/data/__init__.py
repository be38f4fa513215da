"""Images for training: layouts of data sets, splits, checks, preparation, pairs and their order."""

from __future__ import annotations

from .build import Datasets, build_datasets
from .cases import Case, Pair, Sample, Source
from .dataset import PairDataset
from .sampler import EpochSampler

__all__ = ["Case", "Datasets", "EpochSampler", "Pair", "PairDataset", "Sample", "Source", "build_datasets"]

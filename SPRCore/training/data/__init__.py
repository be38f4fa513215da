"""Images for training: layouts of data sets, splits, checks, preparation, pairs and their order."""

from __future__ import annotations

from SPRCore.training.data.build import Datasets, build_datasets
from SPRCore.training.data.cases import Case, Pair, Sample, Source
from SPRCore.training.data.dataset import PairDataset
from SPRCore.training.data.sampler import EpochSampler

__all__ = ["Case", "Datasets", "EpochSampler", "Pair", "PairDataset", "Sample", "Source", "build_datasets"]

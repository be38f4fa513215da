"""Images for training: layouts of data sets, splits, checks, preparation, pairs and their order."""

from __future__ import annotations

from SPRCore.io.samples import Sample
from SPRCore.training.data.build import build_datasets
from SPRCore.training.data.cases import Case, Pair
from SPRCore.training.data.dataset import PairDataset
from SPRCore.training.data.sampler import EpochSampler

__all__ = ["Case", "EpochSampler", "Pair", "PairDataset", "Sample", "build_datasets"]

"""Baseline methods: two images on one grid in, a displacement out."""

from __future__ import annotations

from SPRCore.baselines.baseline import Baseline
from SPRCore.baselines.deeds import Deeds
from SPRCore.baselines.demons import Demons
from SPRCore.baselines.syn import Syn

__all__ = ["BASELINES", "Baseline"]

BASELINES: dict[str, Baseline] = {
    "syn": Syn(),
    "syn-cc": Syn(metric="CC", sampling=4, iterations=(100, 70, 50, 20), gradient_step=0.1),
    "demons": Demons(),
    "deeds": Deeds(),
    "deeds:body": Deeds(grid=(8, 7, 6, 5, 4), search=(8, 7, 6, 5, 4)),
}
"""Baselines by name: `syn` has the defaults of antspyx, `syn-cc` the settings of the paper; the two of deeds those of
the paper for brains and hearts and for whole bodies."""

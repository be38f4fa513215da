"""Merging of labels into groups."""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.training.label_names import GROUPINGS
from SPRCore.typing import LabelArray

_MAX_LABEL = int(np.iinfo(np.int16).max)


def grouped(labels: LabelArray, grouping: str | None) -> LabelArray:
    """Merge labels (X, Y, Z) into the groups 1, 2, … of a grouping, 0 outside of all groups; int16.

    Raises:
        InputError: Labels below 0 or above 32767.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > _MAX_LABEL:
        raise InputError("labels", got=f"{low} to {high}", expected=f"0 to {_MAX_LABEL}")
    if grouping is None:
        return labels.astype(np.int16)
    table = np.zeros(max(high, *(max(members) for members in GROUPINGS[grouping].values())) + 1, dtype=np.int16)
    for number, members in enumerate(GROUPINGS[grouping].values(), start=1):
        table[list(members)] = number
    return table[labels]

"""From items of a data set to pairs on a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from SPRCore.training.losses import Pair
from SPRCore.typing import Images, Tensor

Item = dict[str, Any]


def pair_of(item: Item, labels: tuple[int, ...], device: torch.device) -> Pair:
    """Bring an item of a `PairDataset` to a device.

    Args:
        item: The item.
        labels: Labels that count.
        device: Where to compute.

    Returns:
        The pair.
    """
    moved = {name: value.to(device, non_blocking=True) for name, value in item.items() if isinstance(value, Tensor)}
    maps = {name: moved[name][None, None] for name in ("moving_labels", "fixed_labels") if name in moved}
    points = {name: moved[name] for name in ("moving_points", "fixed_points") if name in moved}
    dx, dy, dz = item["spacing"].tolist()
    moving, fixed = item["names"]
    return Pair(
        moving=moved["moving"][None],
        fixed=moved["fixed"][None],
        spacing=(dx, dy, dz),
        labels=labels,
        names=(moving, fixed),
        **maps,
        **points,
    )


def stacked(pairs: Sequence[Pair]) -> tuple[Images, Images]:
    """Put the images of pairs into one batch.

    Args:
        pairs: One or more pairs on grids of one shape.

    Returns:
        Moving and fixed images, shape (B, C, X, Y, Z).
    """
    return torch.cat([pair.moving for pair in pairs]), torch.cat([pair.fixed for pair in pairs])


def as_list(items: list[Item]) -> list[Item]:
    """Leave the items of a batch as they are: labels and landmarks differ in kind and number from pair to pair."""
    return items

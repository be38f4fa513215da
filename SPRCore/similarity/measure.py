"""The similarities to choose from, by name, for solver, training and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from SPRCore.config import check_name
from SPRCore.similarity.features import FixedFeatures
from SPRCore.similarity.lncc import FixedStatistics, lncc, window_radius
from SPRCore.similarity.mind import MIND_REACH, mind_ssc
from SPRCore.typing import Images, Scalars, Tensor

SimilarityName: TypeAlias = Literal["lncc", "mind", "mse"]
SIMILARITIES: tuple[str, ...] = ("lncc", "mind", "mse")
"""Squared local correlation (one contrast), MIND descriptors (different contrasts), mean squares (one scanner)."""

FixedImage: TypeAlias = FixedStatistics | FixedFeatures
"""A fixed image prepared for comparisons: ``compare``, ``within``, ``attainable``, ``informs``, ``total``, ``mask``."""

_MIND_FLOOR = 1e-4
"""Least local variance of a descriptor: those of constant images do not vary."""


def check_similarity(name: str) -> str:
    """Return the name of a similarity.

    Raises:
        InputError: It is unknown.
    """
    check_name(name, SIMILARITIES, "similarity")
    return name


def features(similarity: str, image: Images, spacing: Sequence[float]) -> Images:
    """Return what the similarity compares: MIND descriptors, 12 for each channel, or the image itself."""
    return mind_ssc(image, spacing=spacing) if similarity == "mind" else image


def fixed_side(
    similarity: str,
    described: Images,
    spacing: Sequence[float],
    window: int,
    mask: Scalars | None = None,
    floor: float | Tensor | None = None,
) -> FixedImage:
    """Prepare the ``features`` of a fixed image for comparisons with those of moving images on its grid.

    Args:
        similarity: "lncc", "mind" or "mse".
        described: Features of the fixed image, shape (B, C, X, Y, Z); of images they are about [0, 1].
        spacing: Voxel size along each axis, in mm.
        window: Window in voxels of the finest axis, odd.
        mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z), or None.
        floor: Least variance of a window with more than noise, see ``common_floor``; None for that of ``lncc``.
    """
    radius = window_radius(window, spacing)
    floors = {} if floor is None else {"floor": floor}
    if similarity == "lncc":
        return FixedStatistics.of(described, radius, mask, **floors)
    if similarity == "mse":
        return FixedFeatures.of(described, radius, mask, **floors)
    return FixedFeatures.of(described, radius, mask, _MIND_FLOOR, noisy=False)


def reach_of(similarity: str, window: int, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return how far from a voxel, along each axis, voxels of the image affect the similarity there, in voxels."""
    if similarity == "lncc":
        return window_radius(window, spacing)
    return (0, 0, 0) if similarity == "mse" else MIND_REACH


def dissimilarity(similarity: str, fixed: Images, warped: Images, spacing: Sequence[float], window: int = 9) -> Tensor:
    """Minus the mean similarity of two batches of images, which training minimizes; differentiable in ``warped``.

    The same measure as that of the instance solver, with the features of the warped image computed after the warp.
    """
    if similarity == "lncc":
        return -lncc(fixed, warped, window, spacing)
    side = fixed_side(similarity, features(similarity, fixed, spacing), spacing, window)
    difference = (side.image - features(similarity, warped, spacing)).square().mean(dim=1, keepdim=True)
    return (difference / (2.0 * side.variance)).mean() - 1.0

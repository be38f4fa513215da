"""Mean squared difference of two images."""

from __future__ import annotations

from SPRCore.typing import Images, Masks, Scalars, Tensor


def mse(fixed: Images, warped: Images, mask: Scalars | Masks | None = None) -> Tensor:
    """Mean squared difference, for images of one modality and one intensity scale, or for their descriptors.

    Differentiable with respect to both images, shape (B, C, X, Y, Z). The mask, shape (B, 1, X, Y, Z), selects the
    voxels that count (nonzero); the value is 0 for an empty mask.
    """
    squared = (fixed - warped).square()
    if mask is None:
        return squared.mean()
    inside = (mask != 0).to(squared.dtype)
    return (squared * inside).sum() / (inside.sum() * squared.shape[1]).clamp(min=1.0)

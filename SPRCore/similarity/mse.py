"""Mean squared difference of two images."""

from __future__ import annotations

from SPRCore.typing import Images, Masks, Scalars, Tensor


def mse(fixed: Images, warped: Images, mask: Scalars | Masks | None = None) -> Tensor:
    """Mean squared difference, for images of one modality and one intensity scale, or for their descriptors.

    Differentiable with respect to both images.

    Args:
        fixed: Fixed image, shape (B, C, X, Y, Z).
        warped: Warped moving image, same shape.
        mask: Voxels that count (nonzero), shape (B, 1, X, Y, Z), or None for all.

    Returns:
        Scalar ≥ 0, a mean over channels and voxels; 0 for an empty mask.
    """
    squared = (fixed - warped).square()
    if mask is None:
        return squared.mean()
    inside = (mask != 0).to(squared.dtype)
    return (squared * inside).sum() / (inside.sum() * squared.shape[1]).clamp(min=1.0)

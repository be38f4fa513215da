"""Numerical inversion of displacement fields without a velocity."""

from __future__ import annotations

import torch

from SPRCore.functional.warp import compose, warp
from SPRCore.typing import Vectors


def invert(displacement_vox: Vectors, iterations: int = 50, tolerance_vox: float = 1e-3) -> tuple[Vectors, float]:
    r"""Invert a displacement by fixed-point iteration: :math:`q \leftarrow -u(x + q(x))`.

    The iteration contracts if the Lipschitz constant of u is below one; steps are halved where the residual of a voxel
    grows, which makes it converge for the steeper fields of practice.

    Args:
        displacement_vox: Displacement u, shape (B, 3, X, Y, Z), in voxels.
        iterations: Maximum number of iterations.
        tolerance_vox: Stop when the largest residual is below this many voxels.

    Returns:
        The inverse displacement q, same shape, in voxels, and its residual :math:`\max_x |q(x) + u(x + q(x))|` in
        voxels, measured on the returned field over the voxels mapped into the grid.

    References:
        Chen et al., Medical Physics 2008, doi:10.1118/1.2816107.
    """
    inverse = -displacement_vox
    step = torch.ones_like(inverse[:, :1])
    previous = torch.full_like(step, float("inf"))
    for _ in range(iterations):
        error = compose(inverse, displacement_vox)
        size = error.norm(dim=1, keepdim=True)
        if _largest_inside(size, inverse) < tolerance_vox:
            break
        step = torch.where(size > previous, 0.5 * step, (1.1 * step).clamp(max=1.0))
        previous = size
        inverse = inverse - step * error
    error = compose(inverse, displacement_vox).norm(dim=1, keepdim=True)
    return inverse, _largest_inside(error, inverse)


def _largest_inside(size: torch.Tensor, inverse: Vectors) -> float:
    # The inverse of a voxel whose preimage is outside the grid is undefined: the field is unknown there.
    inside = warp(torch.ones_like(size), inverse, padding="zeros") > 0.999
    return float((size * inside).amax())

"""Pure functions of tensors in voxel units: sampling, composition, integration, derivatives, filters."""

from SPRCore.functional.boxes import BoxSlabs, box_sum
from SPRCore.functional.derivative import (
    central_difference,
    gradient,
    jacobian_determinant,
    vector_jacobian_product,
)
from SPRCore.functional.filters import box_count, box_mean, gaussian_smooth, mirrored_box_mean
from SPRCore.functional.integrate import integrate, integrate_quickly, sufficient_steps
from SPRCore.functional.invert import invert
from SPRCore.functional.logarithm import logarithm
from SPRCore.functional.memory import kept_memory, trim_memory
from SPRCore.functional.modes import plain_modes
from SPRCore.functional.resize import resize, resize_displacement, step_ratio
from SPRCore.functional.warp import compose, sample, sample_lattice, warp

__all__ = [
    "BoxSlabs",
    "box_count",
    "box_mean",
    "box_sum",
    "central_difference",
    "compose",
    "gaussian_smooth",
    "gradient",
    "integrate",
    "integrate_quickly",
    "invert",
    "jacobian_determinant",
    "kept_memory",
    "logarithm",
    "mirrored_box_mean",
    "plain_modes",
    "resize",
    "resize_displacement",
    "sample",
    "sample_lattice",
    "step_ratio",
    "sufficient_steps",
    "trim_memory",
    "vector_jacobian_product",
    "warp",
]

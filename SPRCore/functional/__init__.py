"""Pure functions of tensors in voxel units: sampling, composition, integration, derivatives, filters."""

from .boxes import BoxSlabs, box_sum
from .derivative import (
    central_difference,
    determinant_3x3,
    forward_difference,
    gradient,
    jacobian,
    jacobian_determinant,
    vector_jacobian_product,
)
from .filters import box_count, box_mean, gaussian_smooth, mirrored_box_mean
from .integrate import integrate, integrate_quickly, sufficient_steps
from .invert import invert
from .logarithm import logarithm
from .memory import kept_memory, trim_memory
from .modes import plain_modes
from .resize import resize, resize_displacement, step_ratio
from .warp import compose, sample, sample_lattice, sampling_grid, warp

__all__ = [
    "BoxSlabs",
    "box_count",
    "box_mean",
    "box_sum",
    "central_difference",
    "compose",
    "determinant_3x3",
    "forward_difference",
    "gaussian_smooth",
    "gradient",
    "integrate",
    "integrate_quickly",
    "invert",
    "jacobian",
    "jacobian_determinant",
    "kept_memory",
    "logarithm",
    "mirrored_box_mean",
    "plain_modes",
    "resize",
    "resize_displacement",
    "sample",
    "sample_lattice",
    "sampling_grid",
    "step_ratio",
    "sufficient_steps",
    "trim_memory",
    "vector_jacobian_product",
    "warp",
]

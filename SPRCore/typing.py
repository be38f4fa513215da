"""Shapes of tensors and arrays in signatures; checked in tests through jaxtyping, plain aliases where it is absent.

Axis order is (B, C, X, Y, Z) and the components of a vector field are in axis order: component 0 moves along X.
"""

from __future__ import annotations

import numpy as np
import torch

Tensor = torch.Tensor

try:
    from jaxtyping import Bool, Float, Integer, Shaped
except ImportError:  # inside Slicer: the names document, nothing is checked
    Images = Scalars = Vectors = Jacobians = Masks = Tensor
    Array3D = Array4D = Affine = Points = LabelArray = np.ndarray
else:
    Images = Float[Tensor, "B C X Y Z"]
    Scalars = Float[Tensor, "B 1 X Y Z"]
    Vectors = Float[Tensor, "B 3 X Y Z"]
    Jacobians = Float[Tensor, "B 3 3 X Y Z"]
    Masks = Bool[Tensor, "B 1 X Y Z"]
    Array3D = Shaped[np.ndarray, "X Y Z"]
    Array4D = Float[np.ndarray, "X Y Z 3"]
    Affine = Float[np.ndarray, "4 4"]
    Points = Float[np.ndarray, "N 3"]
    LabelArray = Integer[np.ndarray, "X Y Z"]

__all__ = [
    "Affine",
    "Array3D",
    "Array4D",
    "Images",
    "Jacobians",
    "LabelArray",
    "Masks",
    "Points",
    "Scalars",
    "Tensor",
    "Vectors",
]

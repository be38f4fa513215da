"""Phantoms with an exactly known displacement, for tests, examples and benchmarks."""

from __future__ import annotations

from SPRCore.synthetic.cylinder import sliding_cylinder
from SPRCore.synthetic.heart import beating_heart
from SPRCore.synthetic.phantom import Phantom
from SPRCore.synthetic.plates import sliding_plates
from SPRCore.synthetic.random import random_diffeomorphism, shape_pair
from SPRCore.synthetic.scenes import SceneConfig, scene
from SPRCore.synthetic.thorax import sliding_thorax

__all__ = [
    "Phantom",
    "SceneConfig",
    "beating_heart",
    "random_diffeomorphism",
    "scene",
    "shape_pair",
    "sliding_cylinder",
    "sliding_plates",
    "sliding_thorax",
]

"""Phantoms whose true displacement is known exactly, for tests, examples and honest comparisons."""

from __future__ import annotations

from SPRCore.synthetic.cylinder import sliding_cylinder
from SPRCore.synthetic.heart import beating_heart
from SPRCore.synthetic.phantom import Phantom
from SPRCore.synthetic.plates import sliding_plates
from SPRCore.synthetic.random import random_diffeomorphism, shape_cohort
from SPRCore.synthetic.scenes import SceneConfig, scene
from SPRCore.synthetic.thorax import sliding_thorax

__all__ = [
    "Phantom",
    "SceneConfig",
    "beating_heart",
    "random_diffeomorphism",
    "scene",
    "shape_cohort",
    "sliding_cylinder",
    "sliding_plates",
    "sliding_thorax",
]

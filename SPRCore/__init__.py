"""Deformable registration of 3-D medical images with spatially varying regularization.

The public names below are loaded on first use, so that ``import SPRCore`` stays cheap and pulls in no reader, no
plotting and no optional library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from SPRCore.lazy import lazy_names

if TYPE_CHECKING:
    from SPRCore.api import RegistrationOptions, load_model, register
    from SPRCore.geometry import Annotations, Field, Volume
    from SPRCore.io import read_labels, read_landmarks, read_volume, write_volume
    from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

__version__ = "0.1.0"

__all__ = [
    "Annotations",
    "BetaPrior",
    "Field",
    "GaussianPrior",
    "RegistrationOptions",
    "TotalVariationPrior",
    "UniformPrior",
    "Volume",
    "__version__",
    "load_model",
    "read_labels",
    "read_landmarks",
    "read_volume",
    "register",
    "write_volume",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "geometry": ("Annotations", "Field", "Volume"),
        "regularization": ("BetaPrior", "GaussianPrior", "TotalVariationPrior", "UniformPrior"),
        "api": ("RegistrationOptions", "load_model", "register"),
        "io": ("read_labels", "read_landmarks", "read_volume", "write_volume"),
    },
)

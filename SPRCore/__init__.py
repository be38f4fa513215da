"""Deformable registration of 3-D medical images with spatially varying regularization.

The public names below are loaded on first use, so that ``import SPRCore`` stays cheap and pulls in no reader, no
plotting and no optional library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SPRCore.api import RegistrationOptions, load_model, register
    from SPRCore.geometry import Annotations, Field, Volume
    from SPRCore.io import read_labels, read_landmarks, read_volume, write_volume
    from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

__version__ = "0.1.0"

_HOME = {
    "Annotations": "SPRCore.geometry",
    "BetaPrior": "SPRCore.regularization",
    "Field": "SPRCore.geometry",
    "GaussianPrior": "SPRCore.regularization",
    "RegistrationOptions": "SPRCore.api",
    "TotalVariationPrior": "SPRCore.regularization",
    "UniformPrior": "SPRCore.regularization",
    "Volume": "SPRCore.geometry",
    "load_model": "SPRCore.api",
    "read_labels": "SPRCore.io",
    "read_landmarks": "SPRCore.io",
    "read_volume": "SPRCore.io",
    "register": "SPRCore.api",
    "write_volume": "SPRCore.io",
}

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


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

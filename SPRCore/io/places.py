"""Folders and file names of model bundles. Standard library only: 3D Slicer imports it before installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SUFFIX = ".sprmodel.safetensors"
"""Suffix of the file name of a bundle."""


def user_folder(variable: str, name: str) -> Path:
    """Return the folder in an environment variable if set, otherwise `spr/NAME` in the cache folder of the system."""
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spr" / name


def models_folder() -> Path:
    """Return the user's folder of models: `SPR_MODELS` if set, otherwise one in the system's cache folder."""
    return user_folder("SPR_MODELS", "models")


def packaged_folder() -> Path:
    """Return the folder of the models in the package, which may be absent."""
    return Path(__file__).resolve().parents[1] / "models"

"""Stand-ins of the two modules of Slicer's Python that `SPRRegistrationLib` uses and no package provides."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import slicer


def install() -> None:
    """Make `slicer.i18n` and `slicer.parameterNodeWrapper` importable where Slicer does not provide them."""
    if "slicer.parameterNodeWrapper" in sys.modules or importlib.util.find_spec("slicer.parameterNodeWrapper"):
        return
    from SPRExplorer import parameter_nodes

    names = ("parameterNodeWrapper", "WithinRange")
    _add("i18n", tr=lambda text: text, translate=lambda context, text: text)
    _add("parameterNodeWrapper", **{name: getattr(parameter_nodes, name) for name in names})


def _add(name: str, **contents: Any) -> None:
    module = types.ModuleType(f"slicer.{name}")
    vars(module).update(contents)
    sys.modules[f"slicer.{name}"] = module
    setattr(slicer, name, module)

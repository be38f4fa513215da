"""Makes `harness` importable for the tests of the module of 3D Slicer, and scenes for them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def scene():
    """An empty scene with Slicer's logics."""
    from harness import core

    scene, application = core.make_scene()
    yield scene
    scene.Clear(True)
    del application

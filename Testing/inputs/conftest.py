"""Makes the modules beside this file importable by their own names."""

from __future__ import annotations

import locale
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(autouse=True)
def locale_of_before():
    """SimpleITK's writer of DICOM files sets the locale of the process to "C" and leaves it so."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)

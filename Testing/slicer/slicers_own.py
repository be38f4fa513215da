"""Runs Slicer's own tests of parameter nodes and connectors on the stand-in widgets, and says what became of them.

With `SLICER_SOURCE` naming a checkout: python slicers_own.py NAME..., where a name is that of a file of tests.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import slicer
from harness import application, core


def run(name):
    """Run one file of tests.

    Returns:
        How many tests there are, and the names of those that fail.
    """
    path = Path(core.SOURCE) / "Base" / "Python" / "slicer" / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromModule(module))
    return result.testsRun, [test.id().split(".")[-1] for test, _why in (*result.failures, *result.errors)]


if __name__ == "__main__":
    application.start()
    sys.modules["MRMLCorePython"] = slicer  # where slicer-core has its classes
    sys.stdout.write(json.dumps({name: run(name) for name in sys.argv[1:]}) + "\n")

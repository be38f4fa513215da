"""The plugin of `make test-fast`: which tests it leaves out, and that the parts are all of the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import fast_tests
import imports
import pytest


@pytest.fixture
def collected(tmp_path):
    """Names of the tests that remain of three files, with these options."""
    for name in "abc":
        (tmp_path / f"test_{name}.py").write_text(f"def test_{name}(): pass\ndef test_long_{name}(): pass\n")

    def collect(*options):
        command = [sys.executable, "-m", "pytest", "-p", "fast_tests", "--collect-only", "-q", str(tmp_path), *options]
        folder = {"PYTHONPATH": str(imports.ROOT / "tools")}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | folder, capture_output=True, text=True, check=False
        )
        return {line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line}

    return collect


def test_parts_are_disjoint_and_complete(collected):
    parts = [collected("--part", f"{index}/2") for index in (1, 2)]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == collected()
    assert len(collected()) == 6


def test_long_functions_are_listed_and_others_stay(tmp_path):
    path = tmp_path / "durations.txt"
    fast_tests.write_durations({"a.py::test_long": 2.0, "a.py::test_short": 0.5, "b.py::test_other": 3.0}, path)
    fast_tests.write_durations({"a.py::test_long": 0.1, "c.py::test_new": 1.5}, path)
    assert fast_tests.read_durations(path) == {"b.py::test_other": 3.0, "c.py::test_new": 1.5}
    assert fast_tests.function_of("a.py::test_x[case::1]") == "a.py::test_x"

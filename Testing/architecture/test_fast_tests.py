"""The plugin of `make test` and `make test-fast`: what it leaves out, the order of the files, and what it measures."""

from __future__ import annotations

import os
import subprocess
import sys

import fast_tests
import imports
import pytest

MEASURED = {"a.py::test_long": 2.0, "a.py::test_short": 0.3, "b.py::test_other": 3.0, "b.py::test_short": 0.25}


@pytest.fixture
def run(tmp_path):
    """Run pytest with these options on three files; its lines."""
    for name in "abc":
        work = "sum(range(10**7))" if name == "c" else "None"
        (tmp_path / f"test_{name}.py").write_text(f"def test_{name}(): {work}\ndef test_other_{name}(): pass\n")

    def pytest_lines(durations, *options):
        command = [sys.executable, "-m", "pytest", "-p", "fast_tests", *options, "--durations-file", str(durations)]
        alone = {"PYTHONPATH": str(imports.ROOT / "tools"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | alone, capture_output=True, text=True, check=False
        )
        return done.stdout.splitlines()

    return pytest_lines


def collected(lines):
    return [line.partition("::")[2] for line in lines if "::" in line]


def test_long_functions_are_left_out_and_the_longest_file_comes_first(run, tmp_path):
    durations = tmp_path / "durations.txt"
    durations.write_text("# seconds\n4.0 test_b.py::test_b\n1.0 test_c.py\n2.0 test_a.py::test_a\n")
    everything = collected(run(durations, "--collect-only", "-q"))
    assert everything == ["test_b", "test_other_b", "test_a", "test_other_a", "test_c", "test_other_c"]
    assert collected(run(durations, "--collect-only", "-q", "--fast")) == [
        *("test_c", "test_other_c", "test_other_a", "test_other_b")
    ]


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2", "--dist", "loadfile")])
def test_processor_time_is_measured_in_every_process(run, tmp_path, workers):
    if workers:
        pytest.importorskip("xdist")
    durations = tmp_path / "durations.txt"
    assert any("6 passed" in line for line in run(durations, "-q", "--write-durations", *workers))
    assert any("test_c.py" in name for name in fast_tests.read_durations(durations))


def test_rows_of_measured_functions_and_files_are_replaced(tmp_path):
    path = tmp_path / "durations.txt"
    fast_tests.write_durations(MEASURED, path)
    assert fast_tests.read_durations(path) == {
        "a.py::test_long": 2.0,
        "a.py": 0.3,
        "b.py::test_other": 3.0,
        "b.py": 0.2,
    }
    fast_tests.write_durations({"a.py::test_long": 0.1, "c.py::test_new": 1.5}, path)
    assert fast_tests.read_durations(path) == {
        "a.py": 0.1,
        "b.py::test_other": 3.0,
        "b.py": 0.2,
        "c.py::test_new": 1.5,
    }


def test_a_case_belongs_to_its_function_and_file():
    assert fast_tests.function_of("a.py::test_x[case::1]") == "a.py::test_x"
    assert fast_tests.file_of("a.py::test_x[case::1]") == "a.py"
    order = ["a.py::test_long[1]", "a.py::test_long[2]", "b.py::test_other", "c.py::test_unknown"]
    assert fast_tests.longest_first(order, {"a.py::test_long": 2.0, "b.py::test_other": 3.0}) == [
        *("b.py", "a.py", "c.py")
    ]

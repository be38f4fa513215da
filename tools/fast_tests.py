"""pytest plugin of `make test-fast`: leaves out the tests that took long when they were measured, and divides the rest.

Testing/durations.txt lists the test functions whose cases took more than a second of processor time together. It is
renewed by ``PYTHONPATH=tools python -m pytest -p fast_tests --write-durations``, for the tests of that run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

DURATIONS = Path(__file__).resolve().parents[1] / "Testing" / "durations.txt"
LONG_SECONDS = 1.0
HEAD = "# Processor seconds of the test functions that `make test-fast` leaves out; see tools/fast_tests.py.\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("fast tests")
    group.addoption("--fast", action="store_true", help="leave out the tests of Testing/durations.txt")
    group.addoption("--part", default="1/1", metavar="I/N", help="run the I-th of N parts of the test files")
    group.addoption("--write-durations", action="store_true", help="measure, and renew Testing/durations.txt")


def function_of(nodeid: str) -> str:
    """Identifier of a test function without the parameters of the case."""
    return nodeid.partition("[")[0]


def read_durations(path: Path = DURATIONS) -> dict[str, float]:
    """Processor seconds of the long test functions."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = (line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    return {function: float(seconds) for seconds, function in rows}


def write_durations(measured: dict[str, float], path: Path = DURATIONS) -> None:
    """Replace the rows of the measured functions; those of others stay."""
    rows = {function: seconds for function, seconds in read_durations(path).items() if function not in measured}
    rows |= {function: seconds for function, seconds in measured.items() if seconds > LONG_SECONDS}
    path.write_text(HEAD + "".join(f"{seconds:.1f} {name}\n" for name, seconds in sorted(rows.items())), "utf-8")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the long tests, and the files of the other parts."""
    long = read_durations() if config.getoption("fast") else {}
    index, count = map(int, config.getoption("part").split("/"))
    files = sorted({item.path for item in items})
    mine = set(files[index - 1 :: count])
    kept = [item for item in items if item.path in mine and function_of(item.nodeid) not in long]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


class Durations:
    """Processor time of each test function, child processes included.

    Attributes:
        seconds: By function, sum of its cases.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure one case, its fixtures included."""
        before = sum(os.times()[:4])
        result = yield
        self.seconds[function_of(item.nodeid)] += sum(os.times()[:4]) - before
        return result

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        write_durations(self.seconds)


def pytest_configure(config: pytest.Config) -> None:
    """Measure where that is asked for."""
    if config.getoption("write_durations"):
        config.pluginmanager.register(Durations())

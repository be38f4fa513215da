"""pytest plugin of `make test` and `make test-fast`: begins with the files that take longest, leaves out long tests.

Testing/durations.txt has the processor seconds of the test functions above `LONG_SECONDS`, all cases together, and for
each file those of its other functions. `make durations` renews it; with arguments of pytest in TEST_ARGS, only for the
tests of that run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

DURATIONS = Path(__file__).resolve().parents[1] / "Testing" / "durations.txt"
LONG_SECONDS = 0.5
HEAD = "# Processor seconds of long test functions, and of the others in each file; see tools/fast_tests.py.\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("fast tests")
    group.addoption("--fast", action="store_true", help="leave out the long functions of the file of durations")
    group.addoption("--write-durations", action="store_true", help="measure, and renew the file of durations")
    group.addoption("--durations-file", default=str(DURATIONS), metavar="FILE", help="default: Testing/durations.txt")


def function_of(nodeid: str) -> str:
    """Identifier of a test function without the parameters of the case."""
    return nodeid.partition("[")[0]


def file_of(nodeid: str) -> str:
    """Path of the file of a test."""
    return nodeid.partition("::")[0]


def read_durations(path: Path) -> dict[str, float]:
    """Processor seconds of the long test functions and, by path, of the other functions of a file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = (line.split(maxsplit=1) for line in lines if not line.startswith("#"))
    return {name: float(seconds) for seconds, name in rows}


def write_durations(measured: Mapping[str, float], path: Path) -> None:
    """Replace the rows of the measured functions and their files; those of others stay."""
    files = {file_of(function) for function in measured}
    rows = {name: seconds for name, seconds in read_durations(path).items() if name not in files | measured.keys()}
    for function, seconds in measured.items():
        name = function if seconds > LONG_SECONDS else file_of(function)
        rows[name] = rows.get(name, 0.0) + seconds
    lines = [f"{seconds:.1f} {name}\n" for name, seconds in sorted(rows.items()) if seconds >= 0.05]
    path.write_text(HEAD + "".join(lines), encoding="utf-8")


def longest_first(nodeids: Iterable[str], durations: Mapping[str, float]) -> list[str]:
    """Files of the tests, that with the most processor seconds first."""
    functions = dict.fromkeys(function_of(nodeid) for nodeid in nodeids)
    seconds: dict[str, float] = {file_of(function): durations.get(file_of(function), 0.0) for function in functions}
    for function in functions:
        seconds[file_of(function)] += durations.get(function, 0.0)
    return sorted(seconds, key=lambda file: -seconds[file])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the long tests if that is asked for, and order the files."""
    durations = read_durations(Path(config.getoption("durations_file")))
    long = durations if config.getoption("fast") else {}
    config.hook.pytest_deselected(items=[item for item in items if function_of(item.nodeid) in long])
    items[:] = [item for item in items if function_of(item.nodeid) not in long]
    place = {file: number for number, file in enumerate(longest_first((item.nodeid for item in items), durations))}
    items.sort(key=lambda item: place[file_of(item.nodeid)])


class Durations:
    """Processor time of each test function, child processes included; of all workers where pytest-xdist runs them.

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

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker has measured."""
        for function, seconds in getattr(node, "workeroutput", {}).get("seconds", {}).items():
            self.seconds[function] += seconds

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file, or send the measurement of a worker."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["seconds"] = dict(self.seconds)
        else:
            write_durations(self.seconds, Path(session.config.getoption("durations_file")))


def pytest_configure(config: pytest.Config) -> None:
    """Measure where that is asked for."""
    if config.getoption("write_durations"):
        config.pluginmanager.register(Durations())

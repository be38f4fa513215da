"""The structure of the source: `python tools/structure.py [--picture FILE] [--counts] [--revision REV ...]`.

*--picture* draws the packages and what they import; *--counts* prints a Markdown table with a column for each
revision and one for the working tree. A revision is unpacked into a temporary folder by `git archive`; the packages
that it imports are those installed beside this Python.
"""

from __future__ import annotations

import argparse
import ast
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imports import ROOT, Module, read_modules

REPEATS = 5
STARTS = {
    "`import SPRCore`, processor seconds": ("import SPRCore",),
    "`spr --help`, processor seconds": ("from SPRCore.cli import main; main()", "--help"),
}


def classes(modules: Iterable[Module]) -> list[ast.ClassDef]:
    """Every class, nested ones included."""
    return [node for module in modules for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]


def dataclass_fields(found: Sequence[ast.ClassDef]) -> list[int]:
    """Number of fields of each dataclass and each msgspec.Struct, those of its bases not counted."""
    structs = {"Struct"}
    for _ in range(5):  # depth of inheritance
        structs |= {node.name for node in found if any(ast.unparse(b).split(".")[-1] in structs for b in node.bases)}
    return [
        sum(isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation) for item in node.body)
        for node in found
        if node.name in structs or any("dataclass" in ast.unparse(d) for d in node.decorator_list)
    ]


def public_names(module: Module) -> int:
    """Functions, classes and constants at the top of a module without a leading underscore; imports are none."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return sum(not name.startswith("_") for name in names)


def middle_and_tail(lengths: Sequence[int]) -> str:
    """Median and 95th percentile."""
    return f"{statistics.median(lengths):.0f} / {statistics.quantiles(lengths, n=20)[-1]:.0f}"


def count_source(modules: Mapping[str, Module]) -> dict[str, str]:
    """Rows of the table that need no other process."""
    sources = list(modules.values())
    lines = [module.text.splitlines() for module in sources]
    found = classes(sources)
    fields = dataclass_fields(found)
    twice = [name for name, count in Counter(node.name for node in found).items() if count > 1]
    functions = [
        node.end_lineno - node.lineno + 1
        for module in sources
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {
        "files": f"{len(sources)}",
        "lines": f"{sum(map(len, lines))}",
        "lines that are not blank": f"{sum(bool(line.strip()) for file in lines for line in file)}",
        "classes": f"{len(found)}",
        "dataclasses and structs (fields)": f"{len(fields)} ({sum(fields)})",
        "public top-level names": f"{sum(map(public_names, sources))}",
        "class names used more than once": f"{len(twice)}",
        "lines of a function, median / 95 %": middle_and_tail(functions),
        "lines of a file, median / 95 %": middle_and_tail([len(file) for file in lines]),
    }


def run_python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in a tree, with the packages of that tree."""
    path = os.pathsep.join(map(str, (root, root / "SPRRegistration")))
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=root, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


def count_tests(root: Path) -> str:
    """Test cases that pytest collects, and of them those not marked as slow; says so where it could not."""
    cells = []
    for marks in ("", "not slow"):
        done = run_python(
            root, "-m", "pytest", "--collect-only", "-q", "-m", marks, "-p", "no:cacheprovider", "Testing"
        )
        cases = sum("::" in line and not line.startswith(("ERROR", "FAILED")) for line in done.stdout.splitlines())
        cells.append(f"{cases}" if done.returncode == 0 else f"{cases}, with errors")
    return f"{cells[0]} ({cells[1]})"


def start_seconds(root: Path, code: str, *arguments: str) -> str:
    """Processor seconds of a whole process that runs the code, start of Python included: median of several."""
    seconds = []
    for _ in range(REPEATS):
        before = os.times()
        done = run_python(root, "-c", code, *arguments)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if done.returncode != 0:
            raise SystemExit(f"structure: {code!r} failed in {root}:\n{done.stderr}")
    return f"{statistics.median(seconds):.2f}"


def count(root: Path) -> dict[str, str]:
    """All rows of the table for one tree."""
    rows = count_source(read_modules(root))
    rows["test cases (without slow ones)"] = count_tests(root)
    return rows | {name: start_seconds(root, *start) for name, start in STARTS.items()}


def count_revision(revision: str) -> dict[str, str]:
    """All rows of the table for a revision of the repository."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "-C", str(ROOT), "archive", revision]
        archive = subprocess.run(command, capture_output=True, check=False)
        if archive.returncode != 0:
            raise SystemExit(f"structure: no revision {revision}: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        return count(Path(folder))


def markdown(columns: Mapping[str, Mapping[str, str]]) -> str:
    """The table: a row for each count, a column for each tree."""
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(column[name] for column in columns.values())] for name in next(iter(columns.values()))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Draw and count what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the import graph into this PNG")
    parser.add_argument("--counts", action="store_true", help="print the table; takes about a minute for each tree")
    parser.add_argument("--revision", action="append", default=[], metavar="REV", help="a column for this revision too")
    options = parser.parse_args()
    if options.picture:
        from picture import draw

        draw(options.picture)
    if options.counts or options.revision:
        columns = {revision: count_revision(revision) for revision in options.revision}
        print(markdown(columns | {"working tree": count(ROOT)}))
    elif not options.picture:
        parser.error("nothing to do: give --picture FILE, --counts or both")


if __name__ == "__main__":
    main()

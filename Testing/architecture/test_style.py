"""House rules that a linter does not know: lengths, documentation, annotations, and words that do not belong."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for folder in ("SPRCore", "SPRRegistration", "SPRExplorer") for path in (ROOT / folder).rglob("*.py")
)
WRITTEN = sorted(
    path
    for folder in ("SPRCore", "SPRRegistration", "SPRExplorer", "benchmarks", "Testing", "Training", "docs", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix != ".pyc"
) + [path for path in ROOT.iterdir() if path.is_file()]
MAX_FILE, MAX_FUNCTION = 400, 40
# Paths of somebody's machine; built from parts, so that this file does not hold them.
FORBIDDEN = re.compile("|".join(re.escape("/" + word + "/") for word in ("work", "root", "home")))


def functions(tree: ast.AST):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def public(tree: ast.Module):
    """Public functions and classes of a module, and the public methods of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (item for item in node.body if isinstance(item, kinds) and not item.name.startswith("_"))


def length(node: ast.AST) -> int:
    """Lines of a function, its docstring not counted."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    return node.end_lineno - node.lineno + 1 - (first.end_lineno - first.lineno + 1 if has_docstring else 0)


@pytest.fixture(params=SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request):
    return request.param


def test_files_and_functions_are_short(source):
    text = source.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE
    too_long = {node.name: length(node) for node in functions(ast.parse(text)) if length(node) > MAX_FUNCTION}
    assert not too_long


def test_everything_public_is_documented(source):
    tree = ast.parse(source.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    overloads = {n.name for n in public(tree) if "overload" in ast.dump(ast.List(elts=n.decorator_list))}
    bare = [node.name for node in public(tree) if not ast.get_docstring(node) and node.name not in overloads]
    assert not bare


def test_everything_is_annotated(source):
    for node in functions(ast.parse(source.read_text(encoding="utf-8"))):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [item.arg for item in arguments if item.annotation is None and item.arg not in ("self", "cls")]
        assert not bare, f"{node.name}: {bare}"
        assert node.returns is not None or node.name == "__init__", f"{node.name} has no return annotation"


def test_nothing_is_printed(source):
    calls = [n for n in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_a_machine_is_written_down(path):
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        pytest.skip("not a text file")
    assert not FORBIDDEN.search(text)

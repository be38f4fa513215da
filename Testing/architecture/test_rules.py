"""Rules of the tree that no linter knows: lengths, parameters, names of classes, private members, paths of a machine.

Each test goes over all files and lists every offender.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict

import imports

MODULES = imports.read_modules()
FOLDERS = ("SPRCore", "SPRExplorer", "SPRRegistration", "Testing", "Training", "benchmarks", "docs", "tools", ".ci")
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 400, 40, 8
# What the rules do not hold for yet. Entries only ever leave these lists.
LONG_TESTS = {
    "Testing/slicer/test_mrml_session.py",
    "Testing/slicer/test_widget.py",
    "Testing/unit/test_tuning_study.py",
}
MANY_PARAMETERS: set[str] = set()
SHARED_CLASS_NAMES: set[str] = {"Pair"}
PRIVATE_ACCESS = {
    "Testing/slicer/test_installation.py",
    "Testing/slicer/test_suggestion.py",
    "Testing/slicer/test_widget.py",
    "Testing/slicer/test_worker_process.py",
    "benchmarks/live/measure_maps.py",
}
# Paths of somebody's machine; built from parts, so that this file does not hold them.
MACHINE_PATH = re.compile("|".join(re.escape("/" + word + "/") for word in ("work", "root", "home")))


def offenders(lines):
    """All of them, one a line, under the message of the failure."""
    return "\n" + "\n".join(sorted(set(lines)))


def files(*folders):
    """All files below the folders, without what Python compiled."""
    paths = [path for folder in folders for path in sorted((imports.ROOT / folder).rglob("*"))]
    return [path for path in paths if path.is_file() and path.suffix != ".pyc"]


def sources(*folders):
    """Path relative to the root, text and syntax tree of each Python file."""
    return [
        (path.relative_to(imports.ROOT).as_posix(), *parsed(path)) for path in files(*folders) if path.suffix == ".py"
    ]


@functools.cache
def parsed(path):
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def length(function):
    """Lines of a function, its docstring not counted."""
    first = function.body[0]
    documented = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - documented


def parameters(function):
    """Names of the parameters, without the object or class that a method belongs to."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [item.arg for item in given if item.arg not in ("self", "cls")]


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def test_files_and_functions_are_short():
    wrong = []
    for path, text, tree in sources("SPRCore", "SPRExplorer", "SPRRegistration", "benchmarks", "tools"):
        if (lines := len(text.splitlines())) > MAX_FILE:
            wrong.append(f"{path}: {lines} lines")
        wrong += [f"{path}: {f.name}: {length(f)} lines" for f in functions(tree) if length(f) > MAX_FUNCTION]
    wrong += [
        f"{path}: {len(text.splitlines())} lines"
        for path, text, _ in sources("Testing")
        if len(text.splitlines()) > MAX_FILE and path not in LONG_TESTS
    ]
    assert not wrong, offenders(wrong)


def test_functions_have_few_parameters():
    wrong = {
        f"{path}: {function.name}"
        for path, _, tree in sources("SPRCore", "SPRExplorer", "SPRRegistration", "tools")
        for function in functions(tree)
        if len(parameters(function)) > MAX_PARAMETERS
    }
    assert not wrong - MANY_PARAMETERS, offenders(wrong - MANY_PARAMETERS)


def test_no_class_name_is_used_for_two_classes():
    places = defaultdict(list)
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.name not in SHARED_CLASS_NAMES:
                places[node.name].append(f"{module.path}:{node.lineno}")
    wrong = [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    assert not wrong, offenders(wrong)


def test_no_path_of_a_machine_is_written_down():
    wrong = []
    for path in [*files(*FOLDERS), *(p for p in imports.ROOT.iterdir() if p.is_file() and p.name != ".git")]:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or tensors
        wrong += [f"{path.relative_to(imports.ROOT)}: {found.group()}" for found in MACHINE_PATH.finditer(text)]
    assert not wrong, offenders(wrong)


def area(path):
    """Part of the tree that a file belongs to, as Testing/unit."""
    return "/".join(path.split("/")[:2])


def private_accesses(tree):
    """Line and private name of each access to a member of another object, import, or patch by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "getattr")):
            texts = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            yield from ((node.lineno, text.rpartition(".")[2]) for text in texts)


def private_definitions(trees):
    """Private names that the trees define: functions, classes, variables and attributes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, kinds):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_tests_and_benchmarks_use_no_private_members_of_the_packages():
    users = sources("Testing", "benchmarks")
    hidden = {name for name in private_definitions(m.tree for m in MODULES.values()) if is_private(name)}
    own = defaultdict(set)  # what the files of an area define themselves
    for path, _, tree in users:
        own[area(path)].update(private_definitions([tree]))
    wrong = [
        f"{path}:{line} {name}"
        for path, _, tree in users
        for line, name in private_accesses(tree)
        if path not in PRIVATE_ACCESS and name in hidden - own[area(path)]
    ]
    assert not wrong, offenders(wrong)

"""The layer order of docs/adr/0001-layers.md, on the imports that the source really has."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "SPRCore"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PROJECT = ("SPRCore", "SPRRegistration", "SPRRegistrationLib", "SPRExplorer", "Training", "Testing")


def layers() -> dict[str, int]:
    """Layer of each package, read from the table of the decision itself."""
    text = (ROOT / "docs" / "adr" / "0001-layers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?)(?::.*)? \|$", text, flags=re.MULTILINE)
    return {name: int(layer) for layer, names in rows for name in re.findall(r"`(\w+)`", names)}


def part_of(path: Path) -> str:
    """Package below SPRCore that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever in the file."""
    package = ["SPRCore", *path.relative_to(PACKAGE).parent.parts]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def test_the_table_of_layers_is_complete():
    parts = {part_of(path) for path in SOURCES} - {"__init__"}
    assert parts <= set(layers()), "a package without a layer: write it into docs/adr/0001-layers.md"
    assert layers()["functional"] < layers()["geometry"] < layers()["io"] < layers()["api"] < layers()["cli"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_layers_below(path):
    order, part = layers(), part_of(path)
    if path == PACKAGE / "__init__.py":
        return  # names for type checkers only; test_import_is_light holds that nothing is loaded
    for name in imported(path):
        root, *rest = name.split(".")
        assert root not in PROJECT[1:], f"{path} imports {name}"
        if root != "SPRCore" or not rest or rest[0] == part:
            continue
        if rest[0] in order:
            assert order[rest[0]] < order[part], f"{part} (layer {order[part]}) imports {name} (layer {order[rest[0]]})"
        else:
            assert part == "cli", f"{path} imports {name}: public names of SPRCore are for its users"


@pytest.mark.parametrize(
    "path",
    sorted(p for name in ("SPRRegistration", "SPRExplorer") for p in (ROOT / name).rglob("*.py")),
    ids=lambda path: path.stem,
)
def test_the_slicer_module_imports_only_what_needs_no_torch(path):
    """It opens before anything is installed, so what it takes of SPRCore is the client's half and the cards."""
    allowed = (
        "SPRCore.live",
        "SPRCore.api",
        "SPRCore.config",
        "SPRCore.errors",
        "SPRCore.io.headers",
        "SPRCore.io.paths",
        "SPRCore.io.places",
        "SPRCore.regularization.hyperparameters",
    )
    if path.name == "reader_main.py":
        allowed += ("SPRCore.io",)  # a process of its own, of the Explorer, which Slicer never starts
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = [alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names]
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names += [f"{n.module}.{a.name}" for n in tree if isinstance(n, ast.ImportFrom) and not n.level for a in n.names]
    for name in names:
        root = name.split(".")[0]
        assert root not in ("Training", "Testing", "torch", "nibabel", "SimpleITK"), f"{path} imports {name}"
        if root == "SPRCore":
            assert name.startswith(allowed), f"{path} imports {name}"


def test_the_slicer_module_loads_no_torch():
    names = (
        "live.conversation",
        "live.client",
        "live.events",
        "live.protocol",
        "live.arrays",
        "io.headers",
        "io.paths",
        "io.places",
        "regularization.hyperparameters",
    )
    imports = ", ".join(f"SPRCore.{name}" for name in names)
    code = f"import sys, {imports}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False"]


def test_the_layer_test_sees_relative_and_nested_imports(tmp_path, monkeypatch):
    source = tmp_path / "SPRCore" / "functional" / "bad.py"
    source.parent.mkdir(parents=True)
    source.write_text("def f():\n    from ..geometry import Volume\n    import SPRCore.io.nifti\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "SPRCore")
    assert imported(source) == {"SPRCore.geometry.Volume", "SPRCore.io.nifti"}


def test_import_is_light():
    heavy = {"SimpleITK", "nibabel", "matplotlib", "scipy", "tyro", "rich", "optuna", "tensorboard", "slicer", "vtk"}
    code = f"import sys, SPRCore; print(sorted({heavy} & set(sys.modules)), len(SPRCore.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded, names = done.stdout.rsplit(" ", 1)
    assert loaded == "[]"
    assert int(names) < 30


def test_every_public_name_can_be_had():
    import SPRCore

    assert sorted(SPRCore.__all__) == dir(SPRCore)
    for name in SPRCore.__all__:
        assert getattr(SPRCore, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = SPRCore.nonsense

"""The layers of docs/adr/0001-layers.md on the imports that the source really has, and what is loaded at the start."""

from __future__ import annotations

import json
import subprocess
import sys

import imports
import pytest

MODULES = imports.read_modules()
GRAPH = imports.import_graph(MODULES)
OUTSIDE = ("Training", "Testing", "benchmarks", "tools")
TENSORS = ("torch", "nibabel", "SimpleITK")  # not installed when 3D Slicer opens the module
QT = ("qt", "ctk", "PySide6", "PythonQt")
HEAVY = ("SimpleITK", "nibabel", "pydicom", "scipy", "matplotlib", "PIL", "optuna", "sklearn", "tensorboard", "pandas")
HEAVY += ("distributed", "slicer", "vtk", "trame", "selenium")


def offenders(lines):
    """All of them, one a line, under the message of the failure."""
    return "\n" + "\n".join(sorted(set(lines)))


def external_imports():
    """Module, line and dotted name of every import."""
    return [(m, line, name) for m in MODULES.values() for line, name in imports.imported_names(m.tree)]


def starts_with(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_no_import_points_up_or_sideways():
    layers = imports.read_layers()
    groups = {module.group for module in MODULES.values()} - {"SPRCore"}
    missing = groups ^ layers.keys()
    assert not missing, "the table of docs/adr/0001-layers.md differs from the packages:" + offenders(missing)
    arrows = [(MODULES[a], MODULES[b]) for a, targets in GRAPH.items() for b in targets]
    wrong = [
        f"{a.path} (layer {layers[a.group]}) imports {b.name} (layer {layers[b.group]})"
        for a, b in arrows
        if a.group != b.group and "SPRCore" not in (a.group, b.group) and layers[a.group] <= layers[b.group]
    ]
    assert not wrong, offenders(wrong)


def test_no_modules_import_each_other_in_a_circle():
    cycle = imports.find_cycle(imports.import_graph(MODULES, for_types=False))
    assert not cycle, " -> ".join(cycle)


def test_imports_are_absolute_and_stay_inside_the_packages():
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module, line, name in external_imports()
        if name.startswith(".") or starts_with(name, OUTSIDE)
    ]
    assert not wrong, offenders(wrong)


def test_the_panel_needs_no_tensors_and_only_its_qt_part_needs_qt():
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module, line, name in external_imports()
        if not module.name.startswith("SPRCore")
        and (starts_with(name, TENSORS) or (starts_with(name, QT) and module.group != "SPRRegistrationLib.qt"))
    ]
    assert not wrong, offenders(wrong)


def client_half():
    """Modules of SPRCore that the panel imports; scripts that other processes run are not part of it."""
    panel = [name for name in MODULES if not name.startswith("SPRCore") and not name.endswith("_main")]
    return sorted({target for name in panel for target in GRAPH[name] if target.startswith("SPRCore")})


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import SPRCore", {*HEAVY, "torch", "tyro", "rich"}),
        ("import SPRCore; SPRCore.register", HEAVY),
        ("from SPRCore.cli import main; main(['--help'])", set(HEAVY) - {"matplotlib", "PIL"}),
        (f"import {', '.join(client_half())}", set(TENSORS)),
    ],
    ids=["package", "register", "help", "client"],
)
def test_what_a_start_does_not_load(statement, forbidden):
    code = f"{statement}\nimport sys, json; print(json.dumps(sorted({set(forbidden)} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=imports.ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_public_name_can_be_imported():
    import SPRCore

    assert sorted(SPRCore.__all__) == dir(SPRCore)
    assert not [name for name in SPRCore.__all__ if getattr(SPRCore, name) is None]
    with pytest.raises(AttributeError, match="nonsense"):
        _ = SPRCore.nonsense


def test_the_reader_sees_nested_and_relative_imports_and_circles(tmp_path):
    files = {
        "geometry/__init__.py": "from SPRCore.functional import bad",
        "functional/bad.py": "def f():\n    from SPRCore import geometry\n    from ..io import nifti\n    import vtk",
    }
    for name, text in files.items():
        path = tmp_path / "SPRCore" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    modules = imports.read_modules(tmp_path)
    assert [name for _, name in imports.imported_names(modules["SPRCore.functional.bad"].tree)] == [
        "SPRCore.geometry",
        "..io.nifti",
        "vtk",
    ]
    cycle = imports.find_cycle(imports.import_graph(modules))
    assert cycle == ["SPRCore.functional.bad", "SPRCore.geometry", "SPRCore.functional.bad"]

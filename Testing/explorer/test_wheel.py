"""The wheel: what it contains, and that the Explorer runs from it without a checkout."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile

import pytest

PACKED = ("SPRCore", "SPRExplorer", "SPRRegistration", "pyproject.toml", "README.md", "LICENSE")
NEEDED = (
    "SPRCore/py.typed",
    "SPRCore/live/worker.py",
    "SPRCore/analysis/paper.json",
    "SPRCore/models/general-hyper-spr.sprmodel.safetensors",
    "SPRExplorer/server.py",
    "SPRExplorer/static/explorer.css",
    "SPRExplorer/static/explorer.js",
    "SPRRegistrationLib/session.py",
    "SPRRegistrationLib/scene/display.py",
)


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    """The wheel, built offline from a copy: a `build` folder of the checkout would add files that no longer exist."""
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools 77 or later is not installed")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in PACKED:
        path = repository / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=unwanted)
        else:
            shutil.copy(path, source)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", str(source), *offline, "--wheel-dir", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run a program of a virtual environment with the wheel and the dependencies that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    command = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check"]
    command += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True)
    (purelib,) = folder.rglob("site-packages")
    # Only now, or pip would find the project among them. Their own .pth files, such as that of an editable
    # installation, are not read.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (purelib / "dependencies.pth").write_text("\n".join(sorted(here)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def start(program, *arguments):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [str(programs / program), *map(str, arguments)]
        return subprocess.Popen(command, **pipes, text=True, cwd=elsewhere, env=environment)

    return start


def test_the_wheel_contains_the_packages_and_nothing_of_qt_or_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert set(NEEDED) <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "SPRCore",
        "SPRExplorer",
        "SPRRegistrationLib",
    }
    assert not [name for name in names if "/qt/" in name or "test" in name.lower()]


@pytest.mark.slicer
@pytest.mark.slow
def test_the_packages_come_from_the_wheel(server_possible, installed, repository):
    names = ("SPRCore", "SPRExplorer", "SPRRegistrationLib")
    code = f"import {', '.join(names)}; print({', '.join(f'{name}.__file__' for name in names)})"
    out, errors = installed("python", "-c", code).communicate(timeout=120)
    assert out.count("site-packages") == 3, errors
    assert str(repository) not in out


@pytest.mark.slicer
@pytest.mark.slow
def test_the_explorer_is_served_from_the_wheel(server_possible, installed):
    process = installed("spr", "explore", "--port", "0", "--no-browser")
    try:
        line = process.stdout.readline()
        assert "http://" in line, process.stderr.read()
        with urllib.request.urlopen(line.split()[-1] + "explorer/alive", timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in errors


@pytest.mark.slicer
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demonstration_runs_from_the_wheel(server_possible, installed, tmp_path):
    process = installed("spr", "demo", "--voxels", "32", "--out", tmp_path / "demo", "--then", "pictures")
    out, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert (tmp_path / "demo" / "explorer-views.png").is_file(), out

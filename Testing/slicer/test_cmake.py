"""The extension is configured and installed against a stand-in of 3D Slicer, and no file is forgotten."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CMAKE = shutil.which("cmake")
ONE_LINE = re.compile(r'^set\((EXTENSION_\w+) "([^"\n]+)"\)$', re.MULTILINE)


@pytest.fixture(scope="module")
def installed(repository, tmp_path_factory):
    """The folder where Slicer finds scripted modules, after an installation, and the names of the tests."""
    if CMAKE is None:
        pytest.skip("cmake is not installed")
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("install")
    stand_in = f"-DSlicer_DIR={Path(__file__).with_name('cmake')}"
    commands = (
        ["-S", repository, "-B", build, stand_in, f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DBUILD_TESTING=ON"],
        ["--install", build],
    )
    for arguments in commands:
        done = subprocess.run([CMAKE, *arguments], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    tests = re.findall(r"add_test\(\S*?(py_\w+)", "".join(path.read_text() for path in build.rglob("CTest*.cmake")))
    return prefix / "lib" / "Slicer-5.13" / "qt-scripted-modules", tests


def files_of(folder):
    """Relative paths of what lies in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.skipif(CMAKE is None, reason="cmake is not installed")
def test_every_file_of_the_module_is_installed(repository, installed):
    wanted = {name for name in files_of(repository / "SPRRegistration") if not name.endswith("CMakeLists.txt")}
    assert wanted == {name for name in files_of(installed[0]) if not name.startswith("SPRCore/")}


@pytest.mark.skipif(CMAKE is None, reason="cmake is not installed")
def test_the_engine_lies_beside_the_module(repository, installed):
    assert files_of(installed[0] / "SPRCore") == files_of(repository / "SPRCore")


@pytest.mark.skipif(CMAKE is None, reason="cmake is not installed")
def test_the_self_tests_are_tests_of_ctest(installed):
    assert {"py_SPRRegistration", "py_SPRRegistrationSelfTest"} <= set(installed[1])


def test_policies_are_those_of_slicer_5_10(repository):
    """Newer ones (CMP0148, of CMake 3.27) take away FindPythonLibs, which its SlicerConfig asks for."""
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "cmake_minimum_required(VERSION 3.20.6...3.22.6 FATAL_ERROR)"


def test_the_descriptions_agree(repository):
    text = (repository / "CMakeLists.txt").read_text(encoding="utf-8")
    said = dict(ONE_LINE.findall(text))
    entry = json.loads((repository / "SPRRegistration.json").read_text(encoding="utf-8"))
    lines = (repository / "SPRRegistration.s4ext").read_text(encoding="utf-8").splitlines()
    old = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert "project(SPRRegistration)" in text
    assert [said["EXTENSION_DEPENDS"]] == entry["build_dependencies"] == [old["depends"]]
    assert old["scmurl"] == entry["scm_url"]
    assert old["category"] == entry["category"] == "Registration"
    assert old["description"] == said["EXTENSION_DESCRIPTION"]
    assert set(entry) <= {"$schema", *("build_dependencies", "build_subdirectory", "category"), "scm_revision"} | {
        *("scm_url", "tier"),
    }


@pytest.mark.parametrize("key", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_pictures_that_are_promised_exist(repository, key):
    said = dict(ONE_LINE.findall((repository / "CMakeLists.txt").read_text(encoding="utf-8")))
    for address in said[key].split():
        assert (repository / address.split("/main/")[1]).is_file()

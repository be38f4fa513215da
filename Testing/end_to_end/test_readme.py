"""The commands and the Python of README.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def blocks(language: str) -> list[str]:
    """All fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def test_readme_names_the_two_commands_of_a_newcomer():
    assert commands()[:2] == ["make demo", "make test"]


def test_the_makefile_has_what_the_readme_names():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo:.*\n\t.*spr demo --out demo-output", makefile, re.M)
    assert re.search(r"^PYTEST := .* -m pytest ", makefile, re.M)
    assert re.search(r"^test:.*\n\t\$\(PYTEST\)", makefile, re.M)
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_runs(tmp_path):
    """Every command but `make test` (this is it) and the activation, which stands for the running interpreter."""
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    run = {"cwd": tmp_path, "env": environment, "check": True, "timeout": 600}
    for command in commands():
        if command in ("make test", ". .venv/bin/activate"):
            continue
        # What `make demo` runs, at a size that a test can wait for.
        command = "spr demo --out demo-output --voxels 32" if command == "make demo" else command
        subprocess.run(command, shell=True, **run)
    for block in blocks("python"):
        subprocess.run([sys.executable, "-W", "error", "-c", block], **run)
    assert (tmp_path / "demo-output" / "figure.png").is_file()
    assert (tmp_path / "demo-output" / "mine" / "labels.nii.gz").is_file()
    assert (tmp_path / "demo-output" / "weight.nii.gz").is_file()

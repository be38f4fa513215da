"""The tool that draws and counts the structure of the source."""

from __future__ import annotations

import subprocess
import sys

import imports
import picture
import structure

FILES = {
    "SPRCore/errors.py": "class InputError(ValueError):\n    pass\ndef _check():\n    pass\n",
    "SPRCore/io/files.py": """
from dataclasses import dataclass
from typing import ClassVar
import msgspec
LIMIT = 3
_hidden = 4
@dataclass(frozen=True)
class Header:
    kind: ClassVar[str] = "nifti"
    shape: tuple
    spacing: tuple
class Message(msgspec.Struct):
    key: str
class Reply(Message):
    value: float
def read():
    class Header:
        pass
""",
}


def test_the_counts_are_those_of_the_source(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    rows = structure.count_source(imports.read_modules(tmp_path))
    assert rows["files"] == "2"
    assert rows["lines"] == "22"
    assert rows["classes"] == "5"
    assert rows["dataclasses and structs (fields)"] == "3 (4)"
    assert rows["public top-level names"] == "6"  # InputError, LIMIT, Header, Message, Reply, read
    assert rows["class names used more than once"] == "1"


def test_only_imports_that_no_chain_implies_are_direct():
    graph = {"cli": {"api", "io"}, "api": {"io"}, "io": set()}
    assert picture.direct(graph) == {("cli", "api"), ("api", "io")}


def test_every_layer_has_a_title_and_the_picture_is_drawn(tmp_path):
    assert picture.ROWS.keys() == set(imports.read_layers().values())
    picture.draw(tmp_path / "structure.png", descents=1)
    assert (tmp_path / "structure.png").read_bytes().startswith(b"\x89PNG")


def test_a_revision_that_does_not_exist_is_one_line():
    command = [sys.executable, imports.ROOT / "tools" / "structure.py", "--revision", "no-such-revision"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no revision no-such-revision" in done.stderr
    assert "Traceback" not in done.stderr

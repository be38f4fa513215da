"""Runs `spr` in this process, for rows, on a small pair, recipe or list of pairs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from table import TRACES, Row

from SPRCore.cli import main
from SPRCore.geometry import Field, Volume
from SPRCore.io import write_displacement, write_volume

BAD_INPUT = 2
REFUSED = "refused before anything is computed; nothing is changed"
MODEL = "general-hyper-spr"
Check = Callable[[Path], None]


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def spr(*arguments: object) -> Done:
    """Run `spr` and return what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def refuses(folder: Path, arguments: tuple[object, ...], *said: str) -> None:
    """Assert that `spr` refuses in one line that holds each of `said`, and leaves the folder as it was."""
    before = contents(folder)
    done = spr(*arguments)
    assert done.code == BAD_INPUT, done.err
    assert done.err.startswith("spr: ")
    assert done.err.count("\n") == 1, done.err
    missing = [part for part in said if part not in done.err]
    assert not missing, f"{missing} not in: {done.err}"
    assert not [trace for trace in TRACES if trace in done.err.rstrip("\n")], done.err
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes | str | None]:
    """All that lies below a folder: bytes of files, where links lead, None for folders."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }


def pair(folder: Path) -> tuple[Path, Path, Path]:
    """Write a fixed image, a moving one and a displacement of zeros; return their paths."""
    values = np.random.default_rng(0).normal(size=(8, 9, 10)).astype(np.float32)
    paths = folder / "fixed.nii.gz", folder / "moving.nii.gz", folder / "displacement.nii.gz"
    write_volume(Volume(values, np.eye(4)), paths[0])
    write_volume(Volume(values[::-1].copy(), np.eye(4)), paths[1])
    write_displacement(Field(np.zeros((8, 9, 10, 3), np.float32), np.eye(4)), paths[2])
    return paths


def register(folder: Path, *options: object, fixed: object = None, moving: object = None, out: object = None) -> tuple:
    given = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    return ("register", fixed or given[0], moving or given[1], "--out", out or folder, *options)


def warp(folder: Path, out: object, image: object = None) -> tuple:
    given = ("--displacement", folder / "displacement.nii.gz", "--reference", folder / "fixed.nii.gz")
    return ("warp", image or folder / "moving.nii.gz", *given, "--out", out)


def recipe(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    text = "name: mine\ndata: {generated: {shape: [16, 16, 16]}}\nmodel: vxm-spr-small\noptimiser: {epochs: 1}\n"
    path.write_text(text)
    return path


def listed(folder: Path) -> Path:
    paths = pair(folder)
    (folder / "pairs.csv").write_text(f"fixed,moving\n{paths[0]},{paths[1]}\n")
    return folder / "pairs.csv"


def no(kind: str, what: str, check: Check) -> Row:
    return Row(kind, what, REFUSED, check)

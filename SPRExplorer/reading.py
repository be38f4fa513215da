"""Reads files in another process, so that the event loop does not wait."""

from __future__ import annotations

import asyncio
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError

SCRIPT = Path(__file__).with_name("reader_main.py")
TIMEOUT_SECONDS = 600.0

FileContent = tuple[np.ndarray, ...]
"""Image or labels: voxels, shape (X, Y, Z), and the affine from indices to RAS mm. Landmarks: points, shape (N, 3)."""


async def read_file(path: Path, scratch: Path, kind: str = "image") -> FileContent:
    """Read an image, labels or landmarks in another process.

    Args:
        path: A file, or a folder with a DICOM series.
        scratch: Folder for temporary files.
        kind: "image", "labels" or "landmarks".

    Raises:
        InputError: It cannot be read.
    """
    (found,) = await read_files([path], scratch, kind)
    if isinstance(found, InputError):
        raise found
    return found


async def read_files(paths: Sequence[Path], scratch: Path, kind: str = "image") -> list[FileContent | InputError]:
    """Read files in one other process, since its start takes longer than reading.

    Args:
        paths: Files, or folders with a DICOM series.
        scratch: Folder for temporary files.
        kind: See `read_file`.

    Returns:
        The content of each file, or the error.
    """
    targets = [scratch / f"read{index}.npz" for index in range(len(paths))]
    arguments = [part for path, target in zip(paths, targets, strict=True) for part in (kind, str(path), str(target))]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL)
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), *arguments, **quiet)
    try:
        await asyncio.wait_for(process.wait(), TIMEOUT_SECONDS)
    except asyncio.TimeoutError:
        got = f"reading not finished after {TIMEOUT_SECONDS:.0f} s"
        return [InputError(path.name, got=got) for path in paths]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [_load(path, target) for path, target in zip(paths, targets, strict=True)]


def _load(path: Path, target: Path) -> FileContent | InputError:
    try:
        with np.load(target, allow_pickle=False) as archive:
            found = dict(archive)
        target.unlink()
    except (OSError, ValueError, zipfile.BadZipFile):
        return InputError(path.name, got="a file that the reader cannot read", remedy="check whether it is damaged")
    if "array" not in found:
        parts = {name: str(value) for name, value in found.items()}
        return InputError(parts.pop("what").replace(str(path), path.name), **parts)
    return tuple(found[name] for name in ("array", "affine") if name in found)

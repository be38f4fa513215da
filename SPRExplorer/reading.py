"""Reads images without making the server wait."""

from __future__ import annotations

import asyncio
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError

SCRIPT = Path(__file__).with_name("reader_main.py")
PATIENCE_SECONDS = 600.0


Content = tuple[np.ndarray, ...]
"""Voxels, shape (X, Y, Z), and the matrix from their indices to RAS mm; of landmarks the points alone, shape (N, 3)."""


async def read_file(path: Path, scratch: Path, kind: str = "image") -> Content:
    """Read an image, labels or landmarks in another process.

    Args:
        path: A file, or a folder with a DICOM series.
        scratch: A folder to write to.
        kind: "image", "labels" or "landmarks".

    Raises:
        InputError: It cannot be read.
    """
    (found,) = await read_files([path], scratch, kind)
    if isinstance(found, InputError):
        raise found
    return found


async def read_files(paths: Sequence[Path], scratch: Path, kind: str = "image") -> list[Content | InputError]:
    """Read files in one other process, which takes longer to start than to read.

    Args:
        paths: Files, or folders with a DICOM series.
        scratch: A folder to write to.
        kind: As `read_file` has it.

    Returns:
        For each what it holds, or why it cannot be read.
    """
    targets = [scratch / f"read{place}.npz" for place in range(len(paths))]
    orders = [part for path, target in zip(paths, targets, strict=True) for part in (kind, str(path), str(target))]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL)
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), *orders, **quiet)
    try:
        await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
    except asyncio.TimeoutError:
        got = f"no end of reading after {PATIENCE_SECONDS:.0f} s"
        return [InputError(path.name, got=got) for path in paths]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [_taken(path, target) for path, target in zip(paths, targets, strict=True)]


def _taken(path: Path, target: Path) -> Content | InputError:
    try:
        with np.load(target, allow_pickle=False) as said:
            found = dict(said)
        target.unlink()
    except (OSError, ValueError, zipfile.BadZipFile):
        return InputError(path.name, got="a file that the reader failed on", remedy="look whether it is damaged")
    if "array" not in found:
        parts = {name: str(value) for name, value in found.items()}
        return InputError(parts.pop("what").replace(str(path), path.name), **parts)
    return tuple(found[name] for name in ("array", "affine") if name in found)

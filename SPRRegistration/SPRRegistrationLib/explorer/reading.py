"""Reads images without making the server wait."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError

SCRIPT = Path(__file__).with_name("reader_main.py")
PATIENCE_SECONDS = 600.0


async def read_image(path: Path, scratch: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an image in another process.

    Args:
        path: A file, or a folder with a DICOM series.
        scratch: A folder to write to.

    Returns:
        Voxels, shape (X, Y, Z), and the matrix from their indices to RAS mm.

    Raises:
        InputError: It cannot be read.
    """
    target = scratch / "read.npz"
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.DEVNULL)
    process = await asyncio.create_subprocess_exec(sys.executable, str(SCRIPT), str(path), str(target), **quiet)
    try:
        code = await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)
    except (asyncio.TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        raise InputError(path.name, got=f"no end of reading after {PATIENCE_SECONDS:.0f} s") from error
    if code != 0 or not target.is_file():
        raise InputError(path.name, got="a file that the reader failed on", remedy="look whether it is damaged")
    with np.load(target, allow_pickle=False) as said:
        found = dict(said)
    target.unlink()
    if "array" not in found:
        parts = {name: str(value) for name, value in found.items()}
        raise InputError(parts.pop("what").replace(str(path), path.name), **parts)
    return found["array"], found["affine"]

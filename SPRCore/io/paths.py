"""Paths of images and of their frames: `PATH#3` is frame 3, counted from 0 as 3D Slicer counts the items of a sequence.

Paths with frames are accepted wherever files are. Loads no torch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SPRCore.errors import InputError

logger = logging.getLogger("SPRCore")

_FRAME = re.compile(r"(.+)#(\d{1,9})")


def split_frame(path: str | Path) -> tuple[Path, int | None]:
    """Split a path into a file or folder, which need not exist, and the frame after `#`, or None.

    A file whose whole name exists has no frame.
    """
    path = Path(path)
    found = _FRAME.fullmatch(path.name)
    if found is None or path.exists():
        return path, None
    return path.with_name(found[1]), int(found[2])


def with_frame(path: str | Path, frame: int) -> Path:
    """Return the path of one frame of a 4-D image, the inverse of `split_frame`."""
    path = Path(path)
    return path.with_name(f"{path.name}#{frame}")


def on_disk(path: str | Path) -> Path:
    """Return the file or folder of a path, without the number of a frame."""
    return split_frame(path)[0]


def check_exists(path: str | Path) -> None:
    """Refuse a path that does not exist (`InputError`); `#NUMBER` is ignored."""
    if not on_disk(path).exists():
        raise InputError(str(path), got="no such file or folder", remedy=_hint(Path(path)) or "check the path")


def warn(path: str | Path, *notes: str) -> None:
    """Log a warning for each note: the path followed by the note."""
    for note in notes:
        logger.warning("%s %s", path, note)


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Put the file's path before an `InputError` raised about its content."""
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{path}: {error.what}", got=error.got, expected=error.expected, remedy=error.remedy
        ) from error


def reason_of(error: Exception) -> str:
    """Return the message of a library about a damaged file, in one line without addresses and checksums."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = f"unknown value {text}" if isinstance(error, KeyError) else text
    return re.sub(r"\s*'?\b0x[0-9a-fA-F]+\b'?( != 0x[0-9a-fA-F]+)?", "", text)[:200]


def pick_frame(path: Path, frame: int | None, shape: tuple[int, ...]) -> int:
    """Return the number of the frame to read: `frame`, or 0 if the shape has no fourth axis or one frame only.

    Raises:
        InputError: No frame is named although there are several, or one that does not exist.
    """
    count = shape[3] if len(shape) == 4 else 1
    if frame is None and count > 1:
        raise InputError(
            str(path),
            got=f"a 4-D image of shape {shape}, {count} frames",
            expected="a 3-D image",
            remedy=f"name one frame, from {path.name}#0 to {path.name}#{count - 1}",
        )
    if frame is not None and not 0 <= frame < count:
        expected = f"a frame from 0 to {count - 1}" if count > 1 else "no frame, as the image is 3-D"
        raise InputError(str(path), got=f"frame {frame}", expected=expected)
    return frame or 0


def _hint(path: Path) -> str:
    base, mark, text = path.name.rpartition("#")
    if mark and base and path.with_name(base).exists():
        return f"{base} exists, but {text!r} is no frame: give its number, counted from 0"
    return ""

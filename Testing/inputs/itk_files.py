"""NRRD files field by field, and files that SimpleITK writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from table import refused

from SPRCore.io import (
    read_volume,
)

SHAPE = (4, 5, 6)
VALUES = np.arange(120, dtype="<i2")  # the first axis runs fastest
IMAGE = VALUES.reshape(SHAPE, order="F")
PLACE = np.array([[-2.0, 0, 0, -1], [0, -3.0, 0, -2], [0, 0, 4.0, 3], [0, 0, 0, 1]])


def nrrd(path: Path, data: bytes | None = None, **fields) -> Path:
    """Write a NRRD file; a field is given by its name with `_` for blanks, None takes it away."""
    header = {
        "type": "short",
        "dimension": 3,
        "space": "left-posterior-superior",
        "sizes": "4 5 6",
        "space directions": "(2,0,0) (0,3,0) (0,0,4)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(1,2,3)",
    } | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in header.items() if value is not None]
    path.write_bytes("\n".join(["NRRD0004", *lines, "", ""]).encode() + (VALUES.tobytes() if data is None else data))
    return path


FOUR = {"dimension": 4, "sizes": "3 4 5 6", "space_directions": "none (2,0,0) (0,3,0) (0,0,4)"}


def by_itk(name: str, pixel: str, *said: str, size=(5, 5, 5), components: int = 0):
    """A file that SimpleITK writes, which is refused with these words."""

    def check(folder: Path) -> None:
        import SimpleITK as sitk

        image = sitk.Image(list(size), getattr(sitk, pixel), *[components] * bool(components))
        sitk.WriteImage(image, str(folder / name))
        refused(lambda: read_volume(folder / name), str(folder / name), *said)

    return check

"""Reads images in a process of its own: what a damaged or hostile file does to it, the server survives.

Arguments: the kind, a file or folder, and the file to write; then those of the next. Written are the array `array` and
the matrix `affine` of an image or of labels, the points `array` in RAS mm of landmarks, or what was wrong: `what`,
`got`, `expected` and `remedy`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose names are not meant for other modules
    import numpy as np

    from SPRCore.errors import InputError
    from SPRCore.io import read_labels, read_landmarks, read_volume

    for kind, source, target in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True):
        try:
            read = {"image": read_volume, "labels": read_labels, "landmarks": read_landmarks}[kind](source)
        except InputError as error:
            said = {name: getattr(error, name) or "" for name in ("what", "got", "expected", "remedy")}
            np.savez(target, **said)
        else:
            np.savez(
                target, **({"array": read} if kind == "landmarks" else {"array": read.array, "affine": read.affine})
            )

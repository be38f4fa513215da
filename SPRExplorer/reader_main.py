"""Reads files in a process of its own, so that a damaged or malicious file cannot crash the server.

Arguments: triples of kind, input file or folder, and output file (.npz). Output of images and labels: `array` and
`affine`; of landmarks: `array` with points in RAS mm; of an error: `what`, `got`, `expected` and `remedy`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file: its modules must not hide others
    import numpy as np

    from SPRCore.errors import InputError
    from SPRCore.io import read_labels, read_landmarks, read_volume

    for kind, source, target in zip(sys.argv[1::3], sys.argv[2::3], sys.argv[3::3], strict=True):
        try:
            read = {"image": read_volume, "labels": read_labels, "landmarks": read_landmarks}[kind](source)
        except InputError as error:
            parts = {name: getattr(error, name) or "" for name in ("what", "got", "expected", "remedy")}
            np.savez(target, **parts)
        else:
            np.savez(
                target, **({"array": read} if kind == "landmarks" else {"array": read.array, "affine": read.affine})
            )

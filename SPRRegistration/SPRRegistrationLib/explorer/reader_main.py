"""Reads images in a process of its own: what a damaged or hostile file does to it, the server survives.

Arguments: a file or folder, and the file to write; then those of the next. Written are the array `array` and the matrix
`affine`, or what was wrong: `what`, `got`, `expected` and `remedy`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.pop(0)  # the folder of this file, whose names are not meant for other modules
    # Installed, SPRCore lies beside the module; unpacked, one folder higher.
    places = (here.parents[1], here.parents[2])
    sys.path[:0] = [str(folder) for folder in places if (folder / "SPRCore").is_dir()]
    import numpy as np

    from SPRCore.errors import InputError
    from SPRCore.io import read_volume

    for source, target in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        try:
            volume = read_volume(source)
        except InputError as error:
            said = {name: getattr(error, name) or "" for name in ("what", "got", "expected", "remedy")}
            np.savez(target, **said)
        else:
            np.savez(target, array=volume.array, affine=volume.affine)

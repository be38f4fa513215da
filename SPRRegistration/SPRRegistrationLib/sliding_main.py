"""What Slicer's Python runs to measure sliding: it loads PyTorch, which the panel does not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SURFACE = "slide_mm"
"""Name of the slide at the points of the surfaces that are written."""


def measure(folder: Path) -> None:
    """Read `input.npz` (displacement, labels and their affines) of a folder; write `LABEL.vtk` for each label."""
    from SPRCore.geometry import Field, Volume, resample
    from SPRCore.io.meshes import write_mesh
    from SPRCore.metrics.sliding import segment_sliding

    given = np.load(folder / "input.npz")
    displacement = Field(given["displacement"], given["affine"])
    labels = resample(Volume(given["labels"], given["labels_affine"]), displacement.grid, labels=True)
    for name, part in segment_sliding(displacement, labels).items():
        values = {SURFACE: part.jump.slide, "opening_mm": part.jump.opening}
        write_mesh(part.surface, folder / f"{name}.vtk", values)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.pop(0)  # the folder of this file, whose names are not meant for SPRCore
    # Installed, SPRCore lies beside the module; unpacked, one folder higher.
    sys.path[:0] = [str(folder) for folder in (here.parent, here.parent.parent) if (folder / "SPRCore").is_dir()]
    measure(Path(sys.argv[1]))

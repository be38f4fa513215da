"""Surfaces with values at their points as VTK files, which 3D Slicer and ParaView read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from SPRCore.geometry import flip_lps_ras
from SPRCore.geometry.mesh import Mesh
from SPRCore.io.atomic import atomic_path

_TITLE = "SPR Registration. SPACE=LPS"  # 3D Slicer reads the axes of the points here


def write_mesh(mesh: Mesh, path: str | Path, values: Mapping[str, np.ndarray]) -> None:
    """Write a surface as legacy VTK file (binary, version 3.0, points in LPS mm).

    Args:
        mesh: Points and triangles; without triangles each point is a vertex.
        path: A name that ends in ``.vtk``.
        values: Values at the points by name, shape (N,); written as float32, names without spaces.

    Raises:
        OutputError: The file could not be written.
    """
    count, cells = len(mesh.points), mesh.triangles
    word = "POLYGONS"
    if not len(cells):
        word, cells = "VERTICES", np.arange(count)[:, None]
    rows = np.concatenate([np.full((len(cells), 1), cells.shape[1]), cells], axis=1)
    parts = [
        f"# vtk DataFile Version 3.0\n{_TITLE}\nBINARY\nDATASET POLYDATA\nPOINTS {count} float\n",
        flip_lps_ras(mesh.points).astype(">f4"),
        f"\n{word} {len(rows)} {rows.size}\n",
        rows.astype(">i4"),
        f"\nPOINT_DATA {count}\n",
    ]
    for name, array in values.items():
        parts += [f"SCALARS {name} float 1\nLOOKUP_TABLE default\n", np.asarray(array).astype(">f4"), "\n"]
    with atomic_path(path) as partial, partial.open("wb") as stream:
        for part in parts:
            stream.write(part.encode("ascii") if isinstance(part, str) else part.tobytes())

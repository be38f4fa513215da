"""Breathing livers of 4-D MRI with landmarks in the liver and outside of it: the one real set that surely slides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pairs import DATA

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, Volume, flip_lps_ras, resample
from SPRCore.io import read_volume

FOLDER = DATA / "liver_4dmri_eth"
REGIONS = ("liver", "outside")
_EXHALE, _IMAGE = "exhMaster", ".force_direction.mha"


@dataclass(frozen=True, kw_only=True)
class LiverPair:
    """End exhale (fixed) and an inhale (moving) of one volunteer on one grid.

    Attributes:
        name: Volunteer and phase.
        fixed: Image at exhale.
        moving: Image at inhale.
        points: The landmarks of both images by region, RAS mm, in the same order.
    """

    name: str
    fixed: Volume
    moving: Volume
    points: dict[str, tuple[np.ndarray, np.ndarray]]


def liver_pairs():
    """All pairs, volunteer by volunteer; none where the data are not at hand."""
    for volunteer in sorted(FOLDER.glob("dataset*")):
        fixed = read_volume(volunteer / f"{_EXHALE}_unmasked{_IMAGE}")
        for path in sorted(volunteer.glob(f"cyc_*{_IMAGE}")):
            phase = path.name.removesuffix(_IMAGE)
            # One header says slices of 5 mm where the other phases and all landmarks say 4: the grid is shared.
            moving = read_volume(path)
            if moving.shape != fixed.shape:
                raise InputError(str(path), got=f"shape {moving.shape}", expected=f"{fixed.shape} of the exhale")
            points = {
                region: tuple(read_vtk_points(volunteer / f"{stem}LM{region}.vtk") for stem in (_EXHALE, phase))
                for region in REGIONS
            }
            name = f"{volunteer.name.removeprefix('dataset')}/{phase}"
            yield LiverPair(name=name, fixed=fixed, moving=Volume(moving.array, fixed.affine), points=points)


def read_vtk_points(path):
    """Points (N, 3) of a VTK polydata file in text form, in LPS mm as in ITK, as RAS mm."""
    lines = path.read_text(encoding="ascii").split("\n")
    start = next((number for number, line in enumerate(lines) if line.startswith("POINTS ")), None)
    if start is None or lines[2].strip() != "ASCII":
        raise InputError(str(path), got="no points as text", expected="VTK polydata in ASCII")
    count = int(lines[start].split()[1])
    words = " ".join(lines[start + 1 :]).split()[: 3 * count]
    points = np.array(words, dtype=np.float64)
    if len(points) != 3 * count:
        raise InputError(str(path), got=f"{len(points)} numbers", expected=f"{3 * count}")
    return flip_lps_ras(points.reshape(count, 3))


def isotropic(volume):
    """The volume with slices as far apart as its pixels: some other methods know voxels and no mm."""
    step = min(volume.spacing)
    factors = [step / spacing for spacing in volume.spacing]
    sizes = [int((size - 1) / factor + 1e-6) + 1 for size, factor in zip(volume.shape, factors, strict=True)]
    return resample(volume, Grid(tuple(sizes), volume.affine @ np.diag([*factors, 1.0])))

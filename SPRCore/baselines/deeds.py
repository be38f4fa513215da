"""deedsBCV, run as an external program installed by the user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import sample
from SPRCore.geometry import Field, Volume, displacement_vox_to_mm
from SPRCore.io import write_volume

VARIABLE, PROGRAM = "SPR_DEEDS", "deedsBCV"
_CT_AIR, _CT_RANGE = -1024.0, 2000.0  # the program assumes CT: lower intensities are air


@dataclass(frozen=True, kw_only=True)
class Deeds:
    """Dense displacement search over control grids, coarsest first.

    The defaults are those of the paper for brains and hearts. It works in voxels and needs nearly isotropic ones.

    Attributes:
        grid: Distance of control points in voxels, for each of five levels.
        search: Radius of the search in steps.
        step: Size of a step in voxels.
        smoothness: Weight of the regularization.
        timeout_seconds: Time limit.

    References:
        Heinrich et al., IEEE Trans Med Imaging 2013, doi:10.1109/TMI.2013.2246577.
    """

    grid: tuple[int, ...] = (6, 5, 4, 3, 2)
    search: tuple[int, ...] = (6, 5, 4, 3, 2)
    step: tuple[int, ...] = (5, 4, 3, 2, 1)
    smoothness: float = 1.6
    timeout_seconds: float = 3600.0

    def check(self) -> None:
        """Check that the program is installed (`InputError`)."""
        find_program()

    def register(self, fixed: Volume, moving: Volume) -> Field:
        """Deform one image onto the other; see `Baseline`."""
        program = find_program()
        if min(fixed.shape) < max(self.grid):
            expected = f"at least {max(self.grid)} voxels along each axis"
            raise InputError("method deeds", got=f"images of {fixed.shape} voxels", expected=expected)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for part, volume in (("fixed", fixed), ("moving", moving)):
                write_volume(_as_ct(volume), folder / f"{part}.nii.gz")
            self._run(program, folder)
            values = np.fromfile(folder / "found_displacements.dat", dtype="<f4")
        coarse = tuple(size // self.grid[-1] for size in fixed.shape)
        if values.size != 3 * np.prod(coarse) or not np.isfinite(values).all():
            got = f"{values.size} numbers of deedsBCV, or non-finite values"
            raise ConvergenceError("method deeds", got=got, expected=f"{3 * int(np.prod(coarse))} finite ones")
        displacement_vox = on_voxels(values, coarse, fixed.shape)
        mm = displacement_vox_to_mm(displacement_vox.astype(np.float64), fixed.affine)
        return Field(mm.astype(np.float32), fixed.affine)

    def _run(self, program: Path, folder: Path) -> None:
        levels = [
            flag for pair in zip("GLQ", (self.grid, self.search, self.step), strict=True) for flag in _flag(*pair)
        ]
        files = ["-F", folder / "fixed.nii.gz", "-M", folder / "moving.nii.gz", "-O", folder / "found"]
        command = [str(word) for word in (program, *files, "-a", self.smoothness, *levels)]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout_seconds
            )
        except subprocess.TimeoutExpired:
            raise ConvergenceError("method deeds", got=f"no result after {self.timeout_seconds:g} s") from None
        except OSError as error:
            raise InputError(
                f"${VARIABLE}", got=error.strerror or str(error), expected="the program deedsBCV"
            ) from error
        if done.returncode or not (folder / "found_displacements.dat").is_file():
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-1:]
            got = f"exit code {done.returncode} of deedsBCV" + "".join(f" ({line[:200]})" for line in said)
            raise ConvergenceError("method deeds", got=got, expected="displacements")


def find_program() -> Path:
    """Return the absolute path of the program from `SPR_DEEDS` or `PATH` (`InputError` if absent)."""
    chosen = os.environ.get(VARIABLE)
    found = shutil.which(chosen or PROGRAM)
    if found is None:
        got = f"no program at {chosen}" if chosen else f"no {PROGRAM} on the path"
        remedy = f"build it (github.com/mattiaspaul/deedsBCV) and set {VARIABLE} to its path"
        raise InputError("method deeds", got=got, expected="the program deedsBCV", remedy=remedy)
    return Path(found).resolve()


def on_voxels(values: np.ndarray, coarse: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate the displacements of control points to all voxels, linearly, as the program does.

    ``values`` is the output of the program for ``coarse`` control points along each axis: the components along the
    second, first and third axis one after the other, the first axis running fastest. The result (X, Y, Z, 3) is in
    voxels, in the order of the axes.
    """
    second, first, third = values.reshape(3, *coarse[::-1]).transpose(0, 3, 2, 1)
    control = torch.from_numpy(np.stack([first, second, third]))[None]
    axes = [np.arange(size) * (few / size) for size, few in zip(shape, coarse, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return sample(control, torch.from_numpy(points)).numpy().T.reshape(*shape, 3)


def _flag(letter: str, levels: tuple[int, ...]) -> tuple[str, str]:
    return f"-{letter}", "x".join(map(str, levels))


def _as_ct(volume: Volume) -> Volume:
    """Scale intensities to the range of CT, the lowest to air."""
    array = volume.array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    return volume.with_array((array - low) * (_CT_RANGE / max(high - low, 1e-12)) + np.float32(_CT_AIR))

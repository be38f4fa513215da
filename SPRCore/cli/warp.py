"""`spr warp`: resample an image or label map by a saved displacement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from SPRCore.cli.console import print_line
from SPRCore.geometry import resample
from SPRCore.io import atomic_path, read_displacement, read_labels, read_volume, write_volume
from SPRCore.io.outputs import check_outputs, check_replaceable
from SPRCore.io.volumes import check_suffix, note_of

_NOTE = "spr warp"  # in the header of the output, which may be overwritten


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Resample IMAGE by a displacement onto the grid of a reference image."""

    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """Image to deform: the moving image, or another one of the same space."""

    displacement: Annotated[Path, arg(metavar="D")]
    """Displacement field, written by `spr register` or ITK."""

    reference: Annotated[Path, arg(metavar="FIXED")]
    """Image that defines the grid of the result."""

    out: Annotated[Path, arg(metavar="O")]
    """File to write: .nii, .nii.gz, .nrrd, .mha or .mhd."""

    labels: bool = False
    """IMAGE is a label map: nearest-neighbor interpolation, integers."""

    def run(self, command: str) -> None:
        """Read, resample and write."""
        check_suffix(self.out)
        check_outputs([self.out], [self.image, self.displacement, self.reference])
        check_replaceable(self.out, lambda path: note_of(path) == _NOTE)
        with atomic_path(self.out) as temporary:
            image = read_labels(self.image) if self.labels else read_volume(self.image)
            field, reference = read_displacement(self.displacement), read_volume(self.reference)
            write_volume(resample(image, reference.grid, displacement=field, labels=self.labels), temporary, note=_NOTE)
        print_line(f"written: {self.out}")

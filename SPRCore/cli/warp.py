"""`spr warp`: pull one more image or label map through a displacement that is on disk."""

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

_NOTE = "spr warp"  # in the header of what was written, so that it may be written anew


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Pull IMAGE through a displacement onto the grid of a reference image."""

    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    """Image to deform: the moving image, or another one in the same place."""

    displacement: Annotated[Path, arg(metavar="D")]
    """Displacement field, as `spr register` or ITK writes it."""

    reference: Annotated[Path, arg(metavar="FIXED")]
    """Image whose grid the result gets."""

    out: Annotated[Path, arg(metavar="O")]
    """File to write: .nii, .nii.gz, .nrrd, .mha or .mhd."""

    labels: bool = False
    """IMAGE is a label map: take the nearest voxel and keep whole numbers."""

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

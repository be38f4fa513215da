"""Cases (images of a subject), pairs of cases, and their source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from SPRCore.io.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image of a subject on disk.

    Attributes:
        subject: Name of the subject; all images of one person share it.
        role: Distinguishes the images of a subject, such as "ED" and "ES"; "" for a single one.
        image: File of the image.
        frame: Index of the volume in a 4-D file; None for a 3-D file.
        labels: File of the labels, or None.
        label_frame: Index of the volume in a 4-D label file.
        points: File of landmarks, or None.
        channel: File of the second channel, or None.
        exchange: Pairs of labels to swap, where two data sets number them differently.
        group: Group within the cohort, such as a diagnosis.
        axes: Directions of the axes of files without a header, whose voxels have 1 mm.
        fixed_set: "train", "validation" or "test" if the data set prescribes it, else "".
        dataset: Layout of the data set that it comes from.
    """

    subject: str
    role: str = ""
    image: Path
    frame: int | None = None
    labels: Path | None = None
    label_frame: int | None = None
    points: Path | None = None
    channel: Path | None = None
    exchange: tuple[tuple[int, int], ...] = ()
    group: str = ""
    fixed_set: str = ""
    axes: str = "RAS"
    dataset: str = ""

    @property
    def name(self) -> str:
        """Name of the case, unique in a cohort."""
        return f"{self.subject}_{self.role}" if self.role else self.subject


@dataclass(frozen=True, slots=True)
class Pair:
    """Names of the moving and the fixed case."""

    moving: str
    fixed: str


class Source(Protocol):
    """Source of samples; must be picklable."""

    def load(self, name: str) -> Sample:
        """Return the sample of a case."""
        ...

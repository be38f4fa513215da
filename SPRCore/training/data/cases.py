"""Cases (images of a subject), pairs of cases, and samples (prepared cases)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


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
        exchange: Pairs of labels to swap, where two data sets number them differently.
        group: Group within the cohort, such as a diagnosis.
        fixed_set: "train", "validation" or "test" if the data set prescribes it, else "".
    """

    subject: str
    role: str = ""
    image: Path
    frame: int | None = None
    labels: Path | None = None
    label_frame: int | None = None
    points: Path | None = None
    exchange: tuple[tuple[int, int], ...] = ()
    group: str = ""
    fixed_set: str = ""

    @property
    def name(self) -> str:
        """Name of the case, unique in a cohort."""
        return f"{self.subject}_{self.role}" if self.role else self.subject


@dataclass(frozen=True, slots=True)
class Pair:
    """Names of the moving and the fixed case."""

    moving: str
    fixed: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """A prepared case.

    Attributes:
        image: Intensities in [0, 1], float32, shape (X, Y, Z).
        labels: int16 of the same shape, or None.
        points: Landmarks in voxels, float32, shape (N, 3), or None.
        spacing_mm: Size of a voxel.
        displacements_vox: Displacements of the instance solver to the other image of a pair, shape (K, 3, X, Y, Z), or
            None.
    """

    image: np.ndarray
    labels: np.ndarray | None = None
    points: np.ndarray | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    displacements_vox: np.ndarray | None = None


class Source(Protocol):
    """Source of samples; must be picklable."""

    def load(self, name: str) -> Sample:
        """Return the sample of a case."""
        ...

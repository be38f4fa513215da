"""The words of a cohort: a case is one image of a subject, a pair is two cases, a sample is a prepared case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image of a subject, as it lies on disk.

    Attributes:
        subject: Name of the subject; all images of one person share it.
        role: What tells the images of a subject apart, such as "ED" and "ES"; "" where there is one.
        image: File of the image.
        frame: Which of the volumes of a 4-D file, from 0; None for a 3-D file.
        labels: File of the labels, or None.
        label_frame: Which of the volumes of a 4-D file of labels.
        points: File of landmarks, or None.
        exchange: Pairs of labels that change places, where a data set numbers them otherwise than the one it joins.
        group: Any division of the cohort, such as a diagnosis.
        fixed_set: "train", "validation" or "test" where the data set itself says so, else "".
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
    """Names of two cases, of which the first is deformed onto the second."""

    moving: str
    fixed: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """A case as a network sees it.

    Attributes:
        image: Intensities in [0, 1], float32, shape (X, Y, Z).
        labels: int16 of the same shape, or None.
        points: Landmarks in voxels, float32, shape (N, 3), or None.
        spacing_mm: Size of a voxel.
    """

    image: np.ndarray
    labels: np.ndarray | None = None
    points: np.ndarray | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)


@runtime_checkable
class Source(Protocol):
    """Where samples come from; must survive being sent to another process."""

    def load(self, name: str) -> Sample:
        """Return the sample of a case."""
        ...

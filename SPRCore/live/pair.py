"""The pair of a live session."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import numpy as np

from SPRCore.analysis.planes import foreground
from SPRCore.analysis.warnings import pair_warnings
from SPRCore.geometry import Annotations, Grid, MaskedVolume
from SPRCore.registration import LoadedModel, PreAlignment
from SPRCore.registration.prealign import overlap_fraction


@dataclass(frozen=True, kw_only=True, eq=False)
class LivePair:
    """Fixed and moving image with pre-alignment and annotations.

    Attributes:
        fixed: Fixed image with its mask.
        moving: Moving image with its mask, on any grid.
        alignment: Affine pre-alignment and its reason.
        annotations: Labels, landmarks and masks; those of the fixed image on its grid.
        similarity: Similarity of the session.
        warnings: Reasons to doubt the input, in sentences.
    """

    fixed: MaskedVolume
    moving: MaskedVolume
    alignment: PreAlignment
    annotations: Annotations
    similarity: str = "lncc"
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        fixed: MaskedVolume,
        moving: MaskedVolume,
        annotations: Annotations,
        alignment: PreAlignment,
        model: LoadedModel | None,
    ) -> LivePair:
        """Resample the annotations to the fixed grid and collect warnings, also from the card of a model."""
        warnings = tuple(pair_warnings(fixed, moving, annotations, None if model is None else model.card))
        images = {"fixed": fixed, "moving": moving, "alignment": alignment}
        return cls(**images, annotations=annotations.on(fixed.grid), warnings=warnings)

    def annotated(self, annotations: Annotations, model: LoadedModel | None) -> LivePair:
        """Return the pair with other labels and landmarks, and the same masks and channels."""
        names = ("fixed_mask", "moving_mask", "fixed_channel", "moving_channel")
        annotations = dataclasses.replace(annotations, **{name: getattr(self.annotations, name) for name in names})
        pair = LivePair.of(self.fixed, self.moving, annotations, self.alignment, model)
        return dataclasses.replace(pair, similarity=self.similarity)

    @functools.cached_property
    def foreground(self) -> np.ndarray:
        """Mask of the anatomy with data of the fixed image, shape (X, Y, Z)."""
        return foreground(self.fixed.volume, self.fixed.valid)

    @property
    def affine_ras(self) -> np.ndarray | None:
        """Affine pre-alignment as pull map from fixed to moving, RAS mm, shape (4, 4), or None."""
        return self.alignment.affine_ras

    @property
    def aligned_mm(self) -> float:
        """Largest displacement of a corner of the fixed image by the pre-alignment, in mm; 0 without one."""
        if self.affine_ras is None:
            return 0.0
        grid = self.fixed.grid
        corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid.shape) - 1)
        points = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        moved = points @ self.affine_ras[:3, :3].T + self.affine_ras[:3, 3]
        return float(np.linalg.norm(moved - points, axis=1).max())

    @property
    def covered(self) -> float:
        """Fraction of the fixed image inside the moving image after the pre-alignment, 0 to 1."""
        moving = self.moving.grid
        if self.affine_ras is not None:
            moving = Grid(moving.shape, np.linalg.solve(self.affine_ras, moving.affine))
        return overlap_fraction(self.fixed.grid, moving)

"""Exact replies: made of what a method gives, completed with what takes longer, measured in bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SPRCore.analysis.annotations import Annotations
from SPRCore.analysis.warnings import change_warnings, pair_warnings
from SPRCore.functional import integrate_quickly
from SPRCore.geometry import Field, Grid, MaskedVolume, compose_affine
from SPRCore.live.canvas import Canvas
from SPRCore.live.method import Exact
from SPRCore.live.quality import full_quality, longest_mm
from SPRCore.live.reply import Reply, Setting
from SPRCore.metrics import evaluate
from SPRCore.registration import DeformationFields, LoadedModel, PreAlignment
from SPRCore.registration.pair import assembled
from SPRCore.registration.prealign import overlap_fraction
from SPRCore.typing import Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """What is registered, and what people marked in it.

    Attributes:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        alignment: What was done beforehand: the alignment as a whole and why.
        given: Labels, landmarks and masks, those of the fixed image on its grid.
        doubts: What is doubtful about them, in sentences.
    """

    fixed: MaskedVolume
    moving: MaskedVolume
    alignment: PreAlignment
    given: Annotations
    doubts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        fixed: MaskedVolume,
        moving: MaskedVolume,
        given: Annotations,
        alignment: PreAlignment,
        model: LoadedModel | None,
    ) -> Pair:
        """Bring what was marked to the images, and tell what is doubtful, by the card of a model where there is one."""
        doubts = tuple(pair_warnings(fixed, moving, given, None if model is None else model.card))
        return cls(fixed=fixed, moving=moving, alignment=alignment, given=given.on(fixed.grid), doubts=doubts)

    def marked(self, given: Annotations, model: LoadedModel | None) -> Pair:
        """Return the same with other labels and landmarks; the masks stay."""
        given = dataclasses.replace(given, fixed_mask=self.given.fixed_mask, moving_mask=self.given.moving_mask)
        return Pair.of(self.fixed, self.moving, given, self.alignment, model)

    @property
    def affine_ras(self) -> np.ndarray | None:
        """Alignment as a whole, pull map from fixed to moving world points, shape (4, 4), or None."""
        return self.alignment.affine_ras

    @property
    def aligned_mm(self) -> float:
        """How far the alignment as a whole moves the farthest corner of the fixed image, in mm; 0 without one."""
        if self.affine_ras is None:
            return 0.0
        grid = self.fixed.grid
        corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(grid.shape) - 1)
        points = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        moved = points @ self.affine_ras[:3, :3].T + self.affine_ras[:3, 3]
        return float(np.linalg.norm(moved - points, axis=1).max())

    @property
    def covered(self) -> float:
        """Part of the fixed image that lies inside the moving one after the alignment as a whole, 0 to 1."""
        moving = self.moving.grid
        if self.affine_ras is not None:
            moving = Grid(moving.shape, np.linalg.solve(self.affine_ras, moving.affine))
        return overlap_fraction(self.fixed.grid, moving)


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """An exact reply.

    Attributes:
        reply: The reply.
        found: What it was made of, until inverse and metrics have been added to the reply.
        invert: Computes its inverse where that has been left out.
        given: Labels and landmarks that its metrics were measured with.
    """

    reply: Reply
    found: DeformationFields | None
    invert: Callable[[], Field] | None = None
    given: Annotations | None = None

    @classmethod
    def of(cls, exact: Exact, pair: Pair, canvas: Canvas, setting: Setting) -> Known:
        """Make a reply, without inverse and metrics, of an exact solution."""
        found = exact.found
        total = found.displacement if pair.affine_ras is None else compose_affine(found.displacement, pair.affine_ras)
        measured = exact.longest_mm if pair.affine_ras is None else None
        # On the grid of the previews: that of a full-size brain would take as long as a network takes to decode it.
        quality = canvas.quality(_on_canvas(exact, canvas), exact.weight_gap)
        longest = longest_mm(total) if measured is None else measured
        reply = Reply(
            displacement=total,
            weight=found.weight,
            quality=dataclasses.replace(quality, max_displacement_mm=longest),
            setting=setting,
            exact=True,
            weight_known=True,
            milliseconds=0.0,
            stage="exact",
        )
        return cls(reply=reply, found=dataclasses.replace(found, velocity=None), invert=exact.invert)

    def completed(self, pair: Pair) -> Known:
        """Add inverse, warped image, the quality on the fixed grid and all metrics, as `SPRCore.register` has them.

        Args:
            pair: The pair.

        Returns:
            The same, complete.
        """
        if self.found is None:
            return self
        found = self.found if self.invert is None else dataclasses.replace(self.found, inverse=self.invert())
        result = assembled(pair.fixed.grid, pair.moving, found, pair.affine_ras)
        moves = {"displacement": result.displacement, "inverse": result.inverse}
        quality = full_quality(self.reply.quality, result.displacement)
        reply = dataclasses.replace(self.reply, **moves, quality=quality, warped=result.warped)
        return Known(reply=reply, found=None).measured(pair)

    def measured(self, pair: Pair) -> Known:
        """Measure a complete reply, anew where labels or landmarks are others than those it was measured with.

        Args:
            pair: The pair.

        Returns:
            The same with metrics, and with what is doubtful.
        """
        if self.given is pair.given:
            return self
        moves = {"displacement": self.reply.displacement, "inverse": self.reply.inverse}
        images = {"fixed": pair.fixed, "moving": pair.moving, "warped": self.reply.warped}
        metrics = evaluate(**moves, **images, **vars(pair.given))
        warnings = (*pair.doubts, *change_warnings(metrics))
        reply = dataclasses.replace(self.reply, metrics=metrics, warnings=warnings)
        return dataclasses.replace(self, reply=reply, given=pair.given)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, those that are the same one counted once."""
        reply, found = self.reply, self.found
        fields = [reply.displacement, reply.weight, reply.inverse, reply.warped]
        fields += [] if found is None else [found.displacement, found.inverse, found.weight]
        return sum({id(field.array): field.array.nbytes for field in fields if field is not None}.values())


def _on_canvas(exact: Exact, canvas: Canvas) -> Vectors:
    """The displacement on the canvas, in its voxels; folds are left as they are."""
    sketch = exact.sketch
    if sketch is None:
        return canvas.displacement_vox(exact.found.displacement)
    if sketch.velocity_mm is None:
        return sketch.displacement_vox
    return integrate_quickly(sketch.velocity_mm / canvas.images.spacing)

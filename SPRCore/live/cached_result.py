"""Exact results of a live session, completed and measured when they are committed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from SPRCore.analysis.warnings import change_warnings
from SPRCore.functional import integrate_quickly
from SPRCore.geometry import Annotations, Field, compose_affine
from SPRCore.live.method import ExactSolution
from SPRCore.live.pair import LivePair
from SPRCore.live.preview_grid import PreviewGrid
from SPRCore.live.quality import full_quality, max_length_mm
from SPRCore.live.reply import Reply
from SPRCore.metrics import evaluate, with_similarity
from SPRCore.registration import DeformationFields
from SPRCore.registration.job import RegistrationJob
from SPRCore.registration.map_contrast import map_contrast
from SPRCore.registration.pair import assembled
from SPRCore.registration.uncertainty_fields import UncertaintyFields
from SPRCore.regularization.priors import hyperparameters
from SPRCore.typing import Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class CachedResult:
    """An exact reply.

    Attributes:
        reply: The reply.
        deformation: Its deformation, until inverse and metrics are in the reply.
        invert: Computes the inverse if it is missing.
        annotations: Annotations of its metrics.
        setting_warnings: Warnings about its setting, in sentences.
        velocity_mm: Its velocity on the preview grid, in mm; None if there is none.
        uncertainty: Its uncertainty, without samples; None before it is computed.
        is_fine: Whether the uncertainty was computed with the settings of `SPRCore.register`.
    """

    reply: Reply
    deformation: DeformationFields | None
    invert: Callable[[], Field] | None = None
    annotations: Annotations | None = None
    setting_warnings: tuple[str, ...] = ()
    velocity_mm: Vectors | None = None
    uncertainty: UncertaintyFields | None = None
    is_fine: bool = False

    @classmethod
    def of(cls, exact: ExactSolution, pair: LivePair, preview_grid: PreviewGrid, job: RegistrationJob) -> CachedResult:
        """Return the reply of an exact solution with the prior of a job, without inverse and metrics."""
        deformation, total = exact.deformation, exact.deformation.displacement
        velocity = deformation.velocity
        longest = exact.max_displacement_mm
        if pair.affine_ras is not None:
            total, longest = compose_affine(total, pair.affine_ras), None
        # On the preview grid: on the grid of a brain it would take as long as decoding a network.
        quality = preview_grid.quality(_on_preview_grid(exact, preview_grid), exact.weight_gap)
        longest = max_length_mm(total) if longest is None else longest
        reply = Reply(
            displacement=total,
            weight=deformation.weight,
            quality=dataclasses.replace(quality, max_displacement_mm=longest),
            setting=hyperparameters(job.prior),
            exact=True,
            weight_known=True,
            milliseconds=0.0,
            stage="exact",
            contrast=map_contrast(deformation.weight, deformation.velocity, pair.foreground, job),
        )
        kept = {"deformation": dataclasses.replace(deformation, velocity=None), "invert": exact.invert}
        return cls(reply=reply, velocity_mm=None if velocity is None else preview_grid.velocity_mm(velocity), **kept)

    def completed(self, pair: LivePair) -> CachedResult:
        """Add inverse, warped image, quality on the fixed grid and metrics, as in `SPRCore.register`."""
        deformation = self.deformation
        if deformation is None:
            return self
        if self.invert is not None:
            deformation = dataclasses.replace(deformation, inverse=self.invert())
        result = assembled(pair.fixed.grid, pair.moving, deformation, pair.affine_ras)
        fields = {"displacement": result.displacement, "inverse": result.inverse, "warped": result.warped}
        quality = full_quality(self.reply.quality, result.displacement)
        reply = dataclasses.replace(self.reply, **fields, quality=quality)
        return dataclasses.replace(self, reply=reply, deformation=None, invert=None).measured(pair)

    def measured(self, pair: LivePair) -> CachedResult:
        """Add metrics and warnings for the annotations of the pair to a completed reply."""
        if self.annotations is pair.annotations:
            return self
        fields = {"displacement": self.reply.displacement, "inverse": self.reply.inverse}
        images = {"fixed": pair.fixed, "moving": pair.moving, "warped": self.reply.warped}
        metrics = evaluate(**fields, **images, annotations=pair.annotations)
        metrics = with_similarity(metrics, pair.similarity, pair.fixed, pair.moving, self.reply.displacement)
        metrics["after"]["weight"] = dataclasses.asdict(self.reply.contrast)
        warnings = (*pair.warnings, *self.setting_warnings, *change_warnings(metrics))
        reply = dataclasses.replace(self.reply, metrics=metrics, warnings=warnings)
        return dataclasses.replace(self, reply=reply, annotations=pair.annotations)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; shared ones count once."""
        reply, deformation = self.reply, self.deformation
        fields = [reply.displacement, reply.weight, reply.inverse, reply.warped]
        fields += [] if deformation is None else [deformation.displacement, deformation.inverse, deformation.weight]
        fields += [] if self.uncertainty is None else [self.uncertainty.deviation]
        velocity = 0 if self.velocity_mm is None else self.velocity_mm.numel() * self.velocity_mm.element_size()
        return velocity + sum({id(field.array): field.array.nbytes for field in fields if field is not None}.values())


def _on_preview_grid(exact: ExactSolution, preview_grid: PreviewGrid) -> Vectors:
    """Return the displacement on the preview grid in its voxels, folding included."""
    coarse = exact.coarse
    if coarse is None:
        return preview_grid.displacement_vox(exact.deformation.displacement)
    if coarse.velocity_mm is None:
        return coarse.displacement_vox
    return integrate_quickly(coarse.velocity_mm / preview_grid.images.spacing)

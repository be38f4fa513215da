"""`spr evaluate`: metrics of a saved displacement."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from SPRCore.analysis.provenance import versions
from SPRCore.analysis.results import write_report
from SPRCore.api import SCHEMA_VERSION
from SPRCore.cli.console import print_line, print_table
from SPRCore.cli.register import annotation_files, metric_rows, read_annotations
from SPRCore.config import encode
from SPRCore.errors import InputError
from SPRCore.geometry import Grid, MaskedVolume
from SPRCore.io import atomic_path, read_displacement, read_volume
from SPRCore.io.outputs import check_outputs, check_replaceable, sha256
from SPRCore.metrics import FoldingRegion, LabelInterpolation, MetricConventions, evaluate


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Compute metrics of a displacement: folding and size, and with labels or landmarks overlap and error."""

    displacement: Annotated[Path, arg(metavar="D")]
    """Displacement field, written by `spr register` or ITK."""

    fixed_labels: Annotated[Path | None, arg(metavar="F", help_behavior_hint="(optional)")] = None
    """Label map of the fixed image."""

    moving_labels: Annotated[Path | None, arg(metavar="M", help_behavior_hint="(optional)")] = None
    """Label map of the moving image."""

    fixed_points: Annotated[Path | None, arg(metavar="P", help_behavior_hint="(optional)")] = None
    """Landmarks of the fixed image: .mrk.json, .fcsv, .txt or .csv."""

    moving_points: Annotated[Path | None, arg(metavar="Q", help_behavior_hint="(optional)")] = None
    """Landmarks of the moving image, in the same order."""

    fixed_mask: Annotated[Path | None, arg(metavar="K", help_behavior_hint="(optional)")] = None
    """Mask of the fixed image: folding and size are computed where it is not 0."""

    fixed: Annotated[Path | None, arg(metavar="IMAGE", help_behavior_hint="(optional)")] = None
    """Fixed image, for --folding-over foreground."""

    label_interpolation: LabelInterpolation = "nearest"
    """How moving labels are warped: the nearest voxel, or each label linearly and the highest taken, as the author of
    the paper does."""

    folding_over: FoldingRegion = "volume"
    """Voxels over which folding and non-diffeomorphic volume are taken: all, or the foreground (the fixed image above
    its lowest value), as the author of the paper does."""

    out: Annotated[Path | None, arg(metavar="report.json", help_behavior_hint="(optional)")] = None
    """JSON file for the metrics."""

    def run(self, command: str) -> None:
        """Compute and print the metrics, and write them if asked for."""
        if self.out is not None:
            images = [] if self.fixed is None else [self.fixed]
            check_outputs([self.out], [self.displacement, *images, *annotation_files(self)])
            check_replaceable(self.out, _is_evaluation)
        with nullcontext() if self.out is None else atomic_path(self.out) as temporary:
            field = read_displacement(self.displacement)
            annotations = read_annotations(self).on(field.grid)
            conventions = MetricConventions(
                label_interpolation=self.label_interpolation, folding_over=self.folding_over
            )
            fixed = None if self.fixed is None else self._image(field.grid)
            metrics = evaluate(displacement=field, fixed=fixed, annotations=annotations, conventions=conventions)
            if temporary is not None:
                write_report(self._report(metrics, command) | {"conventions": encode(conventions)}, temporary)
        print_table("Evaluation", ("", "before", "after"), metric_rows(metrics))
        if self.out is not None:
            print_line(f"written: {self.out}")

    def _image(self, grid: Grid) -> MaskedVolume:
        image = read_volume(self.fixed)
        if not image.grid.matches(grid):
            expected = f"that of the displacement, {grid.shape} voxels"
            raise InputError("--fixed", got=f"another grid, {image.shape} voxels", expected=expected)
        return MaskedVolume.of(image, "fixed image")

    def _report(self, metrics: dict[str, Any], command: str) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "versions": versions(),
            "inputs": {"displacement": {"path": str(self.displacement), "sha256": sha256(self.displacement)}},
            "metrics": metrics,
        }


def _is_evaluation(path: Path) -> bool:
    """Whether a file was written by this command, and is not the report of a registration."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {"schema_version", "command", "metrics"} <= set(values) and "files" not in values

"""`spr evaluate`: measure a displacement that is on disk."""

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
from SPRCore.io import atomic_path, read_displacement
from SPRCore.io.outputs import check_outputs, check_replaceable, sha256
from SPRCore.metrics import evaluate


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a displacement: folding and size, and with labels or landmarks how well they meet."""

    displacement: Annotated[Path, arg(metavar="D")]
    """Displacement field, as `spr register` or ITK writes it."""

    fixed_labels: Annotated[Path | None, arg(metavar="F", help_behavior_hint="(optional)")] = None
    """Label map of the fixed image."""

    moving_labels: Annotated[Path | None, arg(metavar="M", help_behavior_hint="(optional)")] = None
    """Label map of the moving image."""

    fixed_points: Annotated[Path | None, arg(metavar="P", help_behavior_hint="(optional)")] = None
    """Landmarks of the fixed image: .mrk.json, .fcsv, .txt or .csv."""

    moving_points: Annotated[Path | None, arg(metavar="Q", help_behavior_hint="(optional)")] = None
    """Landmarks of the moving image, in the same order."""

    fixed_mask: Annotated[Path | None, arg(metavar="K", help_behavior_hint="(optional)")] = None
    """Mask of the fixed image: folding and size are measured where it is not 0."""

    out: Annotated[Path | None, arg(metavar="report.json", help_behavior_hint="(optional)")] = None
    """File for the numbers, as JSON."""

    def run(self, command: str) -> None:
        """Read, measure, print and, where asked for, write."""
        if self.out is not None:
            check_outputs([self.out], [self.displacement, *annotation_files(self)])
            check_replaceable(self.out, _is_evaluation)
        with nullcontext() if self.out is None else atomic_path(self.out) as temporary:
            field = read_displacement(self.displacement)
            annotations = read_annotations(self).on(field.grid)
            metrics = evaluate(displacement=field, annotations=annotations)
            if temporary is not None:
                write_report(self._report(metrics, command), temporary)
        print_table("Evaluation", ("", "before", "after"), metric_rows(metrics))
        if self.out is not None:
            print_line(f"written: {self.out}")

    def _report(self, metrics: dict[str, Any], command: str) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "versions": versions(),
            "inputs": {"displacement": {"path": str(self.displacement), "sha256": sha256(self.displacement)}},
            "metrics": metrics,
        }


def _is_evaluation(path: Path) -> bool:
    """Whether a file is what this command writes, and not the report of a registration."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {"schema_version", "command", "metrics"} <= set(values) and "files" not in values

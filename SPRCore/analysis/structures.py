"""Tables of the weight by structure, and of its correlation with the deformation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from SPRCore.analysis.rows import BenchmarkRow, label_order
from SPRCore.analysis.statistics import SampleStatistics, subject_means
from SPRCore.analysis.tables import MAX_LABELS, ResultTable, TableCell
from SPRCore.config import value_at

_QUANTITIES = {
    "weight": ("mean weight", "mean"),
    "displacement_mm": ("mean displacement, mm", "mean"),
    "gradient": ("mean change of displacement, mm per mm", "mean"),
    "jacobian": ("median Jacobian determinant", "median"),
}
_RELATED = {
    ("correlation", "displacement"): "with displacement",
    ("correlation", "variance"): "with its local variance",
    ("correlation", "gradient"): "with its change per mm",
    ("weight", "mean"): "mean weight",
    ("weight", "map_gap"): "distance from the most probable",
    ("boundary", "ratio"): "jumps across boundaries over within",
    ("boundary", "weight_across"): "weight across",
    ("boundary", "weight_within"): "weight within",
}


def structure_table(rows: Sequence[BenchmarkRow], names: Mapping[str, str] | None = None) -> ResultTable | None:
    """Return the table of structures, for each method and quantity mean and standard deviation over subjects.

    Label "0" is the rest of the foreground. None without structures, or with too many for a page.
    """
    rows = [row for row in rows if row.failed is None and row.maps.get("structures")]
    labels = sorted({label for row in rows for label in row.maps["structures"]}, key=label_order)
    if not labels or len(labels) > MAX_LABELS + 1:
        return None
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        for key, (title, statistic) in _QUANTITIES.items():
            cells = [_over_subjects(own, ("structures", label, key, statistic)) for label in labels]
            if any(cell != "-" for cell in cells):
                body.append(tuple(TableCell(text) for text in (method, title, *cells)))
    shown = [{"0": "rest", **(names or {})}.get(label, f"label {label}") for label in labels]
    note = "Mean ± standard deviation over subjects. Rest: the foreground without the structures."
    return ResultTable(caption="By structure", header=("method", "quantity", *shown), body=tuple(body), notes=(note,))


def correlation_table(rows: Sequence[BenchmarkRow]) -> ResultTable | None:
    """Return the table of correlations of weight and deformation; None if no weight varies."""
    rows = [row for row in rows if row.failed is None and row.maps.get("correlation")]
    methods = [
        method
        for method in dict.fromkeys(row.method for row in rows)
        if any(value is not None for row in rows if row.method == method for value in row.maps["correlation"].values())
    ]
    if not methods:
        return None
    by_method = {method: [row for row in rows if row.method == method] for method in methods}
    columns = {
        title: [_over_subjects(by_method[method], path) for method in methods] for path, title in _RELATED.items()
    }
    columns = {title: cells for title, cells in columns.items() if any(cell != "-" for cell in cells)}
    body = tuple(tuple(TableCell(text) for text in line) for line in zip(methods, *columns.values(), strict=True))
    notes = (
        "Mean ± standard deviation over subjects. With: rank correlation of the weight over the foreground; below 0,"
        " less stiff where there is more. Jumps: difference of the displacements of two neighbors per mm, of different"
        " structures over of one structure.",
    )
    return ResultTable(caption="Weight and deformation", header=("method", *columns), body=body, notes=notes)


def _over_subjects(rows: Sequence[BenchmarkRow], path: Sequence[str]) -> str:
    values = {row.pair: value for row in rows if isinstance(value := value_at(row.maps, path), (int, float))}
    spread = SampleStatistics.of(list(subject_means(values, {row.pair: row.subject for row in rows}).values()))
    if spread is None:
        return "-"
    return f"{spread.mean:.3f}" + ("" if spread.sd is None else f" ± {spread.sd:.3f}")

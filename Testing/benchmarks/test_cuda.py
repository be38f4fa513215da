"""What was measured on a CUDA device: the page is that of the rows, within the limits that it claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cuda

REPORT = json.loads((cuda.OUT / "rows.json").read_text(encoding="utf-8"))


def test_the_page_follows_from_the_rows():
    assert (cuda.OUT / "table.md").read_text(encoding="utf-8") == cuda.table_of(REPORT)


def test_the_limits_are_kept():
    steps = {name: row for name, row in REPORT["rows"].items() if name.startswith("training step")}
    assert len(steps) == 4
    assert all(row["allocated_gib"] <= cuda.LIMIT_GIB for row in steps.values())


def test_a_row_that_failed_says_why():
    assert "failed: no memory" in cuda.line_of("a row", {"failed": "no memory"})

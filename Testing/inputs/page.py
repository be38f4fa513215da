"""Renders docs/reference/inputs.md from the rows: `python Testing/inputs/page.py --write` renews it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "reference" / "inputs.md"
sys.path[:0] = [str(ROOT), str(HERE)]

from table import Row, all_rows  # noqa: E402

HEAD = """# Bad and odd inputs

What becomes of inputs that are damaged, unusual or not what they seem: {count} of them, each held by a test of
`Testing/inputs`. "Refused" means one line that says what is wrong and what to do (exit code 2 on the command line, an
`InputError` in Python), with nothing written. A warning is one line in the log.

This page is rendered from those tests: `python Testing/inputs/page.py --write`.
"""


def rendered(rows: list[Row]) -> str:
    """The page, a section for each kind in the order of its first row."""
    kinds = dict.fromkeys(row.kind for row in rows)
    parts = [HEAD.format(count=len(rows))]
    for kind in kinds:
        lines = [f"| {_cell(row.what)} | {_cell(row.happens)} |" for row in rows if row.kind == kind]
        parts.append("\n".join([f"## {kind}\n", "| input | what happens |", "|---|---|", *lines]) + "\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(rendered(all_rows()), encoding="utf-8")
    else:
        sys.stdout.write(rendered(all_rows()))

"""Every row of docs/reference/inputs.md is what happens, and the page holds every row."""

from __future__ import annotations

from collections import Counter

import pytest
from page import PAGE, rendered
from table import all_rows

ROWS = all_rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}: {row.what}")
def test_what_the_page_says_is_what_happens(row, tmp_path):
    row.check(tmp_path)


def test_the_page_is_rendered_from_the_rows():
    remedy = "run: python Testing/inputs/page.py --write"
    assert PAGE.read_text(encoding="utf-8") == rendered(ROWS), remedy


def test_no_input_is_listed_twice():
    counts = Counter((row.kind, row.what) for row in ROWS)
    assert not [key for key, count in counts.items() if count > 1]

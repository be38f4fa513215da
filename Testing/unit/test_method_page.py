"""The page that maps the paper to the code: every file and name that it links exists, and every item is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "method.md"
LINKS = sorted(set(re.findall(r"\[`(\w+)`\]\(([^)]+\.py)\)", PAGE.read_text(encoding="utf-8"))))


def first_cells(title):
    """First cells of the rows of the table in a section."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    return [row.split("|")[1].strip() for row in section.splitlines() if row.startswith("|")][2:]


def numbers(cells):
    """Numbers in cells such as "8, 9" or "2, 3, 4"."""
    return sorted(int(number) for cell in cells for number in re.findall(r"(?<![.\w])\d+", cell))


def test_the_page_links_functions():
    assert len(LINKS) > 40


@pytest.mark.parametrize(("name", "path"), LINKS)
def test_a_linked_name_is_defined_in_the_linked_file(name, path):
    tree = ast.parse((PAGE.parent / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    assert name in {node.name for node in tree.body if isinstance(node, kinds)}, path


def test_every_equation_table_and_figure_of_the_paper_has_a_row():
    assert numbers(first_cells("Equations")) == list(range(1, 21))
    assert numbers(first_cells("Tables")) == list(range(1, 7))
    figures = first_cells("Figures")
    assert numbers(figures) == list(range(1, 14))
    lettered = sorted(name for cell in figures for name in re.findall(r"[A-D]\.\d+", cell))
    assert lettered == ["A.14", "A.15", "B.16", "B.17", "C.18", "C.19", "D.20"]


@pytest.mark.parametrize("prior", ["beta", "gaussian"])
def test_the_derived_weight_is_that_of_the_code(prior):
    """The two formulas of the page, at steep and flat places."""
    import torch

    from SPRCore.regularization import BetaPrior, GaussianPrior

    s = torch.tensor([1e-4, 0.05, 0.3, 2.0], dtype=torch.float64)
    if prior == "beta":
        found, wanted = BetaPrior(alpha=0.2, lambda_max=2.0).map_weight(s), (0.2 / (2.0 * s)).clamp(max=1.0)
    else:
        found, wanted = GaussianPrior(sigma=0.4, lambda_mean=2.0).map_weight(s), (1.0 - 2.0 * s / 0.8).clamp(min=1e-6)
    torch.testing.assert_close(found, wanted)

"""Table and figure of previews beside exact results."""

from __future__ import annotations

import numpy as np

GROUPS = {
    "nothing exact": lambda row: row["near"] is None,
    "near an exact one (0.4)": lambda row: row["near"] is not None and row["near"] <= 0.4,
    "farther": lambda row: row["near"] is not None and row["near"] > 0.4,
    "shown as known": lambda row: row["known"],
    "hatched": lambda row: not row["known"],
}


def summary(rows):
    """Medians and tails of some rows."""
    correlations = [row["correlation"] for row in rows if row["correlation"] is not None]
    off = [abs(row["ratio"] - 1.0) for row in rows]
    return {
        "previews": len(rows),
        "median correlation": float(np.median(correlations)) if correlations else float("nan"),
        "lowest tenth": float(np.quantile(correlations, 0.1)) if correlations else float("nan"),
        "mean difference": float(np.mean([row["difference"] for row in rows])),
        "largest": float(max(row["difference"] for row in rows)),
        "displacement off, median": float(np.median(off)),
        "within 10 %": float(np.mean([one <= 0.1 for one in off])),
        "ms": float(np.median([row["milliseconds"] for row in rows])),
    }


def write_table(rows, file):
    """Write a table by pair, prior and group."""
    lines = []
    for name in dict.fromkeys(row["pair"] for row in rows):
        for prior in ("beta", "tv"):
            for title, belongs in GROUPS.items():
                here = [row for row in rows if row["pair"] == name and row["prior"] == prior and belongs(row)]
                if here:
                    found = summary(here)
                    if not lines:
                        lines = ["| " + " | ".join(["pair", "prior", "previews of", *found]) + " |"]
                        lines.append("|" + "---|" * (len(found) + 3))
                    cells = [f"{value:d}" if isinstance(value, int) else f"{value:.3f}" for value in found.values()]
                    lines.append("| " + " | ".join([name, prior, title, *cells]) + " |")
    file.write_text("\n".join(lines) + "\n")


def write_figure(rows, file):
    """Draw correlation, difference and displacement by the distance of the nearest exact setting."""

"""Table and figure of previews compared with exact results."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

GROUPS = {
    "nothing exact": lambda row: row["near"] is None,
    "beside something exact": lambda row: row["near"] is not None,
    "shown as known": lambda row: row["known"],
    "hatched": lambda row: not row["known"],
}


INTRODUCTION = """# Previews beside exact results

Measured by `python benchmarks/live/measure_maps.py`, one thread; its docstring says how. *Correlation* and
*difference* (0 to 1) of the weight maps on the fixed grid; without the correlation of a constant map.
*Displacement off*: largest displacement of the preview over that of the exact result, minus 1. *Shown as known*:
`Reply.weight_known`; else the map is hatched. *ms*: of a preview, on a machine that did other things. The rows are in
`maps.json`, a figure is `maps.png`.

"""


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
        for prior in ("beta", "tv", "both"):
            for title, belongs in GROUPS.items():
                here = [row for row in rows if row["pair"] == name and prior in (row["prior"], "both") and belongs(row)]
                if here:
                    found = summary(here)
                    if not lines:
                        lines = ["| " + " | ".join(["pair", "prior", "previews of", *found]) + " |"]
                        lines.append("|" + "---|" * (len(found) + 3))
                    cells = [f"{value:d}" if isinstance(value, int) else f"{value:.3f}" for value in found.values()]
                    lines.append("| " + " | ".join([name, prior, title, *cells]) + " |")
    file.write_text(INTRODUCTION + "\n".join(lines) + "\n")


def write_figure(rows, file):
    """Draw correlation, difference and displacement by the distance of the nearest exact setting."""
    parts = (
        ("correlation", "correlation of the weight maps", 0.9),
        ("difference", "mean difference of the weight maps", 0.08),
        ("ratio", "largest displacement, preview / exact", 1.0),
    )
    figure, panels = plt.subplots(1, len(parts), figsize=(15, 4.5), layout="constrained")
    names = list(dict.fromkeys(row["pair"] for row in rows))
    for panel, (key, title, line) in zip(panels, parts, strict=True):
        for color, name in enumerate(names):
            for known, marker in ((True, "o"), (False, "x")):
                here = [r for r in rows if r["pair"] == name and r["known"] == known and r[key] is not None]
                near = [1.5 if row["near"] is None else row["near"] for row in here]
                label = f"{name}, {'shown' if known else 'hatched'}"
                panel.scatter(near, [row[key] for row in here], 22, f"C{color}", marker, alpha=0.7, label=label)
        panel.axhline(line, color="gray", linewidth=0.8)
        panel.set(xlabel="distance of the nearest exact setting, slider lengths (1.5: none)", title=title)
    panels[2].axhspan(0.9, 1.1, color="gray", alpha=0.15)
    panels[2].set_ylim(0.0, 2.0)
    panels[0].legend(fontsize=8)
    figure.savefig(file, dpi=100)
    plt.close(figure)

"""The report of the benchmarks as Markdown."""

from __future__ import annotations

HEAD = """# Performance

Measured by `make bench`; each row in a process of its own, ours and its rival in one run. Numbers of another machine
differ, the ratios less so.

"""
OPERATIONS = """## Operations

*Twin*: the same written in plain PyTorch and left to autograd. *Peak*: resident memory above that before the call.
*Kept*: what the graph holds for the backward pass beyond the inputs. *Error*: largest difference of value and gradient
from the twin in double precision, relative to the largest value, at 32 x 28 x 24 voxels.

"""
COLUMNS = (
    *("operation", "size", "twin", "forward, s", "ratio", "forward + backward, s", "ratio"),
    *("peak, MiB", "ratio", "kept, MiB", "error: value, gradient"),
)

PAIRS = """
## Registration

Pairs are registered as they lie, without alignment as a whole. *SyN*: `antspyx`, `SyNOnly` with its defaults; *CC*:
the same by local correlation of radius 4. Every quality is computed by the same code from the field of the method.

"""
PAIR_COLUMNS = (
    *("pair", "size", "method", "seconds", "peak, MiB"),
    *("LNCC before → after", "Dice before → after", "folding, %"),
)


def markdown(report):
    """Write the report as one page."""
    machine = report["machine"]
    where = f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores, {machine['system']}"
    text = f"{HEAD}Machine: {where}; Python {machine['python']}, PyTorch {machine['torch']}.\n\n"
    if report["quick"]:
        text += "**A quick run at tiny sizes: it shows that the benchmark runs, its numbers mean nothing.**\n\n"
    text += OPERATIONS + _head(COLUMNS) + "".join(_operation(row) for row in report["operations"].values())
    text += PAIRS + _head(PAIR_COLUMNS) + "".join(_pair(name, row) for name, row in report["pairs"].items())
    return text


def _cells(*cells):
    return "| " + " | ".join(cells) + " |\n"


def _head(columns):
    return _cells(*columns) + "|---" * len(columns) + "|\n"


def _size(shape):
    return " x ".join(map(str, shape))


def _both(row, key, digits):
    ours, twin = row["ours"][key], row["twin"][key]
    ratio = f"{twin / ours:.1f}" if ours > 0 and twin > 0 else "-"
    return f"{ours:.{digits}f} against {twin:.{digits}f}", ratio


def _operation(row):
    head = (row["title"], _size(row["size"]), row["against"])
    failed = [row[who]["failed"] for who in ("ours", "twin", "error") if "failed" in row[who]]
    if failed:
        return _cells(*head, "failed: " + "; ".join(failed), *[""] * 7)
    kept, _ = _both(row, "kept_mib", 0)
    errors = "; ".join(
        f"{who} {row['error'][who]['value']:.0e}, {row['error'][who]['gradient']:.0e}" for who in row["error"]
    )
    peak = _both(row, "both_peak_mib", 0)
    return _cells(*head, *_both(row, "forward_seconds", 3), *_both(row, "both_seconds", 3), *peak, kept, errors)


def _pair(name, row):
    text = ""
    for method, got in row.items():
        if "failed" in got:
            text += _cells(name, "", method, "failed: " + got["failed"], *[""] * 4)
            continue
        overlap = f"{got['dice_before']:.3f} → {got['dice']:.3f}" if "dice" in got else "no labels"
        text += _cells(
            name,
            _size(got["shape"]),
            method,
            f"{got['seconds']:.1f}",
            f"{got['peak_mib']:.0f}",
            f"{got['lncc_before']:.3f} → {got['lncc']:.3f}",
            overlap,
            f"{got['folding_percent']:.4f}",
        )
    return text

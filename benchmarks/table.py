"""The report of the benchmarks as Markdown."""

from __future__ import annotations

from command import markdown as stage_tables

HEAD = """# Performance

Measured by `make bench`; each row in its own process, ours and its reference in one run. Numbers of another machine
differ, the ratios less so. `python benchmarks/run.py --only NAME...` renews single rows, `--slow` adds the
methods that take many minutes. Methods that are not listed were not measured on this machine.

"""
OPERATIONS = """## Operations

*Reference*: the same in plain PyTorch with autograd, or that of MONAI. *Peak*: resident memory above that before the
call.
*Kept*: what the graph holds for the backward pass beyond the inputs. *Error*: largest difference of value and gradient
from the same in double precision, relative to the largest value, at 32 x 28 x 24 voxels. Networks of VoxelMorph and
TransMorph in a whole training step: [docs/results/training_step](../results/training_step/table.md).

"""
COLUMNS = (
    *("operation", "size", "reference", "forward, s", "ratio", "forward + backward, s", "ratio"),
    *("peak, MiB", "ratio", "kept, MiB", "error: value, gradient"),
)

STAGES = """
## Stages of a registration

One brain of {shape} voxels, {threads} threads. *Difference*: 99.9th percentile of the difference from the result of
SimpleITK, in parts of its range (its fields are in double precision).

"""
STAGE_COLUMNS = ("stage", "seconds", "SimpleITK, seconds", "ratio", "difference")

COMMAND = """
## The whole command

`spr register FIXED MOVING --out DIR` with its defaults, from typing to the prompt, {threads} of PyTorch, on made-up
scenes in NIfTI files (`python benchmarks/command.py --size X Y Z --cubes N... --threads T`; into this page by
`python benchmarks/run.py --only command --command-threads T`). *Seconds* are those of the clock; *processor*
are those of all threads together, which do not see what else the machine does; *peak* is the most resident memory of
the process. *Start* is Python and its modules, most of it PyTorch; *end* is what Python does after the last line is
printed.
"""
PAIRS = """
## Registration

Pairs are registered without affine pre-alignment; every method with its defaults, on the processor. *SyN*
is SyNOnly of antspyx with mutual information, *SyN, CC* with local correlation of radius 4 and the 100, 70, 50, 20
iterations of the paper, *to half resolution* with the iterations that antspyx takes (40, 20, 0: none at full
resolution). *convexAdam* and *FireANTs* are the packages of these names, the latter at scales 4, 2, 1 with 200, 100, 50
iterations. *Of processor* counts all threads together and does not see what else the machine does: the ratios are those
of it, to ours; the methods of `--slow` run for so long that the machine did other things beside them, and sometimes
stopped them, so that of them the seconds alone say too much. Every quality is computed by the same code from the field
of the method. Nothing was tuned for these pairs: why convexAdam gains so little overlap on the made-up scene was not
looked into (its empty surroundings are noise, which no method excludes).

Sixteen hearts and three brains beside SyN: [docs/results/real_pairs](../results/real_pairs/table.md). There SyN by
local correlation, to half resolution, takes 17 times our processor time on hearts, and SyN by mutual information 3
times on brains.

"""
PAIR_COLUMNS = (
    *("pair", "size", "method", "seconds", "of processor", "ratio", "peak, MiB"),
    *("LNCC before → after", "Dice before → after", "folding, %", "turned volume, %"),
)


def markdown(report):
    """Write the report as one page."""
    machine = report["machine"]
    where = f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores, {machine['system']}"
    text = f"{HEAD}Machine: {where}; Python {machine['python']}, PyTorch {machine['torch']}.\n\n"
    if report["quick"]:
        text += "**A quick run at tiny sizes: it shows that the benchmark runs, its numbers mean nothing.**\n\n"
    text += OPERATIONS + _head(COLUMNS) + "".join(_operation(row) for row in report["operations"].values())
    if "rows" in report["stages"]:
        stages = report["stages"]
        text += STAGES.format(shape=_size(stages["shape"]), threads=stages["threads"]) + _head(STAGE_COLUMNS)
        text += "".join(_stage(name, row) for name, row in stages["rows"].items())
    if report.get("command"):
        count = report["command"]["threads"]
        text += COMMAND.format(threads="one thread" if count == 1 else f"{count} threads")
        text += stage_tables(report["command"]["sizes"])
    text += PAIRS + _head(PAIR_COLUMNS)
    return text + "".join(_pair(name, row, report["methods"]) for name, row in report["pairs"].items())


def _cells(*cells):
    return "| " + " | ".join(cells) + " |\n"


def _head(columns):
    return _cells(*columns) + "|---" * len(columns) + "|\n"


def _size(shape):
    return " x ".join(map(str, shape))


def _both(row, key, digits):
    ours, reference = row["ours"][key], row["reference"][key]
    ratio = f"{reference / ours:.1f}" if ours > 0 and reference > 0 else "-"
    return f"{ours:.{digits}f} against {reference:.{digits}f}", ratio


def _operation(row):
    head = (row["title"], _size(row["size"]), row["against"])
    if "absent" in row:
        return _cells(*head, row["absent"], *[""] * 7)
    failed = [row[who]["failed"] for who in ("ours", "reference", "error") if "failed" in row[who]]
    if failed:
        return _cells(*head, "failed: " + "; ".join(failed), *[""] * 7)
    kept, _ = _both(row, "kept_mib", 0)
    errors = "; ".join(
        f"{who} {row['error'][who]['value']:.0e}, {row['error'][who]['gradient']:.0e}" for who in row["error"]
    )
    peak = _both(row, "both_peak_mib", 0)
    return _cells(*head, *_both(row, "forward_seconds", 3), *_both(row, "both_seconds", 3), *peak, kept, errors)


def _stage(name, row):
    theirs = f"{row['SimpleITK']:.3f}" if "SimpleITK" in row else ""
    ratio = f"{row['SimpleITK'] / row['ours']:.1f}" if "SimpleITK" in row else ""
    return _cells(name, f"{row['ours']:.3f}", theirs, ratio, f"{row['difference']:.0e}" if "difference" in row else "")


def _pair(name, row, methods):
    text, ours = "", row.get("ours", {}).get("processor_seconds")
    for method in methods:
        got = row.get(method, {"absent": "not measured"})
        if "failed" in got or "absent" in got:
            text += _cells(name, "", method, got.get("absent") or "failed: " + got["failed"], *[""] * 7)
            continue
        overlap = f"{got['dice_before']:.3f} → {got['dice']:.3f}" if "dice" in got else "no labels"
        text += _cells(
            name,
            _size(got["shape"]),
            method,
            f"{got['seconds']:.1f}",
            f"{got['processor_seconds']:.1f}",
            f"{got['processor_seconds'] / ours:.1f}" if ours else "",
            f"{got['peak_mib']:.0f}",
            f"{got['lncc_before']:.3f} → {got['lncc']:.3f}",
            overlap,
            f"{got['folding_percent']:.4f}",
            f"{got['ndv_percent']:.4f}",
        )
    return text

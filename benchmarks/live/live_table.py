"""The benchmark of live registration as a Markdown table with target times."""

from __future__ import annotations

WANTED = {  # preview p95 in ms; exact in s: network, instance
    "heart": (120.0, 1.0, None),
    "brain": (300.0, 4.0, 20.0),
}
HEAD = """# Live registration

Measured by `python benchmarks/live/measure_live.py`. Each row: one worker, the recorded drag
(`benchmarks/live/drag.json`), then 60 moves a second. *Preview*: from asking to having the arrays, one move
after the other. *Age*: of the shown result, from its own move to the arrays, and as a multiple of the computation;
*idle*: from the last move to a worker with nothing to do (without improvements), and its share of a core in the second
that begins one second after the release. *Exact*: of a setting not visited before, by improvements of its preview, and
by a commit of a setting with a preview (with inverse, warped image and all metrics). *Released*: after a drag with
improvements, until the exact displacement is shown, and until the rest of the commit is there. *Memory*: worker, most,
and growth from the middle third of the drag to the last. *Cold*: longest distance from `SPRCore.register`, in voxels.
*Processor*: time of all cores that the worker used for one preview and for one exact result by improvements, hardly
changed by other programs; *load*: what else ran. Times of a row with a load above 0.5 are not those of the machine.
Networks have random weights.

"""
COLUMNS = (
    *("pair", "method", "preview p50, p95, ms", "wanted", "age p50, p95, ms", "age / computation p95"),
    *(
        "shown a second",
        "idle after release, s; share",
        "exact p50, max, s",
        "commit p50, max, s",
        "wanted",
        "released: exact, committed, s",
    ),
    *("memory, MiB", "cold, voxels", "processor: preview, ms; exact p50, s", "load before"),
)


def markdown(report):
    """Write the report as one page."""
    machine = report["machine"]
    where = f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores, {machine['system']}"
    text = f"{HEAD}Machine: {where}; Python {machine['python']}, PyTorch {machine['torch']}.\n\n"
    text += _cells(*COLUMNS) + "|---" * len(COLUMNS) + "|\n"
    return text + "".join(_row(row) for row in report["rows"].values())


def _row(row):
    drag, memory = row["drag"], row["drag"]["memory"]["worker"]
    preview, network, instance = WANTED.get(row["size"], (None, None, None))
    exact = instance if row["method"] == "instance" else network
    return _cells(
        f"{row['size']} {'x'.join(map(str, row['shape']))}",
        row["method"] + ("" if row["device"] == "cpu" else f", {row['device']}"),
        _two(row["preview_ms"], "p95", 0),
        _wanted(preview, row["preview_ms"]["p95"], "ms"),
        _two(drag["age_ms"], "p95", 0),
        f"{drag['age_over_computation']['p95']:.1f}",
        f"{drag['shown_per_s']:.1f}",
        f"{drag['idle_after_release_s']:.2f}; {100 * drag['processor_share_1_to_2_s_after']:.0f} %",
        _two(row["improved_to_exact_s"], "max", 2),
        _two(row["commit_s"], "max", 2),
        _wanted(exact, row["improved_to_exact_s"]["max"], "s"),
        f"{row['release']['exact_after_s']:.2f}, {row['release']['committed_after_s']:.2f}",
        f"{memory['most_mib']:.0f}, {memory.get('growth_mib', float('nan')):+.0f}",
        f"{row['from_cold_run_vox']:.2g}" if "from_cold_run_vox" in row else "-",
        f"{row['preview_processor_ms']:.0f}; {row['exact_processor_s']['p50']:.2f}",
        "-" if row["load_before"] is None else f"{row['load_before']:.1f}",
    )


def _two(values, second, digits):
    return f"{values['p50']:.{digits}f}, {values[second]:.{digits}f}"


def _wanted(limit, got, unit):
    return "-" if limit is None else f"{limit:g} {unit}: {'met' if got <= limit else 'missed'}"


def _cells(*cells):
    return "| " + " | ".join(cells) + " |\n"

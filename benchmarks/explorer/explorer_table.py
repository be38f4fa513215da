"""The results of the benchmark of the Explorer as Markdown, with the targets."""

from __future__ import annotations

HEAD = """# The Explorer, from mouse to pixels

Measured by `python benchmarks/explorer/measure_explorer.py`: server, live worker (instance method) and
headless Chromium on one machine, in a window of 1280 x 800, with the beating heart of 128 x 128 x 32 voxels.

*Drag*: the recorded drag of `benchmarks/live/drag.json`, played as movements of a real mouse; from a movement
to the first picture of a slice view in the page that shows its setting and has other pixels than the one before.
*Steps*: the same for single movements, each after a rest. *Pictures*: shown a second while the mouse moves, in the
slice view with fewest and in that with most. *Cores*: how many each of them keeps busy during the drag, rests included.

"""
COLUMNS = (
    *("shown", "drag: age p50, p95, ms", "wanted", "step p50, p95, ms", "pictures a second", "wanted"),
    *("preview, computed, ms", "scene, ms", "view drawn, ms", "cores: server, worker, browser"),
)
AGE_MS, RATE, START_S = (150.0, 300.0), 10.0, 10.0


def markdown(report):
    """Return the report as Markdown."""
    machine, row = report["machine"], report["row"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; Python {machine['python']}"
    text = f"{HEAD}Machine: {where}. Load before: {row['load_before']:.1f}.\n\n"
    names = [name for name, values in row.items() if isinstance(values, dict)]
    if names:
        text += _cells(*COLUMNS) + "|---" * len(COLUMNS) + "|\n"
        text += "".join(_row(name, row[name]) for name in names)
    if row["starts"]:
        text += "\n" + _cells("start of `spr explore`, s", "median", "largest", "wanted") + "|---|---|---|---|\n"
        words = {"address_s": "address printed", "page_s": "page there", "images_s": "images seen, sliders usable"}
        for key, what in (words | {"deformation_s": "first deformation seen"}).items():
            values = sorted(start[key] for start in row["starts"])
            wanted = f"{START_S:g} s: {_met(values[-1] <= START_S)}" if key == "images_s" else "-"
            text += _cells(what, f"{values[len(values) // 2]:.1f}", f"{values[-1]:.1f}", wanted)
    return text


def _row(name, values):
    drag, spent = values["drag"], values["drag"]["server_ms"]
    age, rates = drag["age_ms"], drag["pictures_per_s"]
    cores = drag["cores_busy"]
    is_fast = age["p50"] <= AGE_MS[0] and age["p95"] <= AGE_MS[1]
    return _cells(
        name,
        _two(age),
        f"{AGE_MS[0]:.0f}, {AGE_MS[1]:.0f}: {_met(is_fast)}",
        _two(values["step_ms"]),
        f"{rates[0]:.1f} to {rates[-1]:.1f}",
        f"{RATE:g}: {_met(rates[-1] >= RATE)}",
        *(_two(spent.get(what)) for what in ("computed", "applied", "drawn")),
        f"{cores['server']:.2f}, {cores['worker']:.2f}, {cores['browser']:.2f}",
    )


def _two(values):
    return "-" if values is None else f"{values['p50']:.0f}, {values['p95']:.0f}"


def _met(is_met):
    return "met" if is_met else "missed"


def _cells(*cells):
    return "| " + " | ".join(cells) + " |\n"

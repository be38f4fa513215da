"""End-to-end latency of the Explorer: `python benchmarks/explorer/measure_explorer.py`.

Server, live worker, headless browser and mouse events of the browser, all as in use.

* Start: from the command to the page, to its images, and to the first deformation.
* Steps: the mouse drags a slider by one step and rests until the page is quiet; time to the first changed pixels of a
  slice view.
* Drag: the recorded drag of the benchmark of live registration; age of each image with a new setting, and image rate.

The pair has 128 x 128 x 32 voxels. Timings need an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "live"), str(ROOT / "Testing" / "explorer")]

from ages import ages, percentiles, pictures_per_second  # noqa: E402
from drag import load  # noqa: E402
from driving import Page, Server, wait  # noqa: E402
from explorer_table import markdown  # noqa: E402
from run import machine  # noqa: E402

from SPRExplorer.browser import headless_browser  # noqa: E402

ROWS = {"images and stiffness": False, "and the displacement as a grid": True}
"""Whether the displacement is shown as a grid."""

FIELDS = {0: "alpha", 1: "lambdaMax"}
NAMES = {"alpha": "alpha", "lambdaMax": "lambda_max"}
WINDOW = (1280, 800)
"""Window of a small laptop, pixels."""

PRESS_S = 0.1
"""Time from the press to the first movement."""

QUIET_S = 0.8
"""Time without a change before the next step."""


def write_pair(folder, shape):
    """Write the beating heart as fixed and moving image; returns the paths."""
    from SPRCore.io import write_volume
    from SPRCore.synthetic import beating_heart

    phantom = beating_heart(shape=shape)
    paths = [folder / "diastole.nii.gz", folder / "systole.nii.gz"]
    for path, volume in zip(paths, (phantom.fixed, phantom.moving), strict=True):
        write_volume(volume, path)
    return paths


class Mouse:
    """A mouse of the browser on the slider of one field."""

    def __init__(self, page, field):
        self.page, self.field = page, field
        page.js("document.querySelector(`[data-spr-field=${arguments[0]}]`).scrollIntoView({block: 'center'})", field)
        time.sleep(0.5)
        script = "const b = document.querySelector(`[data-spr-field=${arguments[0]}] .v-slider-track`)"
        self.left, self.width, self.y = page.js(
            f"{script}.getBoundingClientRect(); return [b.left, b.width, b.top + b.height / 2]", field
        )
        page.js("window.sprWatch.field = arguments[0]", field)

    def press(self, position):
        """Press at a position from 0 to 1."""
        self._send("mouseMoved", position, 0)
        self._send("mousePressed", position, 1)

    def move(self, position):
        """Move on with the button down."""
        self._send("mouseMoved", position, 1)

    def release(self, position):
        """Release the button."""
        self._send("mouseReleased", position, 0)

    def _send(self, kind, position, buttons):
        point = {"x": self.left + position * self.width, "y": self.y}
        button = {"button": "left", "buttons": buttons, "clickCount": 1}
        self.page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind} | point | button)


def events_of_page(page):
    """Return and clear the events that the page recorded."""
    return page.js("const n = {moves: sprWatch.moves, pictures: sprWatch.pictures};"
                   "sprWatch.moves = []; sprWatch.pictures = []; return n")  # fmt: skip


def wait_until_quiet(page):
    """Wait until no image has changed for a while."""
    changed = "sprWatch.pictures.filter((picture) => picture.changed).length"
    script = f"return [{changed}, performance.timeOrigin + performance.now()]"
    count, since = page.js(script)
    while True:
        time.sleep(0.1)
        now_count, now = page.js(script)
        if now_count != count:
            count, since = now_count, now
        if now - since > 1e3 * QUIET_S and not page.get("busy"):
            return


def steps(page, field, count):
    """Drag by single steps with a rest after each; returns the events of the page."""
    mouse = Mouse(page, field)
    mouse.press(0.2)
    wait_until_quiet(page)
    events_of_page(page)
    events = {"moves": [], "pictures": []}
    for step in range(1, count + 1):
        mouse.move(0.2 + 0.6 * step / count)
        wait_until_quiet(page)
        found = events_of_page(page)
        events["moves"] += found["moves"][:1]
        events["pictures"] += found["pictures"]
    mouse.release(0.8)
    return events


def drag(page, seconds):
    """Play the recorded drag; returns the events of the page by the field."""
    events = {}
    slider, mouse, position = None, None, [0.3, 0.2]
    start = time.perf_counter()
    for at_ms, *goal in load():
        if at_ms > 1e3 * seconds:
            break
        moved = next(index for index in (0, 1) if goal[index] != position[index])
        late = time.perf_counter() - start - at_ms / 1e3
        if moved != slider:
            if mouse is not None:
                mouse.release(position[slider])
                time.sleep(1.0)
                _add(events, FIELDS[slider], events_of_page(page))
            pause = time.perf_counter()
            slider, mouse = moved, Mouse(page, FIELDS[moved])
            wait_until_quiet(page)
            events_of_page(page)
            mouse.press(position[moved])
            time.sleep(PRESS_S)
            start += time.perf_counter() - pause + max(late, 0)
        elif late > 1 / 60:
            position = goal  # skipped: the browser is late
            continue
        time.sleep(max(0.0, start + at_ms / 1e3 - time.perf_counter()))
        mouse.move(goal[moved])
        position = goal
    mouse.release(position[slider])
    time.sleep(1.0)
    _add(events, FIELDS[slider], events_of_page(page))
    return events


def _add(events, field, more):
    log = events.setdefault(field, {"moves": [], "pictures": []})
    for name in log:
        log[name] += more[name]


def start_of_server(pair, browser, row):
    """Start `spr explore` and measure the time until the page is usable; ends the server."""
    command = [sys.executable, "-m", "SPRCore.cli", "explore", *map(str, pair), "--no-browser", "--port", "0"]
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        line = next(line for line in process.stdout if "http://" in line)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        row["address_s"] = time.monotonic() - began
        browser.get("about:blank")
        page = Page(browser, line.split()[-1])
        row["page_s"] = time.monotonic() - began
        shown = "[...document.querySelectorAll('.layout-grid-item img')].filter(i => i.naturalWidth > 10).length"
        wait(lambda: page.js(f"return {shown}") >= 3 and page.get("names")["movingVolume"], pause=0.05)
        row["images_s"] = time.monotonic() - began
        wait(lambda: page.get("has_result"), pause=0.05)
        row["deformation_s"] = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def measure(pair, options, scratch, lines):
    """Steps and drag on one server, with or without the grid of the displacement."""
    row = {}
    log = scratch / "events.jsonl"
    server = Server(script=HERE / "serve_recorded.py", arguments=[str(log)], pair=[str(path) for path in pair])
    try:
        browser = headless_browser(WINDOW)
        try:
            page = Page(browser, server.address)
            page.js((HERE / "watch.js").read_text(encoding="utf-8"))
            page.wait_state("has_result")
            page.wait_state("is_exact")
            page.set("showDisplacement", lines)
            wait_until_quiet(page)
            row["views_px"] = page.js("return [...document.querySelectorAll('.layout-grid-item img')]"
                                      ".map(i => [i.naturalWidth, i.naturalHeight])")  # fmt: skip
            recorded = {field: steps(page, field, options.steps) for field in FIELDS.values()}
            row["step_ms"] = percentiles(ages_of(recorded, events_in(log)))
            begun, before = time.time() * 1e3, processor_s(server)
            dragged = drag(page, options.seconds)
            used = {kind: value - before[kind] for kind, value in processor_s(server).items()}
            seconds = time.time() - begun / 1e3
            row["drag"] = drag_row(dragged, log, begun)
            row["drag"]["cores_busy"] = {kind: round(value / seconds, 2) for kind, value in used.items()}
        finally:
            browser.quit()
    finally:
        server.close()
    if options.events:
        options.events.write_text(json.dumps({"steps": recorded, "drag": dragged, "server": events_in(log)}))
    return row


def processor_s(server):
    """CPU seconds of server, worker, browser and this process."""
    import psutil

    def used(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            return sum(process.cpu_times()[:2])
        return 0.0

    workers = set(server.workers())
    own = psutil.Process()
    found = {"server": 0.0, "worker": 0.0, "browser": 0.0, "driving": used(own)}
    for each in own.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            kind = "browser" if "chromium" in each.name() else "driving"
            kind = "worker" if each.pid in workers else "server" if each.pid == server.pid else kind
            found[kind] += used(each)
    return found


def events_in(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def ages_of(recorded, server):
    """Ages of the shown images, of all sliders."""
    found = []
    for field, events in recorded.items():
        sent = [note for note in server if note["what"] == "pushed"]
        pushed = [note | {"value": note["setting"].get(NAMES[field], -1.0)} for note in sent]
        found += ages(events["moves"], events["pictures"], pushed)
    return found


def drag_row(dragged, log, begun):
    """Results of the recorded drag, with the events of the server."""
    server = [note for note in events_in(log) if note["at"] >= begun]
    rates = [pictures_per_second(events["moves"], events["pictures"]) for events in dragged.values()]
    took = {}
    for note in server:
        if note["took_ms"] is not None:
            took.setdefault(note["what"], []).append(note["took_ms"])
        if note["what"] == "applied":
            took.setdefault("computed", []).append(note["computed_ms"])
    return {
        "moves": sum(len(events["moves"]) for events in dragged.values()),
        "age_ms": percentiles(ages_of(dragged, server)),
        "pictures_per_s": [min(rate[index] for rate in rates) for index in range(3)],
        "server_ms": {what: percentiles(values) for what, values in took.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 128, 32))
    parser.add_argument("--steps", type=int, default=20, help="single steps on each slider")
    parser.add_argument("--seconds", type=float, default=25.0, help="of the recorded drag")
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--events", type=Path, help="file for all recorded events")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "explorer")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    row = {"shape": list(options.shape), "load_before": load, "starts": []}
    with tempfile.TemporaryDirectory() as scratch:
        pair = write_pair(Path(scratch), tuple(options.shape))
        if options.starts:
            browser = headless_browser(WINDOW)
            try:
                for _start in range(options.starts):
                    row["starts"].append({})
                    start_of_server(pair, browser, row["starts"][-1])
            finally:
                browser.quit()
        for name in options.rows:
            row[name] = measure(pair, options, Path(scratch), ROWS[name])
    report = {"machine": machine(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))), "row": row}
    (options.out / "rows.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (options.out / "table.md").write_text(markdown(report), encoding="utf-8")
    sys.stdout.write(markdown(report))


if __name__ == "__main__":
    main()

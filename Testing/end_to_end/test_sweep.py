"""`spr sweep` as a user runs it, on a small pair and a network of random weights."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from SPRCore.analysis.rows import SurfacePoint, read_rows
from SPRCore.analysis.saved_pairs import read_saved_pairs
from SPRCore.io import write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.tuning.panels import PANELS
from SPRCore.tuning.sweep import SURFACE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_network, card_for):
    """A hyper model of random weights."""
    network = tiny_network("hyper-vxm-spr-small")
    ranges = {"alpha": (0.0, 0.6), "lambda_max": (0.0, 3.0)}
    card = card_for(network, name="tiny", ranges=ranges, defaults={"alpha": 0.1, "lambda_max": 1.0})
    path = tmp_path_factory.mktemp("model") / "tiny.sprmodel.safetensors"
    write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), path)
    return path


@pytest.fixture(scope="module")
def listed(pair, tmp_path_factory):
    """The pair, there and back."""
    columns = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points")
    cells = [str(getattr(pair, column)) for column in columns]
    swapped = [cells[1], cells[0], cells[3], cells[2], cells[5], cells[4]]
    path = tmp_path_factory.mktemp("list") / "pairs.csv"
    lines = [["pair", "subject", *columns], ["there", "one", *cells], ["back", "one", *swapped]]
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    return path


@pytest.fixture
def command(model, listed, tmp_path):
    """What follows `spr`, for a folder."""

    def make(*more):
        usual = ("--init", "none", "--device", "cpu", "--out", tmp_path / "run")
        return ("sweep", model, "--pairs", listed, *usual, *more)

    return make


def points(tmp_path):
    return read_rows(tmp_path / "run" / SURFACE, SurfacePoint).rows


def keys(rows):
    return [(row.pair, *row.setting.values()) for row in rows]


def test_processes_share_a_sweep_and_a_run_goes_on(command, spr, tmp_path):
    done = spr(*command("--points", 4, "--processes", 2))
    assert done.code == 0, done.err
    rows = points(tmp_path)
    assert len(set(keys(rows))) == len(rows) == 2 * 4 * 4
    assert {row.failed for row in rows} == {None}
    assert all(row.tre_mm > 0 and 0 < row.dice_mean < 1 and 0 < row.weight_mean <= 1 for row in rows)
    assert f"best mean Dice: {max(means(rows).values()):.4f}" in done.out
    path = tmp_path / "run" / SURFACE
    lines = path.read_text().splitlines()
    kept = [line for line in lines[:-5] if json.loads(line).get("pair") != "back" or "0.2" not in line]
    path.write_text("\n".join(kept) + '\n{"pair": "there", "sett')  # as a killed process leaves it
    missing = len(rows) - (len(kept) - 1)
    again = spr(*command("--points", 4, "--processes", 1))
    assert again.code == 0, again.err
    more = points(tmp_path)
    assert len(more) == len(kept) - 1 + missing
    first, second = ({key: row for key, row in zip(keys(part), part, strict=True)} for part in (rows, more))
    assert first.keys() == second.keys()
    for key, row in first.items():  # whichever process measured it
        assert row.dice_mean == pytest.approx(second[key].dice_mean, abs=1e-4)
    wider = spr(*command("--grid", "alpha=0.1,lambda_max=1:2:0.5", "--processes", 1))
    assert wider.code == 0, wider.err
    assert len(points(tmp_path)) == len(more) + 2 * 3


def test_images_of_a_pair_are_kept_at_a_few_settings(command, spr, tmp_path):
    grid = ("--grid", "alpha=0:0.5:0.1,lambda_max=1:2:1", "--processes", 1, "--keep", "there")
    done = spr(*command(*grid))
    assert done.code == 0, done.err
    (kept,) = read_saved_pairs(tmp_path / "run" / PANELS, every_setting=True)
    settings = {(method.setting["alpha"], method.setting["lambda_max"]): method for method in kept.methods}
    assert settings.keys() == {(alpha, strength) for alpha in (0.0, 0.1, 0.2, 0.4, 0.5) for strength in (1.0, 2.0)}
    swept = {tuple(row.setting.values()): row for row in points(tmp_path) if row.pair == "there"}
    for key, method in settings.items():
        assert method.metrics["after"]["dice_mean"] == pytest.approx(swept[key].dice_mean, abs=0.005)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / PANELS).rglob("*")}
    assert spr(*command(*grid)).code == 0  # there is nothing left to do
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / PANELS).rglob("*")}
    done = spr("report", tmp_path / "run", "--out", tmp_path / "report")
    assert done.code == 0, done.err
    assert (tmp_path / "report" / "figures" / "there-tiny-settings.png").is_file()
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Best hyperparameters" in page
    assert "there-tiny-settings.png" in page
    wrong = spr(*command("--keep", "nowhere"))
    assert wrong.code == 2
    assert "--keep: got 'nowhere'; expected back, there" in wrong.err[0]


def means(rows):
    found = {}
    for row in rows:
        found.setdefault(tuple(row.setting.items()), []).append(row.dice_mean)
    return {setting: sum(values) / len(values) for setting, values in found.items()}


def test_an_interrupted_sweep_keeps_what_it_has(command, spr, spr_process, tmp_path):
    process = spr_process(*command("--points", 60, "--processes", 2))
    path = tmp_path / "run" / SURFACE
    deadline = time.monotonic() + 120
    while not (path.exists() and len(path.read_text().splitlines()) > 10):
        assert time.monotonic() < deadline, process.communicate()
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes" in err
    rows = points(tmp_path)
    assert 9 < len(rows) == len(set(keys(rows))) < 2 * 60 * 60


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_no_process_outlives_a_killed_sweep(command, spr_process, tmp_path):
    import psutil

    process = spr_process(*command("--points", 60, "--processes", 2))
    path = tmp_path / "run" / SURFACE
    deadline = time.monotonic() + 120
    while not (path.exists() and len(path.read_text().splitlines()) > 5):
        assert time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert gone
    assert not alive


def test_what_cannot_be_swept(command, spr, listed, tmp_path):
    assert "got 'sigma'" in spr(*command("--grid", "sigma=0:1:0.5")).err[0]
    assert "0 to 0.72" in spr(*command("--grid", "alpha=0:1:0.5")).err[0]
    assert "--processes" in spr(*command("--processes", 0)).err[0]
    baseline = spr("sweep", "syn", "--pairs", listed, "--out", tmp_path)
    assert baseline.code == 2
    assert spr(*command("--points", 2)).code == 0
    moved = spr(*command("--points", 2, "--init", "center"))
    assert moved.code == 2
    assert "choose another --out" in moved.err[0]

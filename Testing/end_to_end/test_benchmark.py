"""`spr benchmark` and `spr report` as a user runs them, on a small pair."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from SPRCore.analysis.benchmark import ROWS
from SPRCore.analysis.isolated import IsolatedError, run_isolated
from SPRCore.analysis.rows import BenchmarkRow, read_rows
from SPRCore.metrics import MetricConventions

pytestmark = pytest.mark.slow


def write_list(pair, path):
    columns = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_points", "moving_points")
    cells = [str(getattr(pair, column)) for column in columns]
    swapped = [cells[1], cells[0], cells[3], cells[2], cells[5], cells[4]]
    lines = [["pair", "subject", *columns], ["there", "one", *cells], ["back", "one", *swapped]]
    path.write_text("\n".join(map(",".join, lines)) + "\n")
    return path


@pytest.fixture(scope="module")
def listed(pair, tmp_path_factory):
    """A list of the pair, there and back."""
    return write_list(pair, tmp_path_factory.mktemp("list") / "pairs.csv")


@pytest.fixture
def run(spr, listed, tmp_path):
    """Run a benchmark into a folder."""

    def start(*methods, **options):
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        arguments = ("--methods", *methods, "--init", "none", "--device", "cpu", *flags)
        return spr("benchmark", "--pairs", listed, "--out", tmp_path / "run", *arguments)

    return start


def test_the_conventions_of_the_author_of_the_paper(run, tmp_path):
    ours = run("u=uniform:0.5")
    assert ours.code == 0, ours.err
    theirs = run("u=uniform:0.5", **{"label-interpolation": "linear", "folding-over": "foreground"})
    assert theirs.code == 0, theirs.err
    first, second = (read_rows(tmp_path / "run" / ROWS, BenchmarkRow).rows[start] for start in (0, 2))
    assert first.conventions == MetricConventions()
    assert second.conventions == MetricConventions(label_interpolation="linear", folding_over="foreground")
    assert second.after["dice"] != first.after["dice"]
    assert second.after["tre_mm"] == pytest.approx(first.after["tre_mm"])


def test_rows_tables_and_resumption(run, spr, tmp_path):
    first = run("instance,u=uniform:0.5", twins="instance=u")
    assert first.code == 0, first.err
    saved = read_rows(tmp_path / "run" / ROWS, BenchmarkRow)
    assert [(row.pair, row.method) for row in saved.rows] == [
        (pair, method) for pair in ("there", "back") for method in ("instance", "u")
    ]
    row = saved.rows[0]
    assert row.failed is None
    assert row.after["dice_mean"] > row.before["dice_mean"]
    assert row.after["tre_mm"]["mean"] < row.before["tre_mm"]["mean"]
    assert 0 < row.seconds["register"] < row.seconds["total"]
    assert 0 < row.processor_seconds < 60
    assert 50 < row.peak_memory_mb < 5000
    assert row.twin == ("u",)
    assert row.setting == {"prior": "beta", "alpha": 0.1, "lambda_max": 1.0}
    assert "instance" in (tmp_path / "run" / "table.md").read_text()
    again = run("instance,u=uniform:0.5,v=uniform:0.5", twins="instance=v")
    assert again.code == 0, again.err
    more = read_rows(tmp_path / "run" / ROWS, BenchmarkRow).rows
    fresh = [row for row in more[len(saved.rows) :] if row.seconds not in [old.seconds for old in saved.rows]]
    assert not fresh  # uniform:0.5 was measured under another name, and a new twin measures nothing
    kept = run("instance,u=uniform:0.5", keep="back")
    assert kept.code == 0, kept.err
    assert len(list((tmp_path / "run" / "kept").glob("back*/*/weight.nii.gz"))) == 2
    assert len(read_rows(tmp_path / "run" / ROWS, BenchmarkRow).rows) == len(more) + 4  # two again, two lose their twin
    report = spr("report", tmp_path / "run", "--out", tmp_path / "report", "--twins", "instance=u,instance=v")
    assert report.code == 0, report.err
    unnamed = spr("report", tmp_path / "run", "--out", tmp_path / "other", "--against", "paper")
    assert unnamed.code == 2
    assert "--task" in unnamed.err[0]
    against = ("--against", "paper", "--task", "heart", "--counterparts", "instance=TM-SPR beta")
    beside = spr("report", tmp_path / "run", "--out", tmp_path / "other", *against)
    assert beside.code == 0, beside.err
    compared = (tmp_path / "other" / "against_paper.md").read_text()
    assert "| TM-SPR beta | 0.735 ± 0.119 | 0.00 | 0.00 | instance |" in compared
    assert "grid of the images and metrics: not saved" not in compared
    page = (tmp_path / "report" / "report.md").read_text()
    assert "against" in page
    assert "Weight and deformation" in page
    found = {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert found == {
        "dice",
        "structures",
        "priors",
        "back-methods",
        "back-boundaries",
        "back-instance-weight",
        "back-instance-likely",
    }
    assert str(tmp_path) not in page
    text = (tmp_path / "run" / ROWS).read_text()
    assert str(tmp_path) not in text
    assert all(json.loads(line) for line in text.splitlines())


def test_a_pair_that_fails_stops_nothing(spr, pair, tmp_path):
    path = write_list(pair, tmp_path / "pairs.csv")
    lines = path.read_text().splitlines()
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    broken = lines[2].split(",")
    broken[2] = "broken.nii.gz"
    path.write_text("\n".join([lines[0], lines[1], ",".join(broken)]) + "\n")
    done = spr("benchmark", "--pairs", path, "--methods", "uniform", "--out", tmp_path / "run", "--init", "none")
    assert done.code == 0, done.err
    rows = read_rows(tmp_path / "run" / ROWS, BenchmarkRow).rows
    assert rows[0].failed is None
    assert "broken.nii.gz" in rows[1].failed
    assert str(tmp_path) not in rows[1].failed
    assert "1 of them failed" in done.out


@pytest.mark.parametrize(
    ("methods", "options", "words"),
    [
        (["nonsense"], {}, "nonsense"),
        (["instance"], {"twins": "instance=u"}, "--twins"),
        (["instance"], {"twins": "instance"}, "NAME=OTHER"),
        (["instance"], {"timeout": 0}, "--timeout"),
        (["instance"], {"keep": "nowhere"}, "--keep"),
    ],
)
def test_bad_usage_is_one_line(run, methods, options, words):
    done = run(*methods, **options)
    assert done.code == 2
    assert len(done.err) == 1
    assert words in done.err[0]


def test_results_of_others_are_left_alone(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ROWS).write_text("my notes\n")
    assert run("instance").code == 2
    assert (tmp_path / "run" / ROWS).read_text() == "my notes\n"


def test_report_of_nothing(spr, tmp_path):
    done = spr("report", tmp_path, "--out", tmp_path / "report")
    assert done.code == 2
    assert "no saved results" in done.err[0]
    assert not (tmp_path / "report").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="only where processes can be killed")
@pytest.mark.parametrize(("how", "processes"), [(signal.SIGINT, 1), (signal.SIGKILL, 1), (signal.SIGINT, 2)])
def test_an_interrupted_run_goes_on(spr_process, spr, listed, tmp_path, how, processes):
    arguments = ("--pairs", listed, "--methods", "uniform,instance", "--out", tmp_path / "run", "--init", "none")
    arguments += ("--processes", processes)
    process = spr_process("benchmark", *arguments, start_new_session=True)
    path = tmp_path / "run" / ROWS
    end = time.monotonic() + 120
    while not path.exists() or path.read_text().count("\n") < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does for Ctrl-C
    else:
        process.send_signal(how)
    _, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command resumes" in err
        assert "Traceback" not in err
    before = read_rows(path, BenchmarkRow).rows
    assert spr("benchmark", *arguments).code == 0
    rows = read_rows(path, BenchmarkRow).rows
    assert rows[: len(before)] == before
    assert len(rows) == 4
    assert len({row.identity for row in rows}) == 4


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _divide(number):
    return 1 / number


def test_a_child_gives_back_its_result_or_what_went_wrong():
    assert run_isolated(_divide, 4) == 0.25
    with pytest.raises(IsolatedError, match="ZeroDivisionError"):
        run_isolated(_divide, 0)
    with pytest.raises(IsolatedError, match=r"not done after 0\.5 s"):
        run_isolated(time.sleep, 60, timeout_seconds=0.5)
    with pytest.raises(IsolatedError, match="killed"):
        run_isolated(_die)

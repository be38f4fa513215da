"""Consoles that cannot print everything, readers that go away, and messages that name the cause."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import listed, pair, refuses, spr, warp
from table import Row, refused

from SPRCore.cli import main
from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.io import write_landmarks, write_volume

CONSOLE, MESSAGES = "Consoles", "Messages"
CJK = "\u6f22\u5b57"

Check = Callable[[Path], None]


@contextlib.contextmanager
def streams(out: object, err: object) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def on_console(encoding: str) -> Check:
    def check(folder: Path) -> None:
        (folder / CJK).mkdir()
        pair(folder / CJK)
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in "oe")
        with streams(out, err):
            code = main([str(word) for word in warp(folder / CJK, folder / CJK / "result.nii.gz")])
            wrong = main(["warp", str(folder / CJK / "none.nii.gz"), *map(str, warp(folder / CJK, "x.nii.gz")[2:])])
        out.flush()
        said, complaint = out.buffer.getvalue(), err.buffer.getvalue()
        assert (code, wrong) == (0, 2), complaint
        assert (folder / CJK / "result.nii.gz").is_file()
        assert b"\\u6f22\\u5b57" in said
        assert b"\\u6f22\\u5b57" in complaint
        assert complaint.count(b"\n") == 1

    return check


def reader_gone(arguments: Callable[[Path], tuple]) -> Check:
    def check(folder: Path) -> None:
        pair(folder)
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as out, streams(out, io.StringIO()):
            code = main([str(word) for word in arguments(folder)])
            complaint = sys.stderr.getvalue()
        assert (code, complaint) == (0, "")

    return check


def reader_gone_of_a_warp(folder: Path) -> None:
    reader_gone(lambda place: warp(place, place / "result.nii.gz"))(folder)
    assert (folder / "result.nii.gz").is_file()


def no_error_stream(folder: Path) -> None:
    with streams(io.StringIO(), None):
        assert main(["nonsense"]) == 2


def not_utf8(folder: Path) -> None:
    name = folder / os.fsdecode(b"result-\xff.nii.gz")
    pair(folder)
    try:
        done = spr(*warp(folder, name))
    except UnicodeEncodeError:
        pytest.skip("this file system has only names in Unicode")
    assert done.code == 0, done.err
    assert name.is_file()


def cohort(folder: Path, count: int, **parts: str) -> tuple[object, ...]:
    """A recipe beside a list of subjects."""
    rows = ["subject,role,image,labels"]
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 4, (16, 17, 18)).astype(np.int16)
        write_volume(Volume(values * 100, np.eye(4)), folder / f"image{number}.nii.gz")
        write_volume(Volume(values, np.eye(4)), folder / f"labels{number}.nii.gz")
        rows.append(f"s{number},,image{number}.nii.gz,labels{number}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    text = "name: mine\ndata: {dataset: csv, listing: cases.csv, cache: prepared, task: inter-subject}\n"
    (folder / "recipe.yaml").write_text(f"{text}model: vxm-spr-small\noptimiser: {{epochs: 1}}\n")
    changes = [word for key, value in parts.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]
    return folder / "recipe.yaml", *changes


def prepare_without_subjects(folder: Path) -> None:
    (folder / "data" / "training").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(
        "name: mine\ndata: {dataset: acdc, folder: data}\nmodel: vxm-spr-small\noptimiser: {epochs: 1}\n"
    )
    done = spr("prepare", folder / "recipe.yaml")
    assert done.code == 2
    assert str(folder / "data") in done.err
    assert "-" not in done.err.split("got", 1)[1].split(";")[0], "no negative number"
    assert "of 0 subjects" not in done.err


def prepare_with_one_subject(folder: Path) -> None:
    arguments = cohort(folder, 1, data__split__validation="1", data__split__test="1")
    refuses(folder, ("prepare", *arguments), "1 subject, but 1 for validation, 1 for test", "data.split")


def landmark_loss_without_landmarks(folder: Path) -> None:
    split = {"data__split__validation": "2", "data__split__test": "0"}
    arguments = cohort(folder, 4, loss__tre_weight="1", **split)
    done = spr("train", *arguments, "--set", f"output={folder / 'run'}")
    assert done.code == 2
    assert "loss.tre_weight: got s" in done.err
    assert "without landmarks" in done.err
    assert not (folder / "run").exists()


def tune_without_landmarks(folder: Path) -> None:
    command = ("tune", "instance", "--pairs", listed(folder), "--ranges", "alpha=0:1", "--out", folder / "new")
    refuses(folder, (*command, "--objective", "tre"), "objective tre", "pairs with landmarks", "--objective")
    refuses(folder, command, "objective dice", "pairs with labels", "--objective")


def tune_a_recipe_without_landmarks(folder: Path) -> None:
    arguments = cohort(folder, 3)
    command = ("tune", *arguments, "--ranges", "alpha=0:1", "--objective", "tre", "--out", folder / "new")
    refuses(folder, command, "objective tre", "pairs with landmarks")


def damaged(folder: Path, *command: object) -> None:
    """A pair of which one image is damaged, found out by a process of the command."""
    pairs = listed(folder)
    (folder / "moving.nii.gz").write_bytes(b"damaged")
    before = {path.name for path in folder.iterdir()}
    done = spr(*command, "--pairs", pairs, "--device", "cpu", "--init", "none", "--out", folder / "new" / "folder")
    assert done.code == 2
    assert "moving.nii.gz" in done.err
    assert {path.name for path in folder.iterdir()} == before


def sweep_of_a_damaged_image(folder: Path) -> None:
    damaged(folder, "sweep", "instance", "--grid", "alpha=0:1:0.5,lambda_max=1", "--processes", 1)


def tune_of_a_damaged_image(folder: Path) -> None:
    damaged(folder, "tune", "instance", "--ranges", "alpha=0:1", "--objective", "label-free", "--trials", 1)


def report_of_nothing(folder: Path) -> None:
    refuses(folder, ("report", "--out", folder / "new"), "RUN", "none")


def plain_help(verb: str, folder: Path) -> None:
    done = spr(*verb.split(), "--help")
    assert done.code == 0
    assert "(default: )" not in done.out
    assert "(default: None)" not in done.out


def several_lists(folder: Path) -> None:
    write_landmarks(np.ones((2, 3)), folder / "p.csv")
    paths = pair(folder)
    options = ("--fixed-points", folder / "p.csv")
    command = ("register", paths[0], paths[1], "--out", folder / "new")
    refuses(folder, (*command, *options), "landmarks", "one image only")


def hyperparameter(options: tuple[str, ...], said: tuple[str, ...], folder: Path) -> None:
    fixed, moving = pair(folder)[:2]
    refuses(folder, ("register", fixed, moving, "--out", folder / "new", *options), *said)


HYPERPARAMETERS = [
    (("--tv", "0"), ("tv", "above 0")),
    (("--tv", "-0.3"), ("tv", "-0.3", "above 0")),
    (("--tv", "nan"), ("tv", "nan")),
    (("--tv", "inf"), ("tv", "inf", "finite")),
    (("--tv", "much"), ("--tv", "much", "number")),
    (("--tv", "0.3", "--lambda-max", "0"), ("lambda_max", "above 0")),
    (("--tv", "0.3", "--alpha", "0.1"), ("--tv", "beta prior")),
    (("--prior", "tv", "--lambda", "1"), ("--lambda", "tv prior", "--tv, --lambda-max")),
    (("--prior", "auto", "--alpha", "0.1"), ("--alpha", "--prior auto")),
    (("--anatomy", "brain", "--alpha", "0.1"), ("anatomy", "together with a prior")),
]


def error_in_words(folder: Path) -> None:
    said = refused(lambda: (_ for _ in ()).throw(InputError("a\nb", got=" c  d\n")), "a b", "c d")
    assert said == "a b: got c d"


VERBS = ("register", "warp", "evaluate", "models import", "prepare", "train", "tune", "benchmark", "sweep", "report")

ROWS = [
    *(
        Row(
            CONSOLE,
            f"paths with Chinese characters on a console of {encoding}",
            "escapes in their place; the file is written and the exit code is right",
            on_console(encoding),
        )
        for encoding in ("cp1252", "ascii", "cp437")
    ),
    Row(
        CONSOLE, "`spr warp … | head`: the reader goes away", "the file is written, exit code 0", reader_gone_of_a_warp
    ),
    Row(
        CONSOLE, "`spr models list | head`", "exit code 0 without a word", reader_gone(lambda place: ("models", "list"))
    ),
    Row(
        CONSOLE, "`spr warp --help | head`", "exit code 0 without a word", reader_gone(lambda place: ("warp", "--help"))
    ),
    Row(CONSOLE, "no standard error at all (`2>&-`)", "exit code 2", no_error_stream),
    Row(CONSOLE, "a file name that is no UTF-8", "written and told with an escape", not_utf8),
    Row(
        MESSAGES,
        "`spr prepare` on a folder without a subject",
        "refused: the folder and the layout are told",
        prepare_without_subjects,
    ),
    Row(
        MESSAGES,
        "`spr prepare` with fewer subjects than validation and test ask for",
        "refused: both numbers are told",
        prepare_with_one_subject,
    ),
    Row(
        MESSAGES,
        "`loss.tre_weight` for images without landmarks",
        "refused before the first step; no folder is made",
        landmark_loss_without_landmarks,
    ),
    Row(
        MESSAGES,
        "`spr tune` by landmarks or labels of pairs without them",
        "refused; no folder is made",
        tune_without_landmarks,
    ),
    Row(
        MESSAGES,
        "`spr tune` of a recipe by landmarks that its data lack",
        "refused; no folder is made",
        tune_a_recipe_without_landmarks,
    ),
    Row(MESSAGES, "`spr sweep` of a damaged image", "refused; no folder is left", sweep_of_a_damaged_image),
    Row(MESSAGES, "`spr tune` on a damaged image", "refused; no folder is left", tune_of_a_damaged_image),
    Row(MESSAGES, "`spr report` without a run", "refused; no folder is made", report_of_nothing),
    Row(MESSAGES, "landmarks of one image only", "refused; no folder is made", several_lists),
    *(
        Row(MESSAGES, f"`{' '.join(options)}`", "refused; no folder is made", partial(hyperparameter, options, said))
        for options, said in HYPERPARAMETERS
    ),
    Row(MESSAGES, "a message of several lines from below", "one line", error_in_words),
    *(
        Row(MESSAGES, f"`spr {verb} --help`", "no default that is empty or None", partial(plain_help, verb))
        for verb in VERBS
    ),
]

"""Outputs that would take the place of other files of the user, links and devices."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
import torch
from commands import MODEL, Check, contents, listed, no, pair, recipe, refuses, register, spr, warp
from table import Row, refused

from SPRCore.errors import InputError, OutputError
from SPRCore.io import atomic_directory, find_bundle, write_landmarks
from SPRCore.io.outputs import REPORT, result_folder

FILES, LINKS = "Outputs that are other files", "Outputs that are links and devices"


def user_file(name: str) -> Check:
    def check(folder: Path) -> None:
        pair(folder)
        (folder / "out").mkdir()
        (folder / "out" / name).write_text("mine")
        said = (name, "not written by this program", "choose another folder")
        refuses(folder, register(folder, out=folder / "out"), *said)

    return check


def report_of_another_program(folder: Path) -> None:
    pair(folder)
    (folder / "out").mkdir()
    (folder / "out" / REPORT).write_text('{"files": ["mine"]}')
    refuses(folder, register(folder, out=folder / "out"), REPORT, "choose another folder")


def results(folder: Path, *names: str) -> Path:
    """A folder of results, as a command leaves it."""
    with result_folder(folder / "out", names, ()) as place:
        for name in names:
            (place / name).write_text(f"written: {name}")
    return folder / "out"


def changed_since(folder: Path) -> None:
    pair(folder)
    (results(folder, "warped.nii.gz") / "warped.nii.gz").write_text("painted over")
    refuses(folder, register(folder, out=folder / "out"), "warped.nii.gz", "changed since", "choose another folder")


def another_run(folder: Path) -> None:
    out = results(folder, "a.txt", "b.txt")
    (out / "notes.txt").write_text("mine")
    with result_folder(out, ("a.txt", "b.txt"), (), complete=True) as place:
        (place / "a.txt").write_text("new")
    assert contents(out).keys() == {"a.txt", "notes.txt", REPORT}
    assert (out / "a.txt").read_text() == "new"
    assert list(json.loads((out / REPORT).read_text())["files"]) == ["a.txt"]


def stale_file_of_the_user(folder: Path) -> None:
    out = results(folder, "a.txt", "b.txt")
    (out / "b.txt").write_text("mine")

    def again() -> None:
        with result_folder(out, ("a.txt", "b.txt"), (), complete=True) as place:
            (place / "a.txt").write_text("new")

    before = contents(out)
    refused(again, "b.txt", "changed since", error=InputError)
    assert contents(out) == before


def made_meanwhile(folder: Path) -> None:
    def run() -> None:
        with result_folder(folder / "out", ("a.txt",), ()) as place:
            (place / "a.txt").write_text("new")
            (folder / "out").mkdir(exist_ok=True)
            (folder / "out" / "a.txt").write_text("mine")

    refused(run, "a.txt", "not written by this program", error=InputError)
    assert contents(folder / "out") == {"a.txt": b"mine"}


def image_of_another_program(suffix: str) -> Check:
    def check(folder: Path) -> None:
        pair(folder)
        image = sitk.ReadImage(str(folder / "moving.nii.gz"))
        sitk.WriteImage(image, str(folder / f"other{suffix}"))
        refuses(folder, warp(folder, folder / f"other{suffix}"), "not written by this command", "remove the file")

    return check


def values_of_another_image(folder: Path) -> None:
    pair(folder)
    (folder / "result.zraw").write_text("mine")
    refuses(folder, warp(folder, folder / "result.mhd"), "result.zraw", "not written by this command")


def image_of_the_same_command(suffix: str) -> Check:
    def check(folder: Path) -> None:
        pair(folder)
        for _ in range(2):
            done = spr(*warp(folder, folder / f"result{suffix}"))
            assert done.code == 0, done.err

    return check


def empty_file(folder: Path) -> None:
    pair(folder)
    (folder / "result.nii.gz").touch()
    assert spr(*warp(folder, folder / "result.nii.gz")).code == 0
    assert (folder / "result.nii.gz").stat().st_size


def unknown_suffix(folder: Path) -> None:
    pair(folder)
    refuses(folder, warp(folder, folder / "new" / "result.png"), "result.png", ".nii.gz")


def evaluation(folder: Path, content: str) -> None:
    paths = pair(folder)
    (folder / "numbers.json").write_text(content)
    arguments = ("evaluate", "--displacement", paths[2], "--out", folder / "numbers.json")
    refuses(folder, arguments, "not written by this command")


def evaluation_again(folder: Path) -> None:
    arguments = ("evaluate", "--displacement", pair(folder)[2], "--out", folder / "numbers.json")
    assert [spr(*arguments).code for _ in range(2)] == [0, 0]


def another_model(folder: Path) -> None:
    path = folder / "mine.sprmodel.safetensors"
    shutil.copy(find_bundle("cardiac-cine-hyper-spr"), path)
    refuses(folder, ("models", "export", MODEL, "--out", path), "not written by this command")


def same_model(folder: Path) -> None:
    assert [spr("models", "export", MODEL, "--out", folder).code for _ in range(2)] == [0, 0]


def other_split(folder: Path) -> None:
    (folder / "split.json").write_text('{"mine": 1}')
    refuses(folder, ("prepare", recipe(folder), "--split", folder / "split.json"), "choose another --split")


def training(name: str) -> Check:
    def check(folder: Path) -> None:
        (folder / "run" / name).parent.mkdir(parents=True)
        (folder / "run" / name).write_text("mine: 1\n")
        for resume in ((), ("--resume",)):
            arguments = ("train", recipe(folder), "--set", f"output={folder / 'run'}", *resume)
            refuses(folder, arguments, name, "no training has written", "output=DIR")

    return check


def study(name: str, content: str, *options: str) -> Check:
    def check(folder: Path) -> None:
        (folder / name).write_text(content)
        command = ("tune", "instance", "--pairs", listed(folder), "--objective", "label-free", "--out", folder)
        refuses(folder, (*command, "--ranges", "alpha=0:1", *(option.format(folder) for option in options)), name)

    return check


def tables(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "table.md").write_text("mine")
    command = ("benchmark", "--pairs", listed(folder), "--methods", "instance", "--out", folder / "out")
    refuses(folder, command, "table.md", "choose another folder")


def demonstration(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "fixed.nii.gz").write_text("mine")
    refuses(folder, ("demo", "--out", folder / "out"), "fixed.nii.gz", "choose another folder")


def own_link(folder: Path) -> None:
    pair(folder)
    assert spr(*warp(folder, folder / "target.nii.gz")).code == 0
    (folder / "link.nii.gz").symlink_to("target.nii.gz")
    before = (folder / "target.nii.gz").stat().st_ino
    done = spr(*warp(folder, folder / "link.nii.gz"))
    assert done.code == 0, done.err
    assert (folder / "link.nii.gz").is_symlink()
    assert (folder / "target.nii.gz").stat().st_ino != before


def link_to_nothing_yet(folder: Path) -> None:
    pair(folder)
    (folder / "link.nii.gz").symlink_to(folder / "disk" / "target.nii.gz")
    assert spr(*warp(folder, folder / "link.nii.gz")).code == 0
    assert (folder / "link.nii.gz").is_symlink()
    assert nibabel.load(folder / "disk" / "target.nii.gz").shape == (8, 9, 10)


def link_to_a_user_file(folder: Path) -> None:
    pair(folder)
    nibabel.Nifti1Image(np.ones((3, 3, 3)), np.eye(4)).to_filename(folder / "target.nii.gz")
    (folder / "link.nii.gz").symlink_to("target.nii.gz")
    refuses(folder, warp(folder, folder / "link.nii.gz"), "not written by this command")


def link_to_itself(folder: Path) -> None:
    pair(folder)
    (folder / "link.nii.gz").symlink_to("link.nii.gz")
    refuses(folder, warp(folder, folder / "link.nii.gz"), "dangling")


def link_of_a_header(folder: Path) -> None:
    pair(folder)
    (folder / "link.mhd").symlink_to("target.mhd")
    refuses(folder, warp(folder, folder / "link.mhd"), "symbolic link to a header")


def a_device(folder: Path) -> None:
    paths = pair(folder)
    refuses(folder, ("evaluate", "--displacement", paths[2], "--out", os.devnull), "a device or pipe")
    assert not Path(os.devnull).is_file()


def linked_result(folder: Path) -> None:
    out = results(folder, "a.txt")
    (out / "a.txt").rename(folder / "elsewhere.txt")
    (out / "a.txt").symlink_to(folder / "elsewhere.txt")
    with result_folder(out, ("a.txt",), ()) as place:
        (place / "a.txt").write_text("new")
    assert (out / "a.txt").is_symlink()
    assert (folder / "elsewhere.txt").read_text() == "new"


def a_folder_in_the_way(folder: Path) -> None:
    (folder / "out" / "figure.png").mkdir(parents=True)
    pair(folder)
    refuses(folder, register(folder, out=folder / "out"), "figure.png", "a folder")


def a_file_for_a_folder(folder: Path) -> None:
    pair(folder)
    (folder / "out").write_text("mine")
    refuses(folder, register(folder, out=folder / "out"), "out")


def absent_device(folder: Path) -> None:
    device = "mps" if torch.cuda.is_available() else "cuda"
    with suppress(AttributeError):
        assert not torch.backends.mps.is_available() or device == "cuda"
    command = ("sweep", "instance", "--pairs", listed(folder), "--grid", "alpha=0:1:0.5", "--device", device)
    refuses(folder, (*command, "--out", folder / "out"), device)


def refused_write(folder: Path) -> None:
    def write() -> None:
        with atomic_directory(folder / "out") as place:
            (place / "a").write_text("a file in the way")
            write_landmarks(np.ones((3, 3)), place / "a" / "points.csv")

    refused(write, str(folder / "out" / "a" / "points.csv"), error=OutputError)
    assert not contents(folder)


ROWS = [
    *(
        no(FILES, f"`{name}` of the user in the folder of the results", user_file(name))
        for name in ("affine.tfm", "warped_labels.nii.gz", "figure.png")
    ),
    no(FILES, "`report.json` of another program in the folder of the results", report_of_another_program),
    no(FILES, "a result of ours that was changed since", changed_since),
    Row(
        FILES,
        "results of an earlier run, with notes of the user",
        "replaced, what is stale removed, the notes kept",
        another_run,
    ),
    no(FILES, "a stale result that the user has replaced by a file of his own", stale_file_of_the_user),
    Row(
        FILES, "a file of the name of a result that came while we computed", "refused; the file is kept", made_meanwhile
    ),
    *(
        no(FILES, f"`spr warp` onto a `{suffix}` of another program", image_of_another_program(suffix))
        for suffix in (".nii.gz", ".nrrd", ".mha")
    ),
    *(
        Row(FILES, f"`spr warp` onto a `{suffix}` that it wrote", "replaced", image_of_the_same_command(suffix))
        for suffix in (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
    ),
    no(FILES, "`spr warp` to a `.mhd` beside a `.zraw` of that name", values_of_another_image),
    Row(FILES, "`spr warp` onto an empty file", "replaced", empty_file),
    no(FILES, "`spr warp` to an unknown suffix", unknown_suffix),
    no(FILES, "`spr evaluate` onto another JSON file", lambda folder: evaluation(folder, '{"mine": 1}')),
    no(FILES, "`spr evaluate` onto a text", lambda folder: evaluation(folder, "mine")),
    no(
        FILES,
        "`spr evaluate` onto the report of a registration",
        lambda folder: evaluation(folder, '{"schema_version": 1, "command": "", "metrics": {}, "files": {}}'),
    ),
    Row(FILES, "`spr evaluate` onto numbers that it wrote", "replaced", evaluation_again),
    no(FILES, "`spr models export` onto another model", another_model),
    Row(FILES, "`spr models export` twice", "the same file again", same_model),
    no(FILES, "`spr prepare --split` onto another JSON file", other_split),
    *(
        no(FILES, f"`spr train` into a folder with the user's `{name}`", training(name))
        for name in ("recipe.yaml", "split.json", "metrics.jsonl", "mine.sprmodel.safetensors")
    ),
    no(FILES, "`spr tune` into a folder with a `study.json` of another program", study("study.json", '{"mine": 1}')),
    no(
        FILES,
        "`spr tune` with a log of another program as storage",
        study("run.log", "mine\n", "--storage", "{}/run.log"),
    ),
    no(
        FILES,
        "`spr tune` with a file that is no database as storage",
        study("data.db", "mine, and long enough\n" * 99, "--storage", "{}/data.db"),
    ),
    no(FILES, "`spr benchmark` into a folder with the user's `table.md`", tables),
    no(FILES, "`spr demo` into a folder with the user's `fixed.nii.gz`", demonstration),
    no(FILES, "a folder called `figure.png` in the folder of the results", a_folder_in_the_way),
    no(FILES, "a file in place of the folder of the results", a_file_for_a_folder),
    no(FILES, "`spr sweep` on a device that is absent, into a new folder", absent_device),
    Row(
        FILES,
        "a system that refuses to write",
        "refused; the place that was asked for is named, no temporary one",
        refused_write,
    ),
    Row(
        LINKS,
        "a symbolic link to a result of the same command",
        "the link stays, the file to which it leads is replaced",
        own_link,
    ),
    Row(
        LINKS,
        "a symbolic link to a file that is not there yet",
        "the link stays, the file is made",
        link_to_nothing_yet,
    ),
    Row(LINKS, "a result in a folder of results that is a link to another place", "written through", linked_result),
    no(LINKS, "a symbolic link to a file of the user", link_to_a_user_file),
    no(LINKS, "a symbolic link to itself", link_to_itself),
    no(LINKS, "a symbolic link called `.mhd`, whose values would lie elsewhere", link_of_a_header),
    no(LINKS, "a device, such as `/dev/null`", a_device),
]

"""A file is written whole or not at all: full disks, folders in the way, interruptions."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest

from SPRCore.errors import InputError, OutputError
from SPRCore.geometry import Field, Volume
from SPRCore.io import (
    atomic_directory,
    atomic_path,
    write_affine_tfm,
    write_displacement,
    write_landmarks,
    write_volume,
)

IMAGE = Volume(np.random.default_rng(0).normal(size=(20, 20, 20)), np.eye(4))
FIELD = Field(np.random.default_rng(0).normal(size=(10, 10, 10, 3)), np.eye(4))
WRITERS = {
    **{f"image{s}": lambda path: write_volume(IMAGE, path) for s in (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")},
    **{f"field{s}": lambda path: write_displacement(FIELD, path) for s in (".nii.gz", ".nrrd", ".mha")},
    **{
        f"points{s}": lambda path: write_landmarks(np.ones((50, 3)), path)
        for s in (".mrk.json", ".fcsv", ".txt", ".csv")
    },
    "affine.tfm": lambda path: write_affine_tfm(np.eye(4), path),
}


def files_below(folder):
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*")}


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a small disk that is filled to the brim."""
    if not sys.platform.startswith("linux"):
        pytest.skip("a small disk is made by means of Linux")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    with (tmp_path / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"x" * 4096):
            pass
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@contextlib.contextmanager
def no_file_above(limit):
    """Let the system refuse to write beyond `limit` bytes of a file; Python ignores the signal, so it is an OSError."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused_in_one_line(name, folder):
    """Try to write, and see that the failure is told well and leaves the folder as it was."""
    before, target = files_below(folder), folder / "new" / name
    with pytest.raises(OutputError) as caught:
        WRITERS[name](target)
    assert files_below(folder) == before
    message = str(caught.value)
    assert message.startswith(str(target))
    assert not any(part in message for part in ("\n", ".partial-", "0x"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(full_disk, name):
    refused_in_one_line(name, full_disk)


@pytest.mark.parametrize("name", WRITERS)
def test_a_quota_leaves_nothing(tmp_path, name):
    with no_file_above(8):
        refused_in_one_line(name, tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path, name):
    target = tmp_path / "a" / "b" / name
    WRITERS[name](target)
    beside = {path.name for path in target.parent.iterdir()} - {name}
    assert target.stat().st_size > 0
    assert beside <= {"image.zraw"}, "the values of an .mhd file"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_in_the_way_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="a folder"):
        WRITERS[name](tmp_path / name)
    assert list(files_below(tmp_path)) == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_in_place_of_the_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"Not a directory|cannot find|directory name is invalid"):
        WRITERS[name](tmp_path / "file" / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_volume(IMAGE, tmp_path / "image.nii.gz")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is a folder of Linux that nobody can write to")
@pytest.mark.parametrize("name", WRITERS)
def test_a_place_where_nothing_can_be_made_is_refused(name):
    with pytest.raises(OutputError, match=f"^/proc/new/{name}: got "):
        WRITERS[name](f"/proc/new/{name}")


@pytest.mark.parametrize("name", ["image.png", "image", "image.nii.bz2", "image.gz"])
@pytest.mark.parametrize("write", [lambda p: write_volume(IMAGE, p), lambda p: write_displacement(FIELD, p)])
def test_an_unknown_suffix_is_refused_before_anything_is_made(tmp_path, name, write):
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write(tmp_path / "new" / name)
    assert not files_below(tmp_path)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
def test_an_interrupted_file_leaves_the_older_one(tmp_path, failure):
    (tmp_path / "out.txt").write_text("old")
    raised = OutputError if failure is OSError else failure
    with pytest.raises(raised), atomic_path(tmp_path / "out.txt") as partial:  # noqa: PT012
        partial.write_text("half of the n")
        raise failure
    assert files_below(tmp_path) == {"out.txt": 3}


def test_a_finished_file_replaces_the_older_one_and_keeps_its_suffixes(tmp_path):
    (tmp_path / "out.nii.gz").write_text("old")
    with atomic_path(tmp_path / "out.nii.gz") as partial:
        assert partial.name == "out.nii.gz"
        partial.write_text("new")
        assert (tmp_path / "out.nii.gz").read_text() == "old"
    assert (tmp_path / "out.nii.gz").read_text() == "new"


def test_a_finished_folder_is_filled_and_keeps_what_it_held(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "report.json").write_text("old")
    with atomic_directory(tmp_path / "out") as partial:
        (partial / "report.json").write_text("new")
        (partial / "planes").mkdir()
        (partial / "planes" / "axial.png").write_text("picture")
        assert (tmp_path / "out" / "report.json").read_text() == "old"
    assert (tmp_path / "out" / "report.json").read_text() == "new"
    assert sorted(files_below(tmp_path / "out")) == ["notes.txt", "planes", "planes/axial.png", "report.json"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_folder_is_not_made(tmp_path, failure):
    with pytest.raises(failure), atomic_directory(tmp_path / "a" / "out") as partial:  # noqa: PT012
        (partial / "report.json").write_text("new")
        raise failure
    assert not files_below(tmp_path)


def test_a_folder_in_the_way_of_one_file_keeps_all_files_out(tmp_path):
    (tmp_path / "b.txt").mkdir()
    with pytest.raises(OutputError, match=r"b\.txt: got a folder"), atomic_directory(tmp_path) as partial:  # noqa: PT012
        (partial / "a.txt").write_text("new")
        (partial / "b.txt").write_text("new")
    assert list(files_below(tmp_path)) == ["b.txt"]

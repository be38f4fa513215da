"""What may be written where: inputs stay, files of others stay, and the record says what is ours."""

from __future__ import annotations

import json

import pytest

from SPRCore.errors import InputError, OutputError
from SPRCore.io.outputs import (
    REPORT,
    check_outputs,
    check_replaceable,
    read_record,
    record,
    removed_if_refused,
    result_folder,
    sha256,
)

HEADERS = {
    "image.mhd": "NDims = 3\nElementDataFile = values.dat\n",
    "image.nhdr": "NRRD0004\ndata file: values.dat\n",
    "listed.nhdr": "NRRD0004\nsizes: 2 2 2\ndatafile: LIST\nother.dat\nvalues.dat\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_the_values_of_a_header_belong_to_it(tmp_path, name):
    (tmp_path / name).write_text(HEADERS[name])
    for part in ("values.dat", "other.dat"):
        (tmp_path / part).write_bytes(b"12345678")
    with pytest.raises(InputError, match=f"written over the input .*{name}"):
        check_outputs([tmp_path / "values.dat"], [tmp_path / name])
    check_outputs([tmp_path / "free.dat"], [tmp_path / name, None])


@pytest.mark.parametrize(("given", "other"), [("brain.hdr", "brain.img"), ("brain.img.gz", "brain.hdr")])
def test_header_and_values_of_analyze_belong_together(tmp_path, given, other):
    for name in (given, other):
        (tmp_path / name).write_bytes(b"123")
    with pytest.raises(InputError, match="written over the input"):
        check_outputs([tmp_path / other], [tmp_path / given])


def test_a_folder_beside_or_below_that_of_an_input_is_free(tmp_path):
    (tmp_path / "series").mkdir()
    check_outputs([tmp_path / "series" / "results" / "a.nii", tmp_path / "a.nii"], [tmp_path / "series"])


def test_the_record_names_every_file_with_its_hash(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b")
    (tmp_path / REPORT).write_text('{"metrics": {"a": 1.5}}')
    record(tmp_path, kept={"old.txt": "0" * 64})
    report = json.loads((tmp_path / REPORT).read_text())
    assert report["metrics"] == {"a": 1.5}
    assert report["files"] == {"old.txt": "0" * 64, "sub/b.txt": sha256(tmp_path / "sub" / "b.txt")}
    assert read_record(tmp_path) == report["files"]


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"files": 3}', "[" * 100000, b"\xff\xfe"])
def test_what_is_no_report_lists_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / REPORT).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_record(tmp_path) == {}


def test_a_second_command_adds_to_the_record_of_a_folder(tmp_path):
    for name in ("a.txt", "b.txt"):
        with result_folder(tmp_path / "out", [name], ()) as place:
            (place / name).write_text(name)
    assert list(read_record(tmp_path / "out")) == ["a.txt", "b.txt"]


def test_a_folder_in_a_folder_of_results_may_have_been_written_anew(tmp_path):
    for folder, name in ((tmp_path, "sub/a.txt"), (tmp_path / "sub", "a.txt"), (tmp_path, "sub/a.txt")):
        with result_folder(folder, [name], ()) as place:
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(f"of {folder.name}")
            record((place / name).parent)
    assert (tmp_path / "sub" / "a.txt").read_text() == f"of {tmp_path.name}"


def test_a_folder_that_fails_is_as_it_was(tmp_path):
    with result_folder(tmp_path / "out", ["a.txt", "b.txt"], ()) as place:
        (place / "a.txt").write_text("old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    names = ["a.txt", "b.txt"]
    with pytest.raises(KeyboardInterrupt), result_folder(tmp_path / "out", names, ()) as place:  # noqa: PT012
        (place / "b.txt").write_text("new")
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_linked_stale_file_is_not_removed(tmp_path):
    with result_folder(tmp_path / "out", ["a.txt"], ()) as place:
        (place / "a.txt").write_text("old")
    (tmp_path / "out" / "a.txt").rename(tmp_path / "kept.txt")
    (tmp_path / "out" / "a.txt").symlink_to(tmp_path / "kept.txt")
    with result_folder(tmp_path / "out", ["a.txt", "b.txt"], (), complete=True) as place:
        (place / "b.txt").write_text("new")
    assert (tmp_path / "kept.txt").read_text() == "old"
    assert (tmp_path / "out" / "a.txt").is_symlink()


def test_a_record_cannot_name_files_elsewhere(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    digest = sha256(tmp_path / "mine.txt")
    (tmp_path / "out" / REPORT).write_text(json.dumps({"files": {"../mine.txt": digest}}))
    with result_folder(tmp_path / "out", ["a.txt"], (), complete=True) as place:
        (place / "a.txt").write_text("new")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_reader_that_fails_means_that_a_file_is_not_ours(tmp_path):
    (tmp_path / "a.txt").write_text("mine")

    def fails(path):
        raise RuntimeError("no such format")

    with pytest.raises(InputError, match="not written by this command"):
        check_replaceable(tmp_path / "a.txt", fails)
    check_replaceable(tmp_path / "b.txt", fails)


@pytest.mark.parametrize(
    ("error", "results", "left"), [(InputError, False, False), (InputError, True, True), (OutputError, False, True)]
)
def test_a_refused_folder_goes_away_unless_it_holds_results(tmp_path, error, results, left):
    folder = tmp_path / "new" / "folder"
    with pytest.raises(error), removed_if_refused(folder, ["begun.txt"], lambda: results):  # noqa: PT012
        folder.mkdir(parents=True)
        (folder / "begun.txt").touch()
        raise error("no")
    assert (tmp_path / "new").exists() == left


def test_what_others_put_into_a_refused_folder_stays(tmp_path):
    folder = tmp_path / "new" / "folder"
    with pytest.raises(InputError), removed_if_refused(folder, ["begun.txt"], lambda: False):  # noqa: PT012
        folder.mkdir(parents=True)
        (folder / "begun.txt").touch()
        (tmp_path / "new" / "mine.txt").touch()
        raise InputError("no")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.txt"]

"""Files that come from a page: where they are written, how much, and which may be opened."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest

from SPRCore.errors import InputError
from SPRExplorer.files import MOST_FILES, Inbox, listed, stem_of

HOSTILE = (
    "../../escape.nii", "/etc/passwd.nii", "..\\..\\escape.nii", "C:\\windows\\x.nii", "....//x.nii", ".hidden.nii",
    "a\0b.nii", "a/b/../../c.nii", "x" * 400 + ".nii", "\u202egnp.nii", "con.nii\n", "~/.ssh/x.nii",
)  # fmt: skip


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Inbox(folder, 10_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_is_written_into_the_folder_whatever_its_name(inbox, name):
    path = inbox.place(name)
    path.write_bytes(b"x")
    assert path.parent == inbox.folder
    assert path.resolve().parent == inbox.folder.resolve()
    assert not path.name.startswith(".")
    assert inbox.image() in (path, inbox.folder)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "...", "\\"])
def test_a_name_without_letters_gets_one(inbox, name):
    inbox.place(name).write_bytes(b"x")
    assert inbox.image() == inbox.folder


def test_files_of_one_name_do_not_replace_each_other(inbox):
    places = {inbox.place(f"series{k}/IMG1") for k in range(3)} | {inbox.place("img1")}
    assert len(places) == 4


def test_too_much_is_refused(inbox):
    inbox.count(9_000)
    with pytest.raises(InputError, match="more data"):
        inbox.count(2_000)


def test_too_many_files_are_refused(inbox):
    for number in range(MOST_FILES):
        inbox.place(str(number))
    with pytest.raises(InputError, match="5000"):
        inbox.place("one more")


def packed(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_writes_into_the_folder_only(inbox, name, tmp_path):
    inbox.place("series.zip").write_bytes(packed([(zipfile.ZipInfo(name.replace("\0", "")), b"x")]))
    assert inbox.image().resolve().is_relative_to(inbox.folder.resolve())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1
    assert written[0].parent == inbox.folder


def test_a_link_in_an_archive_becomes_a_file(inbox):
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    inbox.place("a.zip").write_bytes(packed([(link, b"/etc/passwd")]))
    assert inbox.image() == inbox.folder
    (found,) = inbox.folder.iterdir()
    assert not found.is_symlink()
    assert found.read_bytes() == b"/etc/passwd"


def test_an_archive_that_unpacks_to_too_much_is_refused(inbox):
    bomb = packed([("a.dcm", b"\0" * 1_000_000)])
    assert len(bomb) < 5_000
    inbox.place("bomb.zip").write_bytes(bomb)
    with pytest.raises(InputError, match="more data"):
        inbox.image()
    assert sum(path.stat().st_size for path in inbox.folder.iterdir() if path.suffix == ".dcm") <= 10_000


@pytest.mark.parametrize("data", [b"", b"no archive", packed([("a", b"x" * 500)])[:-30]])
def test_a_broken_archive_is_refused(inbox, data):
    inbox.place("a.zip").write_bytes(data)
    with pytest.raises(InputError, match="archive"):
        inbox.image()


def test_one_image_is_wanted(inbox):
    with pytest.raises(InputError, match="no file"):
        inbox.image()
    for name in ("a.nii", "b.nrrd"):
        inbox.place(name).write_bytes(b"x")
    with pytest.raises(InputError, match="2 images"):
        inbox.image()


def test_a_header_and_its_data_stay_together(inbox):
    for name in ("a.mhd", "a.raw"):
        inbox.place(name).write_bytes(b"x")
    assert inbox.image() == inbox.folder / "a.mhd"
    assert (inbox.folder / "a.raw").is_file()


def test_the_chosen_folder_is_listed_and_nothing_outside(tmp_path):
    outside = tmp_path / "outside.nii"
    outside.write_bytes(b"x")
    root = tmp_path / "data"
    for name in ("a.nii.gz", "deep/b.mha", "series/1.dcm", ".secret/c.nii", "notes.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (root / "link.nii").symlink_to(outside)
    (root / "loop").symlink_to(tmp_path)
    assert set(listed(root)) == {"a.nii.gz", "deep/b.mha", "series"}
    assert listed(None) == {}


@pytest.mark.parametrize(
    ("name", "stem"), [("a/b/Brain.nii.gz", "Brain"), ("C:\\x\\ct.NRRD", "ct"), ("x.zip", "x"), ("", "image")]
)
def test_titles(name, stem):
    assert stem_of(name) == stem

"""Uploads and the listing of a folder: paths, limits and refusals."""

from __future__ import annotations

import io
import stat
import zipfile

import pytest

from SPRCore.errors import InputError
from SPRExplorer.files import MAX_FILES, UploadFolder, list_images, stem_of

HOSTILE = (
    "../../escape.nii", "/etc/passwd.nii", "..\\..\\escape.nii", "C:\\windows\\x.nii", "....//x.nii", ".hidden.nii",
    "a\0b.nii", "a/b/../../c.nii", "x" * 400 + ".nii", "\u202egnp.nii", "con.nii\n", "~/.ssh/x.nii",
)  # fmt: skip


@pytest.fixture
def upload(tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()
    return UploadFolder(folder, 10_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_the_folder(upload, name):
    path = upload.path_for(name)
    path.write_bytes(b"x")
    assert path.parent == upload.folder
    assert path.resolve().parent == upload.folder.resolve()
    assert not path.name.startswith(".")
    assert upload.image() in (path, upload.folder)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "...", "\\"])
def test_names_without_letters_are_replaced(upload, name):
    upload.path_for(name).write_bytes(b"x")
    assert upload.image() == upload.folder


def test_equal_names_do_not_overwrite(upload):
    paths = {upload.path_for(f"series{k}/IMG1") for k in range(3)} | {upload.path_for("img1")}
    assert len(paths) == 4


def test_the_size_limit(upload):
    upload.count_bytes(9_000)
    with pytest.raises(InputError, match="more data"):
        upload.count_bytes(2_000)


def test_the_limit_of_files(upload):
    for number in range(MAX_FILES):
        upload.path_for(str(number))
    with pytest.raises(InputError, match="5000"):
        upload.path_for("one more")


def packed(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries:
            archive.writestr(entry, data)
    return buffer.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_in_an_archive_stay_in_the_folder(upload, name, tmp_path):
    upload.path_for("series.zip").write_bytes(packed([(zipfile.ZipInfo(name.replace("\0", "")), b"x")]))
    assert upload.image().resolve().is_relative_to(upload.folder.resolve())
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1
    assert written[0].parent == upload.folder


def test_a_link_in_an_archive_becomes_a_file(upload):
    link = zipfile.ZipInfo("link.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    upload.path_for("a.zip").write_bytes(packed([(link, b"/etc/passwd")]))
    assert upload.image() == upload.folder
    (found,) = upload.folder.iterdir()
    assert not found.is_symlink()
    assert found.read_bytes() == b"/etc/passwd"


def test_the_size_limit_holds_for_unpacked_archives(upload):
    bomb = packed([("a.dcm", b"\0" * 1_000_000)])
    assert len(bomb) < 5_000
    upload.path_for("bomb.zip").write_bytes(bomb)
    with pytest.raises(InputError, match="more data"):
        upload.image()
    assert sum(path.stat().st_size for path in upload.folder.iterdir() if path.suffix == ".dcm") <= 10_000


@pytest.mark.parametrize("data", [b"", b"no archive", packed([("a", b"x" * 500)])[:-30]], ids=("empty", "text", "cut"))
def test_a_broken_archive_is_refused(upload, data):
    upload.path_for("a.zip").write_bytes(data)
    with pytest.raises(InputError, match="archive"):
        upload.image()


def test_exactly_one_image_is_required(upload):
    with pytest.raises(InputError, match="no file"):
        upload.image()
    for name in ("a.nii", "b.nrrd"):
        upload.path_for(name).write_bytes(b"x")
    with pytest.raises(InputError, match="2 images"):
        upload.image()


def test_a_header_and_its_data_stay_together(upload):
    for name in ("a.mhd", "a.raw"):
        upload.path_for(name).write_bytes(b"x")
    assert upload.image() == upload.folder / "a.mhd"
    assert (upload.folder / "a.raw").is_file()


def test_only_files_inside_the_folder_are_listed(tmp_path):
    outside = tmp_path / "outside.nii"
    outside.write_bytes(b"x")
    root = tmp_path / "data"
    for name in ("a.nii.gz", "deep/b.mha", "series/1.dcm", ".secret/c.nii", "notes.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (root / "link.nii").symlink_to(outside)
    (root / "loop").symlink_to(tmp_path)
    assert set(list_images(root)) == {"a.nii.gz", "deep/b.mha", "series"}
    assert list_images(None) == {}


@pytest.mark.parametrize(
    ("name", "stem"), [("a/b/Brain.nii.gz", "Brain"), ("C:\\x\\ct.NRRD", "ct"), ("x.zip", "x"), ("", "image")]
)
def test_titles(name, stem):
    assert stem_of(name) == stem

"""Files that come from a page, and the one folder that a page may open files from.

Nothing that a page says is used as a path: uploaded files get names of our own, and names of files in the chosen
folder are looked up in the list that was made of it.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from SPRCore.errors import InputError

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Of files that are an image by themselves, or (`.nhdr`, `.mhd`) with another file beside them."""

LANDMARK_ENDINGS = (".mrk.json", ".fcsv", ".csv", ".txt")
ARCHIVE = ".zip"
MEGABYTE = 1 << 20
MOST_FILES = 5000
MOST_LISTED = 500
EXPECTED = "NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha), or a DICOM series as a folder or .zip"

_STRANGE = re.compile(r"[^A-Za-z0-9._ -]+")


def stem_of(name: str) -> str:
    """Return the name of a file without folders and endings, to be shown."""
    last = PurePosixPath(name.replace("\\", "/")).name
    for ending in (*ENDINGS, ARCHIVE):
        if last.lower().endswith(ending):
            last = last[: -len(ending)]
            break
    return last[:80] or "image"


class Inbox:
    """Takes one upload into a folder of its own.

    Args:
        folder: An empty folder.
        limit_bytes: Most bytes, both as they come and unpacked.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self._limit, self._left = folder, limit_bytes, limit_bytes
        self._names: set[str] = set()
        self.title = ""

    def place(self, name: str) -> Path:
        """Return where to write a file of some name, in the folder and nowhere else.

        Files of one image keep the last part of their names, because a header names the file beside it.
        """
        if len(self._names) >= MOST_FILES:
            raise InputError("upload", got=f"more than {MOST_FILES} files", expected="one image")
        last = _STRANGE.sub("_", PurePosixPath(name.replace("\\", "/")).name).lstrip(".")[-100:]
        if not last or last.lower() in self._names:  # two folders of a DICOM tree may use the same names
            last = f"{len(self._names):05d}-{last}"
        self._names.add(last.lower())
        self.title = self.title or stem_of(name)
        return self.folder / last

    def count(self, size: int) -> None:
        """Take note of bytes that have come.

        Raises:
            InputError: They are too many.
        """
        self._left -= size
        if self._left < 0:
            expected = f"at most {self._limit // MEGABYTE} MB"
            raise InputError("upload", got="more data", expected=expected, remedy="start with a larger --upload-mb")

    def image(self) -> Path:
        """Return the image that has come: a file, or a folder with a DICOM series; archives are unpacked.

        Raises:
            InputError: It is none, or more than one.
        """
        archives = [path for path in self.folder.iterdir() if path.name.lower().endswith(ARCHIVE)]
        for archive in archives:
            self._unpack(archive)
            archive.unlink()
        found = sorted(path for path in self.folder.iterdir() if path.is_file())
        if not found:
            raise InputError("upload", got="no file", expected=EXPECTED)
        images = [path for path in found if path.name.lower().endswith(ENDINGS)]
        if len(images) > 1:
            raise InputError("upload", got=f"{len(images)} images", expected="one image for each side")
        return images[0] if images else self.folder

    def single(self, endings: tuple[str, ...]) -> Path:
        """Return the one file that has come.

        Args:
            endings: What its name may end in.

        Raises:
            InputError: It is none of these, or not one.
        """
        found = sorted(self.folder.iterdir())
        if len(found) != 1 or not found[0].name.lower().endswith(endings):
            got = found[0].name if len(found) == 1 else f"{len(found)} files"
            raise InputError("upload", got=got, expected=f"one file that ends in {' or '.join(endings)}")
        return found[0]

    def _unpack(self, archive: Path) -> None:
        self._left = self._limit
        try:
            with zipfile.ZipFile(archive) as packed:
                for entry in packed.infolist():
                    if not entry.is_dir():
                        self._unpack_entry(packed, entry)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(archive.name, got="an archive that cannot be unpacked", expected=EXPECTED) from error

    def _unpack_entry(self, packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        """Write one file; what the archive says of its size and of its place is not believed."""
        with packed.open(entry) as source, self.place(entry.filename).open("xb") as target:
            while data := source.read(MEGABYTE):
                self.count(len(data))
                target.write(data)


def listed(folder: Path | None) -> dict[str, Path]:
    """Return the images below a folder, and the folders that seem to hold a DICOM series, by their names in it.

    Links that lead out of it are left out.

    Args:
        folder: The folder; None for nothing.
    """
    if folder is None:
        return {}
    root = folder.resolve()
    found = {}
    for path in _walk(root):
        if len(found) >= MOST_LISTED:
            break
        if path.resolve().is_relative_to(root):
            found[path.relative_to(root).as_posix()] = path
    return found


def _walk(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        if here != root and any(name.lower().endswith((".dcm", ".ima")) for name in names):
            yield here
        yield from (here / name for name in sorted(names) if name.lower().endswith(ENDINGS))

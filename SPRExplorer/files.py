"""Uploaded files, and the folder whose images can be opened from the page.

No path is taken from a request: uploaded files get sanitized names, and names of files in the folder are looked up in
its listing.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from SPRCore.errors import InputError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Suffixes of images; `.nhdr` and `.mhd` are headers with a separate data file."""

LANDMARK_SUFFIXES = (".mrk.json", ".fcsv", ".csv", ".txt")
ARCHIVE = ".zip"
MEGABYTE = 1 << 20
MAX_FILES = 5000
MAX_LISTED = 500
EXPECTED = "NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha), or a DICOM series as a folder or .zip"

_UNSAFE = re.compile(r"[^A-Za-z0-9._ -]+")


def stem_of(name: str) -> str:
    """Return the name of a file without folders and suffixes, for display."""
    last = PurePosixPath(name.replace("\\", "/")).name
    for suffix in (*IMAGE_SUFFIXES, ARCHIVE):
        if last.lower().endswith(suffix):
            last = last[: -len(suffix)]
            break
    return last[:80] or "image"


class UploadFolder:
    """The folder of one upload.

    Args:
        folder: An empty folder.
        limit_bytes: Size limit, of the upload and of its unpacked archives.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self._limit, self._left = folder, limit_bytes, limit_bytes
        self._names: set[str] = set()
        self.title = ""

    def path_for(self, name: str) -> Path:
        """Return the path for an uploaded file, always inside the folder.

        The last part of the name is kept, because a header refers to its data file by name.
        """
        if len(self._names) >= MAX_FILES:
            raise InputError("upload", got=f"more than {MAX_FILES} files", expected="one image")
        last = _UNSAFE.sub("_", PurePosixPath(name.replace("\\", "/")).name).lstrip(".")[-100:]
        if not last or last.lower() in self._names:  # folders of a DICOM tree may repeat names
            last = f"{len(self._names):05d}-{last}"
        self._names.add(last.lower())
        self.title = self.title or stem_of(name)
        return self.folder / last

    def count_bytes(self, size: int) -> None:
        """Count received bytes.

        Raises:
            InputError: The limit is exceeded.
        """
        self._left -= size
        if self._left < 0:
            expected = f"at most {self._limit // MEGABYTE} MB"
            raise InputError("upload", got="more data", expected=expected, remedy="start with a larger --upload-mb")

    def image(self) -> Path:
        """Return the uploaded image: a file, or a folder with a DICOM series; archives are unpacked.

        Raises:
            InputError: There is no image, or more than one.
        """
        archives = [path for path in self.folder.iterdir() if path.name.lower().endswith(ARCHIVE)]
        for archive in archives:
            self._unpack(archive)
            archive.unlink()
        found = sorted(path for path in self.folder.iterdir() if path.is_file())
        if not found:
            raise InputError("upload", got="no file", expected=EXPECTED)
        images = [path for path in found if path.name.lower().endswith(IMAGE_SUFFIXES)]
        if len(images) > 1:
            raise InputError("upload", got=f"{len(images)} images", expected="one image for each side")
        return images[0] if images else self.folder

    def single_file(self, suffixes: tuple[str, ...]) -> Path:
        """Return the only uploaded file.

        Args:
            suffixes: Accepted suffixes.

        Raises:
            InputError: There is not exactly one file, or its suffix is not accepted.
        """
        found = sorted(self.folder.iterdir())
        if len(found) != 1 or not found[0].name.lower().endswith(suffixes):
            got = found[0].name if len(found) == 1 else f"{len(found)} files"
            raise InputError("upload", got=got, expected=f"one file that ends in {' or '.join(suffixes)}")
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
        """Write one file; size and path that the archive states are not trusted."""
        with packed.open(entry) as source, self.path_for(entry.filename).open("xb") as target:
            while data := source.read(MEGABYTE):
                self.count_bytes(len(data))
                target.write(data)


def list_images(folder: Path | None) -> dict[str, Path]:
    """Return the images and folders with DICOM series below a folder, by relative path.

    Symbolic links to targets outside of the folder are skipped.

    Args:
        folder: The folder; None for an empty result.
    """
    if folder is None:
        return {}
    root = folder.resolve()
    found = {}
    for path in _walk(root):
        if len(found) >= MAX_LISTED:
            break
        if path.resolve().is_relative_to(root):
            found[path.relative_to(root).as_posix()] = path
    return found


def _walk(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(parent)
        if here != root and any(name.lower().endswith((".dcm", ".ima")) for name in names):
            yield here
        yield from (here / name for name in sorted(names) if name.lower().endswith(IMAGE_SUFFIXES))

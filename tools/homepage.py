"""Writes the address of the repository into all files that the catalog of extensions and the module read.

    python tools/homepage.py                                            says where the files differ from `HOMEPAGE`
    python tools/homepage.py https://github.com/me/SlicerSPRRegistration  writes it there and into the files

The catalog reads the text of `CMakeLists.txt`, not its variables, so the address is in each file in full.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOMEPAGE = "SPRRegistration/Resources/homepage.txt"
"""The file that holds the address; the module reads it."""

FILES = ("CMakeLists.txt", "SPRRegistration.json", "SPRRegistration.s4ext", "SPRRegistration/SPRRegistration.py")
_ADDRESS = re.compile(
    r"https://(?:github\.com|raw\.githubusercontent\.com)/([\w.-]+/Slicer[\w.-]+?)(?=\.git\b|[/\"\s]|$)"
)


def repository(address: str) -> str:
    """Return owner and name of a repository; `ValueError` for an address that the catalog would refuse."""
    found = re.fullmatch(r"https://github\.com/([\w-]+)/(Slicer[\w-]+)/?", address)
    if found is None:
        raise ValueError(f"{address!r} is not like https://github.com/OWNER/SlicerSPRRegistration: the name of the "
                         "repository must begin with Slicer")  # fmt: skip
    return "/".join(found.groups())


def rewritten(text: str, name: str) -> str:
    """Return a text in which all addresses of the repository have another owner and name."""
    return _ADDRESS.sub(lambda found: found.group(0).replace(found.group(1), name), text)


def differing(root: Path) -> list[str]:
    """Return the files that have another address than `HOMEPAGE`."""
    name = repository((root / HOMEPAGE).read_text(encoding="utf-8").strip())
    texts = {file: (root / file).read_text(encoding="utf-8") for file in FILES}
    return [file for file, text in texts.items() if rewritten(text, name) != text]


def write(root: Path, address: str) -> None:
    """Write an address into `HOMEPAGE` and all files."""
    name = repository(address)
    (root / HOMEPAGE).write_text(f"https://github.com/{name}\n", encoding="utf-8")
    for file in FILES:
        text = (root / file).read_text(encoding="utf-8")
        (root / file).write_text(rewritten(text, name), encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", help="https://github.com/OWNER/SlicerSPRRegistration")
    address = parser.parse_args(arguments).address
    try:
        if address is not None:
            write(ROOT, address)
        found = differing(ROOT)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for file in found:
        sys.stderr.write(f"{file} has another address than {HOMEPAGE}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

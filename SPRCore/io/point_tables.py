"""Tables of points in text files: a header with the names of the coordinates, then a point per line.

Columns are separated by commas, semicolons, tabs or blanks, as in the header. Lines that begin with `#` or `//` are
comments; the last of them is the header if there is no other (as NumPy writes it). If commas do not separate the
columns they may be decimal commas.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from SPRCore.errors import InputError

Line = tuple[int, str]

_COMMENTS = ("#", "//")
_SYSTEMS = {("l", "p", "s"): "LPS", ("r", "a", "s"): "RAS", ("x", "y", "z"): "RAS", ("i", "j", "k"): "IJK"}
_UNIT = re.compile(r"[\s_]*[\[(]?\s*mm\s*[\])]?$")  # x_mm, x (mm), x [mm]
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
HEADERS = "a header with x,y,z or r,a,s (RAS mm), l,p,s (LPS mm), or x,y,z,t as ANTs writes it (LPS mm)"


def is_comment(line: str) -> bool:
    """Whether a line is a comment, or the delimiter declaration of spreadsheets."""
    return line.lstrip().startswith(_COMMENTS) or line.strip().lower().startswith("sep=")


def read_table(text: str, path: Path) -> tuple[list[list[float]], str, bool]:
    """Read a table of points from the text of a file; the path is for messages.

    Returns:
        The points; their system "RAS", "LPS" or "IJK" (voxels), as in the header; whether the header is that of ANTs:
        x,y,z,t, perhaps with columns before and after it.

    Raises:
        InputError: There is no header or it names no coordinates, or a line has other columns or no finite numbers;
            the line is named.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    content = [(number, line) for number, line in lines if not is_comment(line)]
    comments = [(number, line.strip().lstrip("#/ ")) for number, line in lines if is_comment(line)]
    for candidates, rest in ((content[:1], content[1:]), (comments[-1:], content)):
        for _, header in candidates:
            if found := _header(header, path):
                delimiter, names, columns = found
                points = list(_points(rest, path, delimiter, names, columns))
                return points, _SYSTEMS[columns], ",x,y,z,t," in f",{','.join(names)},"
    shown = content[0][1].strip() if content else ""
    is_bare = bool(shown) and all(map(_is_number, re.split(r"[\s,;]+", shown.strip(" ,;\t"))))
    got = "numbers without a header" if is_bare else f"the first line {shown[:60]!r}" if shown else "no header"
    raise InputError(str(path), got=got, expected=HEADERS, remedy="write such a header as the first line")


def number(text: str, where: str, *, decimal_comma: bool = False) -> float:
    """Read a finite number (`InputError` otherwise); `where` is its location for messages."""
    text = text.strip()
    if decimal_comma and _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        raise InputError(where, got=repr(text[:40]) if text else "nothing", expected="a number") from None
    if not math.isfinite(value):
        raise InputError(where, got=text, expected="a finite number", remedy="remove this point from both lists")
    return value


def _header(line: str, path: Path) -> tuple[str | None, list[str], tuple[str, str, str]] | None:
    """Delimiter, names of all columns and those of the coordinates of a header; None if the line is not a header."""
    for delimiter in ("\t", ";", ",", None):
        names = [_UNIT.sub("", name.strip().strip("\"'").lower()) for name in _split(line, delimiter)]
        for columns in _SYSTEMS:
            if set(columns) <= set(names):
                twice = [name for name in columns if names.count(name) > 1]
                if twice:
                    raise InputError(str(path), got=f"two columns {twice[0]!r}", expected="one of each name")
                return delimiter, names, columns
    return None


def _points(
    lines: list[Line], path: Path, delimiter: str | None, names: list[str], columns: tuple[str, str, str]
) -> Iterator[list[float]]:
    indices = [names.index(name) for name in columns]
    for line, text in lines:
        where, cells = f"{path}, line {line}", _split(text, delimiter)
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        if len(cells) > len(names) or len(cells) <= max(indices):
            remedy = "write decimal points, or part columns by semicolons" if delimiter == "," else ""
            expected = f"{len(names)}, as in the header"
            raise InputError(where, got=f"{len(cells)} columns", expected=expected, remedy=remedy)
        if "defined" in names[: len(cells)] and cells[names.index("defined")].strip().lower() in ("0", "false"):
            raise InputError(
                where, got="a point without a position", expected="a position for each", remedy="place or remove it"
            )
        yield [number(cells[index], where, decimal_comma=delimiter != ",") for index in indices]


def _split(line: str, delimiter: str | None) -> list[str]:
    """Cells of a line; quoted ones may hold the delimiter."""
    if delimiter is None:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

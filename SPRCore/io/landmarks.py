"""Landmarks on disk.

The suffix says the format: `.mrk.json` and `.fcsv` of 3D Slicer (LPS or RAS, as the file says), `.txt` of elastix and
ITK ("point", number of points, LPS mm), and tables (`.csv`, `.tsv`, `.txt`) whose header names the coordinates: x,y,z
or r,a,s (RAS mm), l,p,s as 3D Slicer exports them (LPS mm), x,y,z,t as ANTs has them (LPS mm).
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, flip_lps_ras, voxel_to_ras
from SPRCore.io.atomic import atomic_path
from SPRCore.io.point_tables import HEADERS, is_comment, number, read_table
from SPRCore.io.volumes import as_path, check_exists
from SPRCore.typing import Points

logger = logging.getLogger("SPRCore")

_SYSTEMS = {"RAS": "RAS", "0": "RAS", "LPS": "LPS", "1": "LPS"}  # Slicer wrote codes before it wrote names
_UNITS_MM = {"mm": 1.0, "um": 1e-3}
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)


def read_landmarks(path: str | Path, *, grid: Grid | None = None) -> Points:
    """Read landmarks, in the order of the file.

    Args:
        path: A `.mrk.json`, `.fcsv`, `.txt`, `.csv` or `.tsv` file.
        grid: Grid of the image to which the landmarks belong; needed only for voxel indices: `.txt` files that begin
            with "index", and tables with the header i,j,k.

    Returns:
        Points in RAS mm, shape (N, 3), N at least 1, float64.

    Raises:
        InputError: The file is missing, of no known format, damaged or empty, its coordinate system or unit is unknown,
            a point is undefined or not finite, or it holds voxel indices and no grid was given. The line is named.
    """
    path = as_path(path)
    check_exists(path)
    reader = _by_suffix(path, _READERS)
    points = np.asarray(reader(_text_of(path), path, grid), dtype=np.float64)
    if not len(points):
        raise InputError(str(path), got="no points", expected="at least one landmark")
    return points


def write_landmarks(points_mm: Points, path: str | Path) -> None:
    """Write landmarks (N, 3) in RAS mm to `.mrk.json`, `.fcsv`, `.txt` (all three in LPS) or `.csv` (RAS), atomically.

    Raises:
        InputError: The suffix is none of these.
        OutputError: The file could not be written.
    """
    path = Path(path)
    points = np.asarray(points_mm, dtype=np.float64)
    text = _by_suffix(path, _WRITERS)(points if _suffix(path) == ".csv" else flip_lps_ras(points))
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _suffix(path: Path) -> str:
    return ".mrk.json" if path.name.lower().endswith(".mrk.json") else path.suffix.lower()


def _by_suffix(path: Path, table: dict[str, Callable]) -> Callable:
    if _suffix(path) not in table:
        raise InputError(str(path), got=f"suffix {path.suffix!r}", expected="landmarks: " + " or ".join(table))
    return table[_suffix(path)]


def _text_of(path: Path) -> str:
    expected = f"landmarks as {_suffix(path)}"
    try:
        # Only names of points, which are ignored, may not be UTF-8.
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        got = f"a file that cannot be read ({error.strerror})"
        raise InputError(str(path), got=got, expected=expected) from error
    if "\0" in text:
        raise InputError(str(path), got="a file that cannot be read as text", expected=expected)
    return text


def _to_ras(points: list[list[float]], system: str, path: Path) -> np.ndarray:
    if system not in _SYSTEMS:
        raise InputError(str(path), got=f"coordinate system {system!r}", expected="RAS or LPS")
    points_mm = np.array(points, dtype=np.float64).reshape(len(points), 3)
    return flip_lps_ras(points_mm) if _SYSTEMS[system] == "LPS" else points_mm


def _from_voxels(points: list[list[float]], path: Path, grid: Grid | None) -> np.ndarray:
    if grid is None:
        remedy = "write the landmarks in mm"
        raise InputError(str(path), got="voxel indices", expected="millimeters", remedy=remedy)
    return voxel_to_ras(np.array(points, dtype=np.float64).reshape(len(points), 3), grid.affine)


def _read_mrk_json(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"{path}, line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(path)
        raise InputError(where, got="no JSON", expected="a point list as 3D Slicer saves it") from None
    markups = _part(content, "markups", list, path)
    if len(markups) > 1:
        logger.info("%s holds %d point lists, which are joined in their order", path, len(markups))
    return np.concatenate([np.empty((0, 3)), *(_read_markup(markup, path) for markup in markups)])


def _read_markup(markup: Any, path: Path) -> np.ndarray:
    controls = _part(markup, "controlPoints", list, path)
    kind = markup.get("type", "Fiducial")
    if kind != "Fiducial":
        remedy = "save the point list alone in a file"
        raise InputError(str(path), got=f"a markup of type {kind}", expected="point lists (Fiducial)", remedy=remedy)
    unit = markup.get("coordinateUnits", "mm")
    unit = unit[0] if isinstance(unit, list) and unit else unit  # newer files: ["mm", "UCUM", "millimeter"]
    if not isinstance(unit, str) or unit not in _UNITS_MM:
        raise InputError(str(path), got=f"coordinate unit {unit!r}", expected=" or ".join(_UNITS_MM))
    positions = [_position(control, f"{path}, point {index}") for index, control in enumerate(controls, start=1)]
    undefined = sum(position is None for position in positions)
    if undefined:
        remedy = "place them in 3D Slicer, or remove them from both lists"
        got = f"{undefined} of {len(positions)} points without a position"
        raise InputError(str(path), got=got, expected="a position for each", remedy=remedy)
    return _to_ras(positions, str(markup.get("coordinateSystem", "LPS")), path) * _UNITS_MM[unit]


def _position(control: Any, where: str) -> list[float] | None:
    """Position of a control point, None for one that was not placed."""
    if not isinstance(control, dict) or control.get("positionStatus", "defined") != "defined":
        return None
    position = control.get("position")
    if not isinstance(position, list) or len(position) != 3:
        raise InputError(where, got=f"position {json.dumps(position)[:60]}", expected="three numbers")
    return [number(str(value), where) for value in position]


def _part(content: Any, key: str, kind: type, path: Path) -> Any:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, kind):
        raise InputError(str(path), got=f"no {key}", expected="a point list as 3D Slicer saves it (.mrk.json)")
    return part


def _read_fcsv(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    lines = [(line_number, line) for line_number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    header = [line.lstrip("# ").partition("=") for _, line in lines if is_comment(line)]
    fields = {key.strip(): value.strip(" ,\t") for key, _, value in header}  # spreadsheets add commas
    columns = [name.strip() for name in fields.get("columns", "label,x,y,z").split(",")]
    if not set(columns) >= set("xyz"):
        raise InputError(str(path), got=f"columns {','.join(columns)}", expected="columns x, y and z among them")
    points = []
    for line_number, line in lines:
        if not is_comment(line):
            where, row = f"{path}, line {line_number}", next(csv.reader([line]), [])
            if len(row) <= max(map(columns.index, "xyz")):
                raise InputError(where, got=f"{len(row)} columns", expected=f"those of {','.join(columns)}")
            points.append([number(row[columns.index(axis)], where) for axis in "xyz"])
    if "CoordinateSystem" not in fields:
        logger.warning("%s names no coordinate system; its points are taken as RAS, as 3D Slicer does", path)
    return _to_ras(points, fields.get("CoordinateSystem", "RAS"), path)


def _read_txt(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    lines = [(line_number, line.split()) for line_number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(line_number, words) for line_number, words in lines if not is_comment(words[0])]
    kind = lines[0][1][0].lower() if lines else ""
    if kind not in ("point", "index"):
        return _read_txt_table(text, path, grid, kind)
    words = [(line_number, word) for line_number, line in lines for word in line][1:]
    if not words or not words[0][1].isdecimal():
        got = repr(words[0][1][:40]) if words else "nothing"
        raise InputError(f"{path}, second line", got=got, expected="the number of points")
    count, numbers = int(words[0][1]), [number(word, f"{path}, line {line_number}") for line_number, word in words[1:]]
    if len(numbers) != 3 * count:
        raise InputError(str(path), got=f"{len(numbers)} numbers", expected=f"3 for each of the {count} points")
    points = np.array(numbers).reshape(-1, 3).tolist()
    return _to_ras(points, "LPS", path) if kind == "point" else _from_voxels(points, path, grid)


def _read_txt_table(text: str, path: Path, grid: Grid | None, first: str) -> np.ndarray:
    try:
        return _read_table(text, path, grid)
    except InputError as error:
        if error.expected != HEADERS:
            raise
        got = f"first line {first!r}" if first else "an empty file"
        raise InputError(str(path), got=got, expected=f"'point' (LPS mm) or 'index' (voxels), or {HEADERS}") from None


def _read_table(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    points, system, is_ants = read_table(text, path)
    if system == "IJK":
        return _from_voxels(points, path, grid)
    if is_ants:
        logger.info("%s has the header x,y,z,t: its points are taken as LPS, as in ANTs", path)
    return _to_ras(points, "LPS" if is_ants else system, path)


def _write_mrk_json(points: Points) -> str:
    controls = [
        {"id": str(i), "label": f"F-{i}", "position": point, "positionStatus": "defined"}
        for i, point in enumerate(points.tolist(), start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": controls}
    return json.dumps({"@schema": _SCHEMA, "markups": [markup]}, indent=2) + "\n"


def _write_fcsv(points: Points) -> str:
    columns = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    header = f"# Markups fiducial file version = 5.0\n# CoordinateSystem = LPS\n# columns = {columns}\n"
    rows = (f"{i},{x!r},{y!r},{z!r},0,0,0,1,1,1,0,F-{i},,\n" for i, (x, y, z) in enumerate(points.tolist(), start=1))
    return header + "".join(rows)


def _write_txt(points: Points) -> str:
    return f"point\n{len(points)}\n" + "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in points.tolist())


def _write_csv(points: Points) -> str:
    return "x,y,z\n" + "".join(f"{x!r},{y!r},{z!r}\n" for x, y, z in points.tolist())


_READERS = {
    ".mrk.json": _read_mrk_json,
    ".fcsv": _read_fcsv,
    ".txt": _read_txt,
    ".csv": _read_table,
    ".tsv": _read_table,
}
_WRITERS = {".mrk.json": _write_mrk_json, ".fcsv": _write_fcsv, ".txt": _write_txt, ".csv": _write_csv}

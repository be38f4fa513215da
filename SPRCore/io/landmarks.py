"""Landmarks on disk.

The suffix says the format: `.mrk.json` and `.fcsv` of 3D Slicer (LPS or RAS, as the file says), `.txt` of elastix and
ITK ("point", number of points, LPS mm) and `.csv` with a header that names x, y and z (RAS mm).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from SPRCore.errors import InputError
from SPRCore.geometry import Grid, flip_lps_ras, voxel_to_ras
from SPRCore.io.atomic import atomic_path
from SPRCore.io.volumes import check_exists
from SPRCore.typing import Points

_SYSTEMS = {"RAS": "RAS", "0": "RAS", "LPS": "LPS", "1": "LPS"}  # Slicer wrote codes before it wrote names
_UNITS_MM = {"mm": 1.0, "um": 1e-3}
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/"
    "Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)


def read_landmarks(path: str | Path, *, grid: Grid | None = None) -> Points:
    """Read landmarks, in the order of the file.

    Args:
        path: A `.mrk.json`, `.fcsv`, `.txt` or `.csv` file.
        grid: Grid of the image to which the landmarks belong; needed only for `.txt` files of voxel indices ("index").

    Returns:
        Points in RAS mm, shape (N, 3), N at least 1, float64.

    Raises:
        InputError: The file is missing, of no known format, damaged or empty, its coordinate system or unit is unknown,
            a point is undefined or not finite, or it holds voxel indices and no grid was given.
    """
    path = Path(path)
    check_exists(path)
    reader = _by_suffix(path, _READERS)
    try:
        text = path.read_text(encoding="utf-8-sig")
        points = np.array(reader(text, path, grid), dtype=np.float64)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            str(path), got=f"a file that cannot be read ({reason})", expected=f"landmarks as {_suffix(path)}"
        ) from error
    if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
        raise InputError(str(path), got="no or incomplete points", expected="three finite numbers for each landmark")
    return points


def write_landmarks(points_mm: Points, path: str | Path) -> None:
    """Write landmarks, as a whole or not at all.

    Args:
        points_mm: Points in RAS mm, shape (N, 3).
        path: File to write: `.mrk.json`, `.fcsv`, `.txt` (all three in LPS) or `.csv` (RAS).

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


def _to_ras(points: list[list[float]], system: str, path: Path) -> np.ndarray:
    if system not in _SYSTEMS:
        raise InputError(str(path), got=f"coordinate system {system!r}", expected="RAS or LPS")
    points_mm = np.array(points, dtype=np.float64).reshape(len(points), 3)
    return flip_lps_ras(points_mm) if _SYSTEMS[system] == "LPS" else points_mm


def _read_mrk_json(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    return np.concatenate([_read_markup(markup, path) for markup in json.loads(text)["markups"]])


def _read_markup(markup: dict, path: Path) -> np.ndarray:
    unit = markup.get("coordinateUnits", "mm")
    unit = unit[0] if isinstance(unit, list) else unit  # newer files: ["mm", "UCUM", "millimeter"]
    if unit not in _UNITS_MM:
        raise InputError(str(path), got=f"coordinate unit {unit!r}", expected=" or ".join(_UNITS_MM))
    controls = markup["controlPoints"]
    undefined = [control for control in controls if control.get("positionStatus", "defined") != "defined"]
    if undefined:
        raise InputError(str(path), got=f"{len(undefined)} points without a position", expected="a position for each")
    points = _to_ras([control["position"] for control in controls], str(markup.get("coordinateSystem", "LPS")), path)
    return points * _UNITS_MM[unit]


def _read_fcsv(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    header = [line.lstrip("# ").partition("=") for line in text.splitlines() if line.startswith("#")]
    fields = {key.strip(): value.strip() for key, _, value in header}
    columns = fields.get("columns", "id,x,y,z").split(",")
    rows = list(csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#")))
    places = [columns.index(axis) for axis in "xyz"]
    return _to_ras([[float(row[place]) for place in places] for row in rows], fields["CoordinateSystem"], path)


def _read_txt(text: str, path: Path, grid: Grid | None) -> np.ndarray:
    kind, count, *numbers = text.split()
    if kind not in ("point", "index"):
        raise InputError(str(path), got=f"first line {kind!r}", expected="'point' (LPS mm) or 'index' (voxels)")
    if len(numbers) != 3 * int(count):
        raise InputError(str(path), got=f"{len(numbers)} numbers", expected=f"3 for each of the {count} points")
    points = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    if kind == "point":
        return flip_lps_ras(points)
    if grid is None:
        remedy = "write the landmarks as 'point' in LPS mm"
        raise InputError(str(path), got="voxel indices", expected="millimeters", remedy=remedy)
    return voxel_to_ras(points, grid.affine)


def _read_csv(text: str, path: Path, grid: Grid | None) -> list[list[float]]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
    if not set(rows.fieldnames) >= set("xyz"):
        raise InputError(str(path), got=f"header {','.join(rows.fieldnames)}", expected="a header with x,y,z (RAS mm)")
    return [[float(row[axis]) for axis in "xyz"] for row in rows]


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


_READERS = {".mrk.json": _read_mrk_json, ".fcsv": _read_fcsv, ".txt": _read_txt, ".csv": _read_csv}
_WRITERS = {".mrk.json": _write_mrk_json, ".fcsv": _write_fcsv, ".txt": _write_txt, ".csv": _write_csv}

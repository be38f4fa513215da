"""Files of landmarks, as programs write them and as people break them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from table import Row, refused, warned

from SPRCore.geometry import Grid
from SPRCore.io import read_landmarks

RAS = np.array([[1.0, -2.0, 3.0], [-40.5, 50.25, 60.125]])
READ, REFUSED = "Landmarks: read", "Landmarks: refused"
VOXELS = Grid((9, 9, 9), np.diag([2.0, 3.0, 4.0, 1.0]))


def check_read(name: str, text: str, folder: Path, grid: Grid | None = None, said: tuple[str, ...] = ()) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    with warned(*said):
        points = read_landmarks(path, grid=grid)
    np.testing.assert_allclose(points, RAS, rtol=1e-12)


def check_refused(name: str, content: str | bytes, said: tuple[str, ...], folder: Path) -> None:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: read_landmarks(path), str(path), *said)


def check_folder(folder: Path) -> None:
    (folder / "points.csv").mkdir()
    refused(lambda: read_landmarks(folder / "points.csv"), "points.csv", "cannot be read")


def read(what: str, happens: str, name: str, text: str, **options: object) -> Row:
    return Row(READ, what, happens, partial(check_read, name, text, **options))


def bad(what: str, happens: str, name: str, content: str | bytes, *said: str) -> Row:
    return Row(REFUSED, what, f"refused: {happens}", partial(check_refused, name, content, said))


def markups(*lists: list[dict], **fields: object) -> str:
    return json.dumps({"markups": [{"type": "Fiducial", **fields, "controlPoints": points} for points in lists]})


def control(x: float, y: float, z: float, **fields: object) -> dict:
    return {"label": "F", "position": [x, y, z], "positionStatus": "defined", **fields}


def check_joined(folder: Path) -> None:
    check_read("two.mrk.json", markups([control(-1, 2, 3)], [control(40.5, -50.25, 60.125)]), folder)


TABLE = "x,y,z\n1,-2,3\n-40.5,50.25,60.125\n"
LPS = "-1,2,3\n40.5,-50.25,60.125\n"
SLICER = (
    "label,l,p,s,defined,selected,visible,locked,description\nF-1,-1,2,3,1,1,1,0,\nF-2,40.5,-50.25,60.125,1,1,1,0,\n"
)
ROWS_OF_FCSV = "vtk_0,1,-2,3,0,0,0,1,1,1,0,F-1,,\nvtk_1,-40.5,50.25,60.125,0,0,0,1,1,1,0,F-2,,\n"
COLUMNS = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
VERSION = "# Markups fiducial file version = 4.3\n"
IN_RAS = ("no coordinate system",)

ROWS = [
    read("a CSV with the header `x,y,z`", "read as RAS mm", "p.csv", TABLE),
    read(
        "ANTs: a CSV with the header `x,y,z,t`", "read as LPS mm", "p.csv", "x,y,z,t\n-1,2,3,0\n40.5,-50.25,60.125,0\n"
    ),
    read(
        "ANTs: `x,y,z,t,label,comment`",
        "read as LPS mm",
        "p.csv",
        "x,y,z,t,label,comment\n-1,2,3,0,1,a\n40.5,-50.25,60.125,0,2,b\n",
    ),
    read(
        "ANTsPy: `x,y,z,t` with the index of pandas before it",
        "read as LPS mm",
        "p.csv",
        ",x,y,z,t\n0,-1,2,3,0\n1,40.5,-50.25,60.125,0\n",
    ),
    read("3D Slicer: a table exported with `label,l,p,s,…`", "read as LPS mm", "p.csv", SLICER),
    read(
        "3D Slicer: a table exported with `label,r,a,s,…`",
        "read as RAS mm",
        "p.csv",
        "label,r,a,s,defined\nF-1,1,-2,3,1\nF-2,-40.5,50.25,60.125,1\n",
    ),
    read("columns parted by tabs", "read", "p.csv", TABLE.replace(",", "\t")),
    read("a `.tsv` file", "read", "p.tsv", TABLE.replace(",", "\t")),
    read("columns parted by semicolons", "read", "p.csv", TABLE.replace(",", ";")),
    read("columns parted by blanks", "read", "p.csv", "x y z\n1 -2   3\n-40.5 50.25 60.125\n"),
    read(
        "decimal commas, columns parted by semicolons (a spreadsheet in Europe)",
        "read: the commas are decimal ones",
        "p.csv",
        "x;y;z\n1,0;-2,0;3,0\n-40,5;50,25;60,125\n",
    ),
    read(
        "comments with `#` and `//`, blank lines",
        "passed over",
        "p.csv",
        "# a\n// b\n\nx,y,z\n# c\n\n1,-2,3\n-40.5,50.25,60.125\n",
    ),
    read(
        "`sep=;` in the first line, as spreadsheets write it",
        "passed over",
        "p.csv",
        f"sep=;\n{TABLE}".replace(",", ";"),
    ),
    read(
        "`.fcsv` that a spreadsheet has saved",
        "read",
        "p.fcsv",
        f"{VERSION.rstrip()},,,\n# CoordinateSystem = 0,,,\n{COLUMNS}{ROWS_OF_FCSV}",
    ),
    read("a header that is a comment, as NumPy writes it", "read", "p.csv", f"# {TABLE}"),
    read("a byte order mark, CRLF at the ends of lines", "read", "p.csv", "\ufeff" + TABLE.replace("\n", "\r\n")),
    read(
        "quoted cells, labels with commas",
        "read",
        "p.csv",
        'label,x,y,z\n"F-1, left","1","-2","3"\n"F-2",-40.5,50.25,60.125\n',
    ),
    read("units in the header: `x (mm)`", "read", "p.csv", TABLE.replace("x,y,z", "X (mm),y_mm,z [mm]")),
    read("empty cells behind the last column", "passed over", "p.csv", TABLE.replace("\n", ",,\n").replace("z,,", "z")),
    read(
        "`i,j,k`: voxel indices, with their image",
        "read through its grid",
        "p.csv",
        "i,j,k\n0.5,-0.6666666666666666,0.75\n-20.25,16.75,15.03125\n",
        grid=VOXELS,
    ),
    read("`.txt` of elastix: `point`", "read as LPS mm", "p.txt", f"point\n2\n{LPS.replace(',', ' ')}"),
    read("a `.txt` that is a table", "read as the table that it is", "p.txt", TABLE),
    read(
        "`.fcsv` with `CoordinateSystem = 0`",
        "read as RAS",
        "p.fcsv",
        f"{VERSION}# CoordinateSystem = 0\n{COLUMNS}{ROWS_OF_FCSV}",
    ),
    read(
        "`.fcsv` without a coordinate system",
        "read as RAS, as 3D Slicer does, with a warning",
        "p.fcsv",
        VERSION + COLUMNS + ROWS_OF_FCSV,
        said=IN_RAS,
    ),
    read(
        "`.fcsv` of Slicer 3 (`label,x,y,z,sel,vis`, no version)",
        "read as RAS with a warning",
        "p.fcsv",
        "# Fiducial List file\n# columns = label,x,y,z,sel,vis\nF-1,1,-2,3,1,1\nF-2,-40.5,50.25,60.125,1,1\n",
        said=IN_RAS,
    ),
    Row(READ, "`.mrk.json` with two point lists", "both, in their order", check_joined),
    read(
        "`.mrk.json` in micrometers",
        "turned into mm",
        "p.mrk.json",
        markups([control(-1e3, 2e3, 3e3), control(40500, -50250, 60125)], coordinateUnits="um"),
    ),
    bad(
        "numbers without a header",
        "the headers that can be read are named",
        "p.csv",
        "1,2,3\n4,5,6\n",
        "numbers without a header",
        "x,y,z",
        "l,p,s",
        "first line",
    ),
    bad(
        "a header without coordinates",
        "the headers that can be read are named",
        "p.csv",
        "a,b,c\n1,2,3\n",
        "'a,b,c'",
        "x,y,z",
    ),
    bad("a header and no point", "no points", "p.csv", "x,y,z\n", "no points"),
    bad("an empty file", "no header", "p.csv", "", "no header"),
    bad("a line with too few columns", "the line is named", "p.csv", "x,y,z\n1,2,3\n4,5\n", "line 3", "2 columns"),
    bad(
        "decimal commas between commas",
        "the line is named, and semicolons are asked for",
        "p.csv",
        "x,y,z\n1,5,2,5,3,5\n",
        "line 2",
        "6 columns",
        "semicolons",
    ),
    bad(
        "a word where a number belongs",
        "the line is named",
        "p.csv",
        "x,y,z\n1,2,left\n",
        "line 2",
        "'left'",
        "a number",
    ),
    bad("an empty cell", "the line is named", "p.csv", "x,y,z\n1,,3\n", "line 2", "nothing"),
    bad("NaN", "the line is named", "p.csv", "x,y,z\n1,2,3\n\n4,nan,6\n", "line 4", "finite"),
    bad("infinity", "the line is named", "p.fcsv", f"{VERSION}{COLUMNS}a,1,2,inf\n", "line 3", "finite"),
    bad("two columns of one name", "the name is told", "p.csv", "x,y,z,x\n1,2,3,4\n", "two columns 'x'"),
    bad(
        "a point of a Slicer table that was not placed",
        "the line is named",
        "p.csv",
        SLICER.replace("3,1,1,1,0", "3,0,1,1,0"),
        "line 2",
        "without a position",
    ),
    bad("`i,j,k` without their image", "voxel indices", "p.csv", "i,j,k\n1,2,3\n", "voxel indices"),
    bad("a binary file called `.csv`", "no text", "p.csv", b"\x89PNG\x00\x01", "cannot be read as text"),
    Row(REFUSED, "a folder", "refused", check_folder),
    bad(
        "`.fcsv` in voxels (`CoordinateSystem = IJK`)",
        "RAS and LPS are known",
        "p.fcsv",
        f"{VERSION}# CoordinateSystem = IJK\n{COLUMNS}{ROWS_OF_FCSV}",
        "'IJK'",
        "RAS or LPS",
    ),
    bad(
        "`.fcsv` whose columns lack x, y, z",
        "the columns are named",
        "p.fcsv",
        "# columns = id,label\na,b\n",
        "id,label",
    ),
    bad(
        "`.fcsv` with a line cut short",
        "the line is named",
        "p.fcsv",
        f"{VERSION}{COLUMNS}vtk_0,1,2\n",
        "line 3",
        "3 columns",
    ),
    bad("`.mrk.json` cut short", "the line is named", "p.mrk.json", '{"markups": [\n', "no JSON", "line 2"),
    bad("JSON of another kind", "what is missing is named", "p.mrk.json", "[1, 2]", "no markups"),
    bad("`.mrk.json` without a point", "no points", "p.mrk.json", markups([]), "no points"),
    bad(
        "`.mrk.json` with a point that was not placed",
        "their number is told",
        "p.mrk.json",
        markups([control(1, 2, 3), control(0, 0, 0, positionStatus="undefined")]),
        "1 of 2 points",
        "3D Slicer",
    ),
    bad(
        "`.mrk.json` whose position has two numbers",
        "the point is named",
        "p.mrk.json",
        markups([control(1, 2, 3), {"position": [1, 2]}]),
        "point 2",
        "three numbers",
    ),
    bad(
        "`.mrk.json` whose position is null",
        "the point is named",
        "p.mrk.json",
        markups([{"position": None}]),
        "point 1",
        "null",
    ),
    bad(
        "`.mrk.json` with NaN",
        "the point is named",
        "p.mrk.json",
        markups([control(1, 2, float("nan"))]),
        "point 1",
        "finite",
    ),
    bad(
        "`.mrk.json` of a curve, a plane or a box",
        "point lists are asked for",
        "p.mrk.json",
        json.dumps({"markups": [{"type": "ROI", "controlPoints": [control(1, 2, 3)]}]}),
        "ROI",
        "point list",
    ),
    bad(
        "`.mrk.json` in inches",
        "mm and um are known",
        "p.mrk.json",
        markups([control(1, 2, 3)], coordinateUnits="in"),
        "'in'",
        "mm or um",
    ),
    bad(
        "`.txt` of elastix with fewer points than it says",
        "both numbers are told",
        "p.txt",
        "point\n3\n1 2 3\n",
        "3 numbers",
        "the 3 points",
    ),
    bad(
        "`.txt` of elastix without the number of points",
        "what is missing is told",
        "p.txt",
        "point\n1.5 2 3\n",
        "number of points",
    ),
    bad(
        "`.txt` of elastix with a word among its numbers",
        "the line is named",
        "p.txt",
        "point\n1\n1 2 left\n",
        "line 3",
        "'left'",
    ),
    *(
        bad(
            f"`{suffix}`",
            "what can be read is named",
            f"p{suffix}",
            "1 2 3\n",
            repr(suffix),
            ".mrk.json",
            ".fcsv",
            ".csv",
        )
        for suffix in (".vtk", ".vtp", ".pts", ".dat", ".xml", ".tag", ".xlsx")
    ),
]

"""Landmark files as other programs write them, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from SPRCore.errors import InputError
from SPRCore.geometry import Grid
from SPRCore.io import read_landmarks, write_landmarks

RAS = np.array([[1.0, -2.0, 3.0], [-40.5, 50.25, 60.125]])
LPS = RAS * [-1, -1, 1]


def markups(points, **changes):
    controls = [{"label": f"F-{i}", "position": point, "positionStatus": "defined"} for i, point in enumerate(points)]
    return json.dumps({"markups": [{"type": "Fiducial", "controlPoints": controls, **changes}]})


def fcsv(points, system, columns="id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"):
    rows = "".join(
        f'vtkMRMLMarkupsFiducialNode_{i},{x},{y},{z},0,0,0,1,1,1,0,"F-1, left",,\n'
        for i, (x, y, z) in enumerate(points)
    )
    head = "# Markups fiducial file version = 4.11\n"
    return f"{head}# CoordinateSystem = {system}\n# columns = {columns}\n{rows}"


GOOD = {
    "LPS.mrk.json": markups(LPS.tolist(), coordinateSystem="LPS", coordinateUnits="mm"),
    "RAS.mrk.json": markups(RAS.tolist(), coordinateSystem="RAS"),
    "no_system.mrk.json": markups(LPS.tolist()),
    "coded_unit.mrk.json": markups(LPS.tolist(), coordinateUnits=["mm", "UCUM", "millimeter"]),
    "micrometers.mrk.json": markups((LPS * 1000).tolist(), coordinateUnits="um"),
    "upper.MRK.JSON": markups(LPS.tolist()),
    "LPS.fcsv": fcsv(LPS, "LPS"),
    "RAS.fcsv": fcsv(RAS, "RAS"),
    "code_0.fcsv": fcsv(RAS, 0),
    "code_1.fcsv": fcsv(LPS, 1),
    "points.txt": "point\n2\n-1 2 3\n40.5 -50.25 60.125\n",
    "windows.txt": "point\r\n2\r\n-1 2 3\r\n40.5\t-50.25 60.125",
    "points.csv": "x,y,z\n1,-2,3\n-40.5,50.25,60.125\n",
    "more_columns.csv": "name, X, Y, Z\na, 1, -2, 3\nb, -40.5, 50.25, 60.125\n\n",
    "byte_order_mark.csv": "\ufeffx,y,z\n1,-2,3\n-40.5,50.25,60.125\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_every_form_gives_the_same_points(tmp_path, name):
    (tmp_path / name).write_text(GOOD[name], encoding="utf-8", newline="")
    points = read_landmarks(tmp_path / name)
    np.testing.assert_allclose(points, RAS, rtol=1e-12)
    assert points.dtype == np.float64


def test_voxel_indices_need_their_image(tmp_path):
    (tmp_path / "points.txt").write_text("index\n2\n1 2 3\n4 5 6\n")
    with pytest.raises(InputError, match="voxel indices"):
        read_landmarks(tmp_path / "points.txt")
    grid = Grid((9, 9, 9), np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]]))
    points = read_landmarks(tmp_path / "points.txt", grid=grid)
    np.testing.assert_allclose(points, [[1, 9, 19], [-5, 18, 31]])


REFUSED = {
    "missing.csv": (None, "no such file"),
    "points.xyz": ("1 2 3", r"suffix '\.xyz'"),
    "points.json": (markups(LPS.tolist()), r"suffix '\.json'"),
    "binary.csv": (b"\xff\xfe\x00\x01", "cannot be read"),
    "empty.csv": ("", "header"),
    "no_points.csv": ("x,y,z\n", "no points"),
    "other_header.csv": ("a,b,c\n1,2,3\n", "a header with x,y,z"),
    "no_header.csv": ("1,2,3\n4,5,6\n", "a header with x,y,z"),
    "short_row.csv": ("x,y,z\n1,2\n", "line 2: got 2 columns"),
    "words.csv": ("x,y,z\n1,2,left\n", "line 2: got 'left'; expected a number"),
    "nan.csv": ("x,y,z\n1,2,nan\n", "line 2: got nan; expected a finite number"),
    "broken.mrk.json": ("{", "line 1: got no JSON"),
    "list.mrk.json": ("[1, 2]", "no markups"),
    "none.mrk.json": ('{"markups": []}', "no points"),
    "empty.mrk.json": (markups([]), "no points"),
    "voxels.mrk.json": (markups(LPS.tolist(), coordinateSystem="IJK"), "coordinate system 'IJK'"),
    "inches.mrk.json": (markups(LPS.tolist(), coordinateUnits="in"), "coordinate unit 'in'"),
    "2-D.mrk.json": (markups([[1, 2], [3, 4], [5, 6]]), "point 1: got position"),
    "undefined.mrk.json": (
        json.dumps({"markups": [{"controlPoints": [{"position": [0, 0, 0], "positionStatus": "undefined"}]}]}),
        "1 of 1 points without a position",
    ),
    "voxels.fcsv": (fcsv(LPS, 2), "coordinate system '2'"),
    "no_columns.fcsv": (fcsv(LPS, "LPS", columns="id,label"), "columns id,label"),
    "other.txt": ("vertex\n1\n1 2 3\n", "first line 'vertex'"),
    "no_kind.txt": ("2\n1 2 3\n4 5 6\n", "first line '2'"),
    "empty.txt": ("", "an empty file"),
    "fewer.txt": ("point\n3\n1 2 3\n4 5 6\n", "3 for each of the 3 points"),
    "words.txt": ("point\n1\n1 2 left\n", "line 3: got 'left'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_landmarks_is_refused_in_one_line(tmp_path, name):
    content, said = REFUSED[name]
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=said) as caught:
        read_landmarks(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_holds_no_landmarks(tmp_path):
    (tmp_path / "points.csv").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_landmarks(tmp_path / "points.csv")


def test_the_written_csv_is_ras_and_the_elastix_file_lps(tmp_path):
    write_landmarks(RAS, tmp_path / "points.csv")
    write_landmarks(RAS, tmp_path / "points.txt")
    assert (tmp_path / "points.csv").read_text() == "x,y,z\n1.0,-2.0,3.0\n-40.5,50.25,60.125\n"
    assert (tmp_path / "points.txt").read_text() == "point\n2\n-1.0 2.0 3.0\n40.5 -50.25 60.125\n"


def test_an_unknown_suffix_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"\.mrk\.json"):
        write_landmarks(RAS, tmp_path / "points.dat")
    assert not list(tmp_path.iterdir())

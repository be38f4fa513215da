"""Saved results: what is written comes back, and what a killed process left half written does no harm."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace

import pytest

from SPRCore.analysis.rows import (
    BenchmarkRow,
    RowsHeader,
    SurfacePoint,
    append_row,
    command_without_folders,
    read_rows,
    start_rows,
    without_folders,
)
from SPRCore.errors import InputError, OutputError

ROW = BenchmarkRow(pair="p1", subject="s1", method="instance", after={"dice": {"1": 0.5, "2": None}})
POINT = SurfacePoint(pair="p1", subject="s1", method="m", setting={"alpha": 0.0, "lambda_max": 1.0}, dice_mean=0.5)


@pytest.mark.parametrize(("kind", "row"), [("benchmark", ROW), ("surface", POINT)])
def test_what_is_written_comes_back(tmp_path, kind, row):
    path = tmp_path / "new" / "rows.jsonl"
    start_rows(path, RowsHeader(kind=kind, command="spr x"))
    append_row(path, row)
    saved = read_rows(path, type(row))
    assert saved.rows == (row,)
    assert saved.headers[0].command == "spr x"
    assert saved.headers[0].machine["cores"] > 0
    assert "torch" in saved.headers[0].versions


def test_a_run_that_goes_on_adds_a_header_of_its_own(tmp_path):
    path = tmp_path / "rows.jsonl"
    for command in ("first", "second"):
        start_rows(path, RowsHeader(kind="benchmark", command=command))
        append_row(path, replace(ROW, pair=command))
    saved = read_rows(path, BenchmarkRow)
    assert [header.command for header in saved.headers] == ["first", "second"]
    assert [row.pair for row in saved.rows] == ["first", "second"]


def test_a_half_written_line_loses_itself_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    start_rows(path, RowsHeader(kind="benchmark"))
    append_row(path, ROW)
    with path.open("a") as stream:
        stream.write('{"pair": "torn", "subj')
    append_row(path, replace(ROW, pair="p2"))
    assert [row.pair for row in read_rows(path, BenchmarkRow).rows] == ["p1", "p2"]


def _append_many(path, name):
    for number in range(50):
        append_row(path, replace(ROW, pair=f"{name}{number}", failed="x" * 3000))


def test_lines_of_several_processes_do_not_mix(tmp_path):
    path = tmp_path / "rows.jsonl"
    start_rows(path, RowsHeader(kind="benchmark"))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {row.pair for row in read_rows(path, BenchmarkRow).rows} == {f"{n}{i}" for n in "ab" for i in range(50)}


def test_numbers_that_are_none_become_null(tmp_path):
    path = tmp_path / "rows.jsonl"
    start_rows(path, RowsHeader(kind="benchmark"))
    append_row(path, replace(ROW, after={"dice": {"1": float("nan")}}, peak_memory_mb=float("inf")))
    row = read_rows(path, BenchmarkRow).rows[0]
    assert row.after == {"dice": {"1": None}}
    assert row.peak_memory_mb is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing"),
        ('{"pair": "p"}\n', "no header"),
        ('{"schema_version": 99, "kind": "benchmark"}\n', "version 99"),
        ('{"schema_version": 1, "kind": "surface"}\n', "'surface'"),
        ('{"schema_version": 1, "kind": "benchmark"}\n{"pair": "p", "subject": "s", "method": 3}\n', "line 2"),
        ('{"schema_version": 1, "kind": "benchmark"}\n{"pair": "p", "subject": "s", "metod": "m"}\n', "method"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, text, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_rows(path, BenchmarkRow)


def test_results_of_another_kind_are_not_gone_on_with(tmp_path):
    path = tmp_path / "rows.jsonl"
    start_rows(path, RowsHeader(kind="surface"))
    with pytest.raises(InputError, match="surface"):
        start_rows(path, RowsHeader(kind="benchmark"))
    with pytest.raises(InputError, match="kind"):
        start_rows(path, RowsHeader(kind="benchmarks"))


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="rows"):
        start_rows(tmp_path / "file" / "rows.jsonl", RowsHeader(kind="benchmark"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a=/secret/m.sprmodel.safetensors@alpha=1", "a=m.sprmodel.safetensors@alpha=1"),
        ("A,/x/y/b,C:\\Users\\jane\\c.nii", "A,b,c.nii"),
        ("'~/lists/pairs.csv': got /data/x.nii.gz; see", "'pairs.csv': got x.nii.gz; see"),
        ("lists/pairs.csv and 1/2", "lists/pairs.csv and 1/2"),
    ],
)
def test_folders_are_not_kept(text, kept):
    assert without_folders(text) == kept


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("spr x --pairs '/data/jane doe/l.csv'", "spr x --pairs l.csv"),
        ("spr x 'A,b=/jane doe/m@alpha=1' lists/l.csv", "spr x A,b=m@alpha=1 lists/l.csv"),
        ("what 'is", "what 'is"),
    ],
)
def test_a_command_keeps_no_folder(command, kept):
    assert command_without_folders(command) == kept


def test_the_header_keeps_no_folder(tmp_path):
    start_rows(tmp_path / "rows.jsonl", RowsHeader(kind="benchmark", command="spr benchmark --out /secret/place"))
    assert "secret" not in (tmp_path / "rows.jsonl").read_text()
    assert json.loads((tmp_path / "rows.jsonl").read_text())["command"].endswith("place")

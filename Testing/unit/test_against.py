"""Results beside the paper: which method is which, and which differences are read from the provenance."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from SPRCore.analysis.against import Results, against_paper, counterpart, paper, task_of
from SPRCore.analysis.methods import parse_methods, provenance_of
from SPRCore.analysis.rows import BenchmarkRow, RowsHeader, SurfacePoint
from SPRCore.analysis.summary import summarize
from SPRCore.errors import InputError
from SPRCore.geometry import Grid
from SPRCore.metrics import MetricConventions

TM_SPR = {
    "architecture": "transmorph_tvf",
    "sizes": {"embed": 96, "depths": [4, 4, 5], "time_steps": 7},
    "conditioning": [],
    "conditioned_by": "film",
    "grid": {"orientation": "RAS", "spacing_mm": [1.5, 1.5, 3.5], "shape": [128, 128, 32], "voxels": None},
    "task": "intra subject",
    "training_data": "ACDC",
    "training": "validation of tm-spr after 3600 steps, mean of 16 pairs",
}
HEART_GRID = {"shape": [128, 128, 32], "spacing_mm": [1.5, 1.5, 3.5]}
AUTHOR = MetricConventions(label_interpolation="linear", folding_over="foreground")


def rows_of(method, *, model=None, setting=None, provenance=None, count=4, **changes):
    return [
        BenchmarkRow(
            pair=f"pair {number}",
            subject=f"subject {number}",
            method=method,
            model=model,
            setting=setting or {},
            before={"dice_mean": 0.5, "dice": {"1": 0.4, "2": 0.5, "3": 0.6}},
            after={
                "dice_mean": 0.7,
                "dice": {"1": 0.6, "2": 0.7, "3": 0.8},
                "folding_percent": 0.25,
                "ndv_percent": 0.125,
            },
            provenance=provenance or {},
            **changes,
        )
        for number in range(count)
    ]


def of(rows, *, dataset=None, init="none", **more):
    settings = {"init": init} | ({"source": {"dataset": dataset}} if dataset else {})
    headers = [RowsHeader(kind="benchmark", settings=settings)]
    return Results(rows=rows, summaries=summarize(rows), headers=headers, **more)


def cells(page, first):
    """Rows of tables whose first cell is `first`."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [line for line in lines if line[0] == first]


def test_the_numbers_are_those_of_the_paper():
    text = (Path(__file__).parents[2] / "SPRCore/analysis/paper.json").read_text(encoding="utf-8")
    assert json.loads(text) == paper()
    tables = {table["table"]: {row["method"]: row for row in table["rows"]} for table in paper()["tables"]}
    assert [len(tables[name]) for name in ("Table 2", "Table 3", "Table 4")] == [9, 9, 9]
    assert tables["Table 2"]["TM-SPR beta"] == {
        "method": "TM-SPR beta", "dice": 0.677, "sd": 0.268, "folding": 0.0, "ndv": 0.0,
    }  # fmt: skip
    assert tables["Table 3"]["VoxelMorph"]["folding"] == 4.33
    assert tables["Table 3"]["VoxelMorph"]["ndv"] == 1.74
    assert tables["Table 4"]["deedsBCV"]["dice"] == 0.740
    semi = tables["Table 6, heart"]["Hyper-TM-SPR beta, semi-supervised"]
    assert (semi["dice"], semi["sd"], semi["ndv"]) == (0.848, 0.091, 0.03)
    for name, of_table in (("Table 6, brain", "Table 3"), ("Table 6, heart", "Table 4")):
        assert tables[name]["TM-SPR beta"] == tables[of_table]["TM-SPR beta"]


def model_row(prior, name="m", **facts):
    return rows_of(name, model="sha", setting={"prior": prior}, provenance={"kind": "model", "model": TM_SPR | facts})[
        0
    ]


@pytest.mark.parametrize(
    ("row", "task", "expected"),
    [
        (model_row("beta"), "heart", "TM-SPR beta"),
        (model_row("gaussian"), "brain", "TM-SPR Gaussian"),
        (model_row("beta", conditioning=["alpha"]), "brain", "Hyper-TM-SPR beta"),
        (model_row("beta", conditioning=["alpha"]), "heart", "Hyper-TM-SPR beta, semi-supervised"),
        (model_row("uniform"), "body", "TransMorph"),
        (model_row("uniform", conditioning=["lambda"]), "body", "Hyper-TransMorph"),
        (model_row("uniform", architecture="voxelmorph"), "body", "VoxelMorph"),
        (model_row("uniform", architecture="voxelmorph", conditioning=["lambda"]), "body", "HyperMorph"),
        (model_row("tv"), "body", None),
        (model_row("gaussian", conditioning=["sigma"]), "body", None),
        (rows_of("ants", provenance={"kind": "syn-cc"})[0], "body", "SyN"),
        (rows_of("deeds:body")[0], "body", "deedsBCV"),
        (rows_of("instance", setting={"prior": "beta"}, provenance={"kind": "instance"})[0], "body", None),
        (rows_of("Hyper-VXM", model="sha", setting={"prior": "uniform"})[0], "body", "HyperMorph"),
        (rows_of("TM", model="sha", setting={"prior": "uniform"})[0], "body", "TransMorph"),
    ],
)
def test_methods_are_matched_by_network_prior_and_conditioning(row, task, expected):
    assert counterpart(row, task) == expected


def test_each_number_stands_beside_that_of_the_paper():
    setting = {"prior": "beta", "alpha": 0.493, "lambda_max": 1.177}
    rows = rows_of("mine", model="sha", setting=setting, provenance={"grid": HEART_GRID, "model": TM_SPR})
    page = against_paper(of(rows), "heart", command="spr report runs --against paper")
    assert "Made by `spr report runs --against paper`" in page
    (initial,) = cells(page, "Initial")
    assert initial[:8] == ["Initial", "0.537 ± 0.166", "-", "-", "initial", "0.500 ± 0.085", "-0.037", "-"]
    first, again = cells(page, "TM-SPR beta")[:2]  # of Tables 4 and 6
    assert first[:9] == [
        "TM-SPR beta", "0.735 ± 0.119", "0.00", "0.00", "mine", "0.700 ± 0.085", "-0.035", "0.25", "0.12",
    ]  # fmt: skip
    assert again[:9] == first[:9]
    assert cells(page, "TransMorph")[0][4] == "none"
    assert "Table 2: no results of autoPET" in page
    assert "Table 3: no results of IXI" in page
    assert "Table 6, brain: no results" in page
    assert "setting:" not in page  # it is that of Table 5


def test_what_differs_is_read_from_the_provenance():
    facts = TM_SPR | {
        "sizes": {"embed": 48, "depths": [2, 2, 2], "time_steps": 3},
        "grid": {},
        "task": "semi-supervised",
    }
    setting = {"prior": "beta", "alpha": 0.02, "lambda_max": 1.0}
    odd = {"grid": {"shape": [200, 256, 10], "spacing_mm": [1.4, 1.4, 10.0]}, "model": facts}
    page = against_paper(of(rows_of("mine", model="s", setting=setting, provenance=odd), dataset="acdc"), "heart")
    for expected in (
        "data: acdc; the paper: ACDC and M&Ms",
        "test set: 4 pairs of 4 subjects; the paper: 150 subjects",
        "grid of the images and metrics: 200 x 256 x 10 voxels of 1.4 x 1.4 x 10 mm; the paper: 128 x 128 x 32",
        "labels: warped by the nearest voxel",
        "folding and NDV: over all inner voxels",
        "size of the network: embed 48, depths 2 2 2, time_steps 3; the paper: embed 96, depths 4 4 5, time_steps 7",
        "grid of the network: field of view of the fixed image, its spacing",
        "training: 3600 steps, ACDC; the paper: 500 epochs of 259 subjects",
        "labels in training: in the loss; the paper: not used",
        "setting: alpha 0.02, lambda_max 1; the paper: alpha 0.493, lambda_max 1.177",
    ):
        assert expected in page, expected
    assert "pre-alignment" not in page  # none in both
    assert "conditioning" not in page


def test_the_strength_of_a_hypermorph_is_compared_as_the_share_of_the_paper():
    facts = TM_SPR | {"architecture": "voxelmorph", "conditioning": ["lambda"], "weighting": "hypermorph"}
    for strength, expected in ((0.65 / 0.35, None), (1.0, "setting: lambda 0.5; the paper: lambda 0.65")):
        setting = {"prior": "uniform", "lambda": strength}
        page = against_paper(of(rows_of("m", model="s", setting=setting, provenance={"model": facts})), "heart")
        assert cells(page, "HyperMorph")[0][4] == "m"
        assert ("setting:" not in page) if expected is None else (expected in page)


def test_without_a_difference_none_is_named():
    setting = {"prior": "beta", "alpha": 0.493, "lambda_max": 1.177}
    common = {"provenance": {"grid": HEART_GRID, "model": TM_SPR}, "conventions": AUTHOR, "count": 150}
    page = against_paper(of(rows_of("mine", model="s", setting=setting, **common), dataset="mnms"), "heart")
    differing = re.findall(r"^\* \*\*\w+\*\* (.*)$", page, re.M)
    assert [text.split(":")[0] for text in differing] == ["data", "folding and NDV", "training"]
    assert "over the foreground of the fixed image; the paper's author: of the moving image" in page


def test_older_results_say_what_they_do_not_hold():
    page = against_paper(of(rows_of("VXM-SPR beta", model="s", setting={"prior": "beta"}), init="auto"), "heart")
    assert "data: not saved in these results" in page
    assert "grid of the images and metrics: not saved in these results" in page
    assert "network, its size, its grid and its training: not saved in these results" in page
    assert "by the name of the method: VoxelMorph; the paper: TransMorph" in page
    assert "pre-alignment: auto; the paper: none" in page


def test_baselines_differ_by_their_settings():
    page = against_paper(
        of([*rows_of("syn", setting={"metric": "mattes"}), *rows_of("deeds", setting={"grid": [6, 5]})]), "body"
    )
    assert "SyN: metric mattes; the paper: antsRegistrationSyN.sh" in page
    assert "deedsBCV: the settings of the paper for another task" in page
    same = against_paper(of(rows_of("syn-cc", setting={"metric": "CC"})), "body")
    assert "SyN:" not in same


def test_a_method_can_be_compared_with_a_chosen_one():
    rows = rows_of("instance", setting={"prior": "beta"}, provenance={"kind": "instance"})
    assert "instance: not a method of the paper" in against_paper(of(rows), "brain")
    page = against_paper(of(rows), "brain", {"instance": "TM-SPR beta"})
    assert cells(page, "TM-SPR beta")[0][4] == "instance"
    with pytest.raises(InputError, match="did you mean 'TM-SPR beta'"):
        against_paper(of(rows), "brain", {"instance": "TM-SPR bets"})
    with pytest.raises(InputError, match="method"):
        against_paper(of(rows), "brain", {"instanse": "TM-SPR beta"})


def test_searches_stand_beside_tables_1_and_5():
    study = {
        "name": "s", "target": "hyper", "objective": "dice", "best": 1,
        "ranges": {"alpha": (0, 0.6), "lambda_max": (0.8, 3)},
        "trials": [{"number": 1, "params": {"alpha": 0.3, "lambda_max": 2.0}, "value": 0.8, "state": "complete"}],
    }  # fmt: skip
    points = [
        SurfacePoint(
            pair="p", subject="p", method="net", setting={"sigma": s, "lambda_mean": m}, dice_mean=s * m, dice={"1": s}
        )
        for s in (0.5, 1.0)
        for m in (1.0, 2.0)
    ]
    page = against_paper(of(rows_of("syn"), studies=[study], points=points), "heart")
    beta = cells(page, "TM-SPR beta")[-1]
    assert beta[1:] == [
        r"alpha 0.493, lambda\_max 1.177", r"alpha 0 to 0.6, lambda\_max 0.8 to 3",
        "s of hyper, 1 trials by dice", r"alpha 0.3, lambda\_max 2", r"alpha 0 to 0.6, lambda\_max 0.8 to 3",
    ]  # fmt: skip
    gaussian = cells(page, "TM-SPR Gaussian")[-1]
    assert gaussian[3:] == [
        "grid of net, 2 x 2 by Dice",
        r"sigma 1, lambda\_mean 2",
        r"sigma 0.5 to 1, lambda\_mean 1 to 2",
    ]
    assert "the other way round" in page


def test_the_task_is_that_of_the_data_set():
    headers = of(rows_of("syn"), dataset="ixi_pkl").headers
    assert task_of(headers, None) == "brain"
    assert task_of(headers, "heart") == "heart"
    recipe = RowsHeader(kind="benchmark", settings={"source": {"recipe": "cardiac-tm-spr-beta", "set": "test"}})
    assert task_of([recipe], None) == "heart"
    page = against_paper(replace(of(rows_of("syn")), headers=[recipe]), "heart")
    assert "data: cardiac-tm-spr-beta, test; the paper: ACDC and M&Ms" in page
    assert task_of(of(rows_of("syn"), dataset="acdc and mnms").headers, None) == "heart"
    with pytest.raises(InputError, match="--task body, brain or heart"):
        task_of(of(rows_of("syn")).headers, None)
    with pytest.raises(InputError, match="brain, heart"):
        task_of([*headers, *of(rows_of("syn"), dataset="acdc").headers], None)


def test_a_model_of_the_package_has_its_provenance():
    (method,) = parse_methods(["cardiac-cine-hyper-spr-semi"])
    found = provenance_of(method, Grid((20, 21, 22), np.diag([1.5, 1.5, 8.0, 1.0])))
    assert found["grid"] == {"shape": [20, 21, 22], "spacing_mm": [1.5, 1.5, 8.0]}
    assert found["model"]["architecture"] == "voxelmorph"
    assert found["model"]["sizes"]["encoder"] == [16, 32, 48, 64]
    assert found["model"]["conditioning"] == ["alpha", "lambda_max"]
    assert "semi-supervised" in found["model"]["task"]
    row = replace(rows_of("m", model="s", setting={"prior": "beta"})[0], provenance=found)
    assert counterpart(row, "heart") == "Hyper-TM-SPR beta, semi-supervised"

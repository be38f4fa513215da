"""`spr prepare` as a user runs it: on files that are right, and on files that are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.training.data.cache import INDEX

RECIPE = """\
name: mine
data:
  dataset: csv
  listing: cases.csv
  cache: prepared
  split: {validation: 1, test: 1}
model: vxm-spr-small
optimiser: {epochs: 1}
"""


@pytest.fixture
def cohort(tmp_path):
    """A recipe beside a list of three subjects with two images each."""
    rows = ["subject,role,image,labels"]
    for number in range(6):
        subject, role = f"s{number // 2}", "AB"[number % 2]
        values = np.random.default_rng(number).integers(0, 4, (16, 17, 18)).astype(np.int16)
        for name, array in (("image", values * 100), ("labels", values)):
            write_volume(Volume(array, np.eye(4)), tmp_path / f"{name}{number}.nii.gz")
        rows.append(f"{subject},{role},image{number}.nii.gz,labels{number}.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_prepare_says_what_there_is_and_does_it_once(spr, cohort):
    first = spr("prepare", cohort / "recipe.yaml", "--split", cohort / "split.json")
    assert (first.code, first.err) == (0, [])
    assert "subjects: 1 train, 1 validation, 1 test" in first.out
    assert "labels: 1, 2, 3" in first.out
    assert "prepared now: 6" in first.out
    assert len(json.loads(next((cohort / "prepared").rglob(INDEX)).read_text())["cases"]) == 6
    again = spr("prepare", cohort / "recipe.yaml", "--set", f"data.split.file={cohort / 'split.json'}")
    assert again.code == 0
    assert "prepared now: 0" in again.out


def test_bad_files_are_listed_one_line_each_and_the_exit_code_is_2(spr, cohort):
    (cohort / "labels1.nii.gz").unlink()
    whole = (cohort / "image4.nii.gz").read_bytes()
    (cohort / "image4.nii.gz").write_bytes(whole[:-50])
    done = spr("prepare", cohort / "recipe.yaml")
    assert done.code == 2
    assert len(done.err) == 1
    assert "and 1 more, listed above" in done.err[0]
    lines = done.out.splitlines()
    assert f"{cohort / 'labels1.nii.gz'}: got no such file; expected the labels of s0_B" in lines
    assert any(line.startswith(f"{cohort / 'image4.nii.gz'}: got a file that cannot be read") for line in lines)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("data.foldr=x", "--set data.foldr: got an unknown key"),
        ("data.split.test=9", "data.split: got"),
        ("data.listing=none.csv", "no such file; expected a CSV of cases"),
        ("data", "--set: got 'data'; expected key=value"),
    ],
)
def test_a_wrong_change_is_one_line(spr, cohort, change, words):
    done = spr("prepare", cohort / "recipe.yaml", "--set", change)
    assert done.code == 2
    assert len(done.err) == 1
    assert words in done.err[0]


def test_an_interrupted_preparation_says_that_it_can_go_on(spr, cohort, monkeypatch):
    from SPRCore.training.data import prepare

    def interrupted(case, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "read_case", interrupted)
    done = spr("prepare", cohort / "recipe.yaml")
    assert (done.code, done.err) == (130, ["spr: interrupted; spr prepare resumes where it stopped"])

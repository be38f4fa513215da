"""A cohort divided by subject into sets and pairs, and splits that are stored."""

from __future__ import annotations

import json
import shutil

import pytest
from hearts import AFFINE, data_of, heart, problems_of, recipe_for

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.io import write_volume
from SPRCore.training.data import build_datasets


def test_the_same_patient_twice_is_reported(acdc, caplog):
    shutil.copytree(acdc / "training" / "patient002", acdc / "testing" / "patient002")
    lines, _ = problems_of(recipe_for(acdc), caplog)
    assert lines[0] == "patient002_ED: got 2 images of this name; expected one"
    assert len(lines) == 2


def test_one_person_under_two_names_in_two_sets_is_reported(acdc, caplog):
    for number in range(6, 9):  # as many twins of patient000 as it takes to have one in another set
        twin = acdc / "training" / f"patient{number:03d}"
        twin.mkdir()
        for path in (acdc / "training" / "patient000").iterdir():
            shutil.copy(path, twin / path.name.replace("patient000", twin.name))
    recipe = recipe_for(acdc, data={"split": {"validation": 3, "test": 3}} | data_of(acdc))
    lines, _ = problems_of(recipe, caplog)
    assert lines
    assert all("got the same image as patient0" in line and "at once" in line for line in lines)


def test_a_stored_split_is_taken_and_holds_its_files(acdc, caplog):
    first = build_datasets(recipe_for(acdc)).split
    assert sorted(name for names in first["sets"].values() for name in names) == [f"patient{n:03d}" for n in range(6)]
    path = acdc.parent / "split.json"
    path.write_text(json.dumps(first))
    recipe = recipe_for(acdc, data=data_of(acdc, file=str(path)))
    assert build_datasets(recipe).split["sets"] == first["sets"]
    write_volume(Volume(heart(99)[0], AFFINE), acdc / "training" / "patient001" / "patient001_frame01.nii.gz")
    lines, _ = problems_of(recipe, caplog)
    assert lines == [
        "patient001: got other files than the split was made with; --set data.split.hashes=false keeps the split"
    ]
    loose = recipe_for(acdc, data=data_of(acdc, file=str(path), hashes=False))
    assert build_datasets(loose).split["sets"] == first["sets"]
    shutil.rmtree(acdc / "training" / "patient002")
    lines, _ = problems_of(recipe, caplog)
    assert f"{path}: patient002: got no such subject; expected it in the data" in lines


def test_a_subject_in_two_sets_and_an_empty_set_are_reported(acdc, caplog):
    from SPRCore.training.data.splits import Split, write_split

    names = [f"patient{n:03d}" for n in range(4)]
    path = acdc.parent / "split.json"
    sets = {"train": tuple(names), "validation": (), "test": (names[0],)}
    write_split(Split(sets=sets).to_dict(), path)
    lines, _ = problems_of(recipe_for(acdc, data=data_of(acdc, file=str(path))), caplog)
    assert lines == [
        f"{path}: validation: got no subjects; expected at least one",
        f"{path}: patient000: got this subject in train and test; expected one set",
    ]


def test_a_split_changed_by_hand_is_refused(acdc):
    content = build_datasets(recipe_for(acdc)).split
    content["sets"]["train"].append(content["sets"]["test"].pop())
    content["sets"]["test"].append("patient777")
    path = acdc.parent / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="subjects that do not match their hash"):
        build_datasets(recipe_for(acdc, data=data_of(acdc, file=str(path))))


def test_subjects_are_registered_to_each_other(acdc):
    data = data_of(acdc, validation=2, test=2) | {"task": "inter-subject"}
    found = build_datasets(recipe_for(acdc, data=data))
    assert found.report["pairs"] == {"train": 4, "validation": 4, "test": 4}  # ED to ED and ES to ES
    for pair in (*found.train.pairs, *found.validation.pairs):
        assert pair.moving[:10] != pair.fixed[:10]
        assert pair.moving[-2:] == pair.fixed[-2:]
    one_way = build_datasets(recipe_for(acdc, data=data | {"both_ways": False}))
    assert len(one_way.train) == 2


def test_an_atlas_is_paired_with_every_subject(acdc):
    parts = {"task": "atlas-to-subject", "atlas": "patient003_ED"}
    found = build_datasets(recipe_for(acdc, data=data_of(acdc, validation=1, test=1) | parts))
    assert found.report["pairs"] == {"train": 6, "validation": 2, "test": 2}
    assert {pair.moving for pair in found.train.pairs} == {"patient003_ED"}
    assert not any("patient003" in names for names in found.split["sets"].values())
    path = acdc / "training" / "patient000" / "patient000_frame01.nii.gz"
    by_path = {
        "task": "atlas-to-subject",
        "atlas_image": str(path),
        "atlas_labels": str(path).replace(".nii", "_gt.nii"),
    }
    shutil.copytree(acdc, acdc.parent / "others")
    shutil.rmtree(acdc.parent / "others" / "training" / "patient000")
    others = build_datasets(recipe_for(acdc, data=data_of(acdc.parent / "others", validation=1, test=1) | by_path))
    assert others.train[0].names[0][0] == "atlas"
    assert others.train[0].moving_labels is not None
    with pytest.raises(InputError, match=r"data\.atlas: got 'nobody'"):
        build_datasets(recipe_for(acdc, data=data_of(acdc) | {"task": "atlas-to-subject", "atlas": "nobody"}))


@pytest.mark.shared_data
def test_the_real_hearts_are_divided_as_published_here(shared_data, repository, tmp_path):
    from SPRCore.training.data.cohort import find_cohort
    from SPRCore.training.data.splits import make_split
    from SPRCore.training.recipe import read_recipe

    changes = [f"data.folder={shared_data / 'acdc'}", f"data.cache={tmp_path}"]
    recipe = read_recipe(repository / "Training" / "recipes" / "acdc" / "vxm-spr-beta.yaml", changes)
    cohort = find_cohort(recipe.data)
    assert not cohort.problems
    sets = make_split(cohort.subjects(), recipe.data.split).sets
    assert [len(sets[part]) for part in ("train", "validation", "test")] == [60, 8, 12]

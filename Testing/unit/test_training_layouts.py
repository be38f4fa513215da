"""Layouts of published data sets (M&Ms, ACDC, IXI, autoPET), each on a small folder in the real form."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from cohort_files import AFFINE, image, labels, problems_of, read_rows, recipe_for, write, write_rows
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.errors import InputError
from SPRCore.io.nifti import write_nifti
from SPRCore.training.data import build_datasets
from SPRCore.training.data.grouping import grouped
from SPRCore.training.label_names import GROUPINGS, THIRTY_STRUCTURES


@pytest.fixture
def mnms(tmp_path):
    folder = tmp_path / "OpenDataset"
    rows = []
    places = ["Training/Labeled", "Training/Labeled", "Validation", "Testing", "Training/Unlabeled"]
    for number, place in enumerate(places):
        code = f"A{number}S9V{number}"
        series = np.stack([image(10 * number + t) for t in range(5)], axis=-1)
        truth = np.stack([labels(10 * number + t) * (t in (1, 3)) for t in range(5)], axis=-1)
        (folder / place / code).mkdir(parents=True)
        write_nifti(series, AFFINE, folder / place / code / f"{code}_sa.nii.gz")
        write_nifti(truth, AFFINE, folder / place / code / f"{code}_sa_gt.nii.gz")
        rows.append({"": number, "External code": code, "VendorName": "Siemens", "Pathology": "NOR", "ED": 1, "ES": 3})
    write_rows(folder / "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv", rows)
    return folder


def test_mnms_frames_and_labels_in_the_order_of_acdc(mnms):
    data = build_datasets(recipe_for(mnms, "mnms"))
    assert data.report["subjects"] == {"train": 2, "validation": 1, "test": 1}  # the unlabeled one is left out
    item = data.train[0]
    number = int(item.names[0][0][1])
    assert item.names[0] == (f"A{number}S9V{number}_ED", f"A{number}S9V{number}_ES")
    scaled = image(10 * number + 3) - image(10 * number + 3).min()
    np.testing.assert_allclose(item.fixed[0, 0], scaled / scaled.max(), atol=1e-5)
    truth = labels(10 * number + 1)
    np.testing.assert_array_equal(item.moving_labels[0, 0], np.select([truth == 1, truth == 3], [3, 1], truth))


def test_mnms_without_labels_takes_the_unlabeled_too(mnms):
    data = build_datasets(recipe_for(mnms, "mnms", use_labels=False))
    assert sum(data.report["subjects"].values()) == 5


def test_mnms_says_what_its_table_lacks(mnms, caplog):
    table = next(mnms.glob("*.csv"))
    rows = read_rows(table)
    rows[0]["ED"], rows[1]["ES"] = "", "7"
    rows[2]["External code"] = "Z9"
    write_rows(table, rows)
    lines = problems_of(recipe_for(mnms, "mnms"), caplog)
    assert any("A0S9V0: got ED ''; expected a frame" in line for line in lines)
    assert any("A1S9V1_sa.nii.gz" in line and "frame 7" in line and "from 0 to 4" in line for line in lines)
    assert any("Z9: got no Z9_sa.nii.gz below" in line for line in lines)
    write_rows(table, [{key: value for key, value in rows[0].items() if key != "ES"}])
    with pytest.raises(InputError, match="no column 'ES'"):
        build_datasets(recipe_for(mnms, "mnms"))
    table.unlink()
    with pytest.raises(InputError, match=r"got 0 of them; expected one \*opendataset.csv of M&Ms; give data.listing"):
        build_datasets(recipe_for(mnms, "mnms"))


def test_acdc_and_mnms_together(mnms, tmp_path):
    acdc = tmp_path / "acdc"
    for number in range(2):
        patient = acdc / f"patient{number:03d}"
        for frame in (1, 9):
            write(patient / f"{patient.name}_frame{frame:02d}.nii.gz", image(500 + number + frame))
            write(patient / f"{patient.name}_frame{frame:02d}_gt.nii.gz", labels(500 + number + frame))
        (patient / "Info.cfg").write_text("ED: 1\nES: 9\nGroup: DCM\n")
    data = build_datasets(recipe_for(acdc, "acdc", also={"dataset": "mnms", "folder": str(mnms)}))
    assert sum(data.report["subjects"].values()) == 6
    with pytest.raises(InputError, match=r"data\.also\.folder: got nothing"):
        build_datasets(recipe_for(acdc, "acdc", also={"dataset": "mnms"}))


@pytest.fixture
def pickles(tmp_path):
    folder = tmp_path / "IXI_data"
    members = THIRTY_STRUCTURES[:5]
    for number, place in enumerate(["", "Train", "Train", "Val", "Test"]):
        path = folder / place / (f"subject_{number}.pkl" if place else "atlas.pkl")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = image(number).astype(np.float32) / 1000, labels(number, members)
        path.write_bytes(pickle.dumps(content))
    return folder


def test_ixi_in_the_form_of_its_author(pickles):
    axes = {"orientation": "LIA", "spacing_mm": [1, 1, 1]}  # as in Training/recipes/ixi
    recipe = recipe_for(pickles, "ixi_pkl", axes, task="atlas-to-subject", atlas="atlas")
    data = build_datasets(recipe)
    assert data.report["subjects"] == {"train": 2, "validation": 1, "test": 1}  # as the folders say
    assert data.split["sets"]["test"] == ["subject_4"]
    assert data.train[0].names[0] == ("atlas", "subject_1")
    np.testing.assert_array_equal(data.test[0].fixed_labels[0, 0], labels(4, THIRTY_STRUCTURES[:5]))
    assert data.labels == THIRTY_STRUCTURES[:5]


def test_the_axes_of_the_authors_pickles_are_those_of_freesurfer(pickles):
    """The network gets the arrays as stored, and its card says how their axes point; in RAS they are turned."""
    from SPRCore.training.data.ixi import find_ixi_pickles
    from SPRCore.training.data.reading import read_case

    cases, _ = find_ixi_pickles(pickles, use_labels=True)
    images = read_case(cases[0])
    np.testing.assert_array_equal(images.image.affine[:3, :3], [[-1, 0, 0], [0, 0, 1], [0, -1, 0]])
    np.testing.assert_array_equal(images.labels.affine, images.image.affine)
    assert images.image.spacing == (1.0, 1.0, 1.0)


def test_cards_of_the_ixi_recipes_have_orientation_and_spacing(repository, pickles):
    from SPRCore.training.data.build import build_datasets
    from SPRCore.training.model_card import card_of
    from SPRCore.training.recipe import read_recipe

    path = repository / "Training" / "recipes" / "ixi" / "tm-spr-beta.yaml"
    places = [f"data.folder={pickles}", f"data.cache={pickles / '.cache'}", "data.labels=null"]
    recipe = read_recipe(path, places)
    card = card_of(recipe)
    assert (card.grid.orientation, card.grid.spacing_mm) == ("LIA", (1.0, 1.0, 1.0))
    stored = image(4).astype(np.float32)
    prepared = build_datasets(recipe).test[0].fixed[0, 0].numpy()
    assert np.corrcoef(prepared.ravel(), stored.ravel())[0, 1] > 0.99  # the axes as stored


def test_a_hostile_pickle_in_a_cohort_is_reported_and_not_run(pickles, tmp_path, caplog):
    import os

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'mark'}",)

    (pickles / "Train" / "subject_1.pkl").write_bytes(pickle.dumps((image(1), Hostile())))
    (pickles / "Val" / "subject_3.pkl").write_bytes(pickle.dumps((image(1), labels(1)[:-1])))
    lines = problems_of(recipe_for(pickles, "ixi_pkl", task="atlas-to-subject", atlas="atlas"), caplog)
    assert len(lines) == 2
    assert any("subject_1.pkl: got a pickle with " in line and ".system" in line for line in lines)
    assert any("subject_3.pkl: got labels of shape (17, 17, 16)" in line for line in lines)
    assert not (tmp_path / "mark").exists()


def test_ixi_with_labels_of_freesurfer(tmp_path, caplog):
    import nibabel

    folder = tmp_path / "subjects"
    turned = np.array([[-1.0, 0, 0, 9], [0, 0, 1, -8], [0, -1, 0, 8], [0, 0, 0, 1]])  # as FreeSurfer conforms
    for number in range(4):
        mri = folder / f"IXI{number:03d}-HH-1211" / "mri"
        mri.mkdir(parents=True)
        nibabel.save(nibabel.MGHImage(image(number).astype(np.float32), turned), mri / "norm.mgz")
        nibabel.save(nibabel.MGHImage(labels(number, (2, 41)).astype(np.int32), turned), mri / "aseg.mgz")
    recipe = recipe_for(folder, "ixi", {"strip": True}, task="inter-subject", split={"validation": 2, "test": 0})
    data = build_datasets(recipe)
    item = data.train[0]
    assert item.fixed.shape == (1, 1, 18, 16, 17)  # in R, A, S
    assert float(item.fixed[0, 0][item.fixed_labels[0, 0] == 0].abs().max()) < 1e-5
    assert float(item.fixed[0, 0][item.fixed_labels[0, 0] > 0].max()) == 1
    assert data.labels == (2, 41)
    damaged = folder / "IXI001-HH-1211" / "mri" / "norm.mgz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    (folder / "IXI002-HH-1211" / "mri" / "aseg.mgz").write_bytes(b"no volume")
    lines = problems_of(recipe, caplog)
    assert [line.split(":")[0].rsplit("/", 1)[1] for line in lines] == ["norm.mgz", "aseg.mgz"]
    assert all("a file that cannot be read" in line for line in lines)


def test_ixi_as_plain_nifti(tmp_path, caplog):
    for number in range(3):
        write(tmp_path / "T1" / f"IXI{number:03d}-Guys-0828-T1.nii.gz", image(number))
        write(tmp_path / "T1" / f"IXI{number:03d}-Guys-0828-T1_seg.nii.gz", labels(number))
    recipe = recipe_for(tmp_path, "ixi", task="atlas-to-subject", atlas="IXI000-Guys-0828", split={"test": 0})
    assert build_datasets(recipe).train[0].names[0][0] == "IXI000-Guys-0828"
    (tmp_path / "T1" / "IXI002-Guys-0828-T1_seg.nii.gz").unlink()
    (line,) = problems_of(recipe, caplog)
    assert line.endswith("IXI002-Guys-0828-T1_aseg.nii.gz: got no such file; expected the labels of IXI002-Guys-0828")


def test_autopet_as_released_in_groups(tmp_path):
    for number in range(4):
        for study in range(1 + (number == 0)):
            place = tmp_path / f"PETCT_{number:010x}" / f"0{study}-23-2003-NA-PET-CT Ganzkoerper-{number}"
            write(place / "CTres.nii.gz", image(10 * number + study) - 500)
            write(place / "CTres_seg.nii.gz", labels(10 * number + study, (5, 13, 14, 20, 41, 60, 93)))
            write(place / "SUV.nii.gz", image(10 * number + study))
    parts = {"task": "atlas-to-subject", "atlas": "PETCT_0000000001", "grouping": "totalsegmentator"}
    data = build_datasets(recipe_for(tmp_path, "autopet", {"clip": [-300, 300], "normalize": "clip"}, **parts))
    names = list(GROUPINGS["totalsegmentator"])
    assert [names[number - 1] for number in data.labels] == ["liver", "lung left", "vertebrae", "ribs"]
    sets = data.split["sets"]
    assert sum(len(part) for part in sets.values()) == 3
    with_two = next(part for part in sets if "PETCT_0000000000" in sets[part])
    assert len(getattr(data, with_two)) == len(sets[with_two]) + 1  # both studies in the set of their patient
    plain = image(10) - 500.0
    np.testing.assert_allclose(data.train[0].moving[0, 0], (np.clip(plain, -300, 300) + 300) / 600, atol=1e-6)


def test_autopet_in_one_folder(tmp_path):
    for number in range(3):
        write(tmp_path / f"a{number}_CTRes.nii.gz", image(number))
        write(tmp_path / f"a{number}_CTRes_seg.nii.gz", labels(number))
    recipe = recipe_for(tmp_path, "autopet", task="atlas-to-subject", atlas="a1", split={"test": 0})
    assert build_datasets(recipe).report["subjects"] == {"train": 1, "validation": 1, "test": 0}


def test_the_groups_of_totalsegmentator_are_a_partition():
    members = [label for group in GROUPINGS["totalsegmentator"].values() for label in group]
    assert len(members) == len(set(members))
    assert set(range(1, 105)) - set(members) == {50, 51, 52, 53, 54, 93}
    assert len(GROUPINGS["totalsegmentator"]) == 39


@given(st.lists(st.integers(0, 104), min_size=8, max_size=8))
def test_a_label_goes_to_its_group(values):
    result = grouped(np.array(values, np.int32).reshape(2, 2, 2), "totalsegmentator").ravel()
    for value, number in zip(values, result, strict=True):
        owner = [place for place, group in enumerate(GROUPINGS["totalsegmentator"].values(), 1) if value in group]
        assert [number] == (owner or [0])


@pytest.mark.parametrize("wrong", [-1, 40_000])
def test_labels_that_cannot_be_kept_are_refused(wrong):
    with pytest.raises(InputError, match="expected 0 to 32767"):
        grouped(np.array([[[0, wrong]]]), None)

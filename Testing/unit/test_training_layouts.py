"""Layouts of data sets, each on a small folder in the real form, and read through to pairs of tensors."""

from __future__ import annotations

import csv
import json
import logging
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from SPRCore.errors import InputError
from SPRCore.geometry import Volume, voxel_to_ras
from SPRCore.io import write_volume
from SPRCore.io.nifti import write_nifti
from SPRCore.networks import parameter_count
from SPRCore.training.data import build_datasets
from SPRCore.training.data.grouping import TOTALSEGMENTATOR, grouped
from SPRCore.training.data.ixi import VOLUMES_OF_INTEREST
from SPRCore.training.recipe import Recipe, read_recipe

SHAPE, AFFINE = (18, 17, 16), np.diag([2.0, 2.0, 2.0, 1.0])


def image(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def labels(seed, members=(1, 2, 3), shape=SHAPE):
    return np.random.default_rng(seed + 99).choice([0, *members], shape).astype(np.int16)


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, affine), path)


def recipe_for(folder, dataset, preprocessing=None, **data):
    values = {
        "name": "layout",
        "data": {"dataset": dataset, "folder": str(folder), "cache": str(folder / ".cache")}
        | {"split": {"validation": 1, "test": 1}}
        | data,
        "preprocessing": preprocessing or {},
        "model": "vxm-spr-small",
        "optimiser": {"epochs": 1},
    }
    return Recipe.from_dict(values)


def problems_of(recipe, caplog):
    caplog.clear()
    with caplog.at_level(logging.ERROR, "SPRCore"), pytest.raises(InputError):
        build_datasets(recipe)
    return [record.getMessage() for record in caplog.records]


# M&Ms


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


def read_rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


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


# IXI


@pytest.fixture
def pickles(tmp_path):
    folder = tmp_path / "IXI_data"
    members = VOLUMES_OF_INTEREST[:5]
    for number, place in enumerate(["", "Train", "Train", "Val", "Test"]):
        path = folder / place / (f"subject_{number}.pkl" if place else "atlas.pkl")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = image(number).astype(np.float32) / 1000, labels(number, members)
        path.write_bytes(pickle.dumps(content))
    return folder


def test_ixi_in_the_form_of_its_author(pickles):
    recipe = recipe_for(pickles, "ixi_pkl", task="atlas-to-subject", atlas="atlas")
    data = build_datasets(recipe)
    assert data.report["subjects"] == {"train": 2, "validation": 1, "test": 1}  # as the folders say
    assert data.split["sets"]["test"] == ["subject_4"]
    assert data.train[0].names[0] == ("atlas", "subject_1")
    np.testing.assert_array_equal(data.test[0].fixed_labels[0, 0], labels(4, VOLUMES_OF_INTEREST[:5]))
    assert data.labels == VOLUMES_OF_INTEREST[:5]


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


# autoPET


def test_autopet_as_released_in_groups(tmp_path):
    for number in range(4):
        for study in range(1 + (number == 0)):
            place = tmp_path / f"PETCT_{number:010x}" / f"0{study}-23-2003-NA-PET-CT Ganzkoerper-{number}"
            write(place / "CTres.nii.gz", image(10 * number + study) - 500)
            write(place / "CTres_seg.nii.gz", labels(10 * number + study, (5, 13, 14, 20, 41, 60, 93)))
            write(place / "SUV.nii.gz", image(10 * number + study))
    parts = {"task": "atlas-to-subject", "atlas": "PETCT_0000000001", "grouping": "totalsegmentator"}
    data = build_datasets(recipe_for(tmp_path, "autopet", {"clip": [-300, 300], "normalize": "clip"}, **parts))
    names = list(TOTALSEGMENTATOR)
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
    members = [label for group in TOTALSEGMENTATOR.values() for label in group]
    assert len(members) == len(set(members))
    assert set(range(1, 105)) - set(members) == {50, 51, 52, 53, 54, 93}
    assert len(TOTALSEGMENTATOR) == 39


@given(st.lists(st.integers(0, 104), min_size=8, max_size=8))
def test_a_label_goes_to_its_group(values):
    result = grouped(np.array(values, np.int32).reshape(2, 2, 2), "totalsegmentator").ravel()
    for value, number in zip(values, result, strict=True):
        owner = [place for place, group in enumerate(TOTALSEGMENTATOR.values(), 1) if value in group]
        assert [number] == (owner or [0])


@pytest.mark.parametrize("wrong", [-1, 40_000])
def test_labels_that_cannot_be_kept_are_refused(wrong):
    with pytest.raises(InputError, match="expected 0 to 32767"):
        grouped(np.array([[[0, wrong]]]), None)


# Learn2Reg


@pytest.fixture
def nlst(tmp_path):
    """Four patients with two images each, landmarks in voxels, pairs of validation prescribed."""
    stems = [f"NLST_{patient:04d}_{time:04d}" for patient in range(1, 5) for time in range(2)]
    for number, stem in enumerate(stems):
        write(tmp_path / "imagesTr" / f"{stem}.nii.gz", image(number))
        write(tmp_path / "labelsTr" / f"{stem}.nii.gz", labels(number))
        (tmp_path / "keypointsTr").mkdir(exist_ok=True)
        np.savetxt(tmp_path / "keypointsTr" / f"{stem}.csv", points(number), delimiter=",", fmt="%.3f")
    pairs = [
        {"fixed": f"./imagesTr/NLST_{n:04d}_0000.nii.gz", "moving": f"./imagesTr/NLST_{n:04d}_0001.nii.gz"}
        for n in range(1, 5)
    ]
    content = {
        "name": "NLST",
        "tensorImageShape": {"0": list(SHAPE)},
        "training": [{"image": f"./imagesTr/{stem}.nii.gz"} for stem in stems],
        "training_paired_images": pairs[:3],
        "registration_val": pairs[3:],
    }
    (tmp_path / "NLST_dataset.json").write_text(json.dumps(content))
    return tmp_path


def points(seed):
    return np.random.default_rng(seed).integers(1, 15, (6, 3)).astype(float)


def test_learn2reg_lists_pairs_and_landmarks(nlst):
    data = build_datasets(recipe_for(nlst, "learn2reg", split={"test": 0}))
    assert data.report["subjects"] == {"train": 3, "validation": 1, "test": 0}
    assert data.report["pairs"] == {"train": 6, "validation": 1, "test": 0}
    item = data.validation[0]
    assert item.names[0] == ("NLST_0004_0001", "NLST_0004_0000")
    np.testing.assert_allclose(item.moving_points[0], points(7), atol=1e-4)
    np.testing.assert_allclose(item.fixed_points[0], points(6), atol=1e-4)


def test_landmarks_follow_the_crop_and_the_orientation(nlst):
    recipe = recipe_for(nlst, "learn2reg", {"shape": [16, 17, 16], "orientation": "LAS"}, split={"test": 0})
    item = build_datasets(recipe).validation[0]
    turned = points(7)
    turned[:, 0] = 17 - turned[:, 0] - 1
    np.testing.assert_allclose(item.moving_points[0], turned, atol=1e-4)


def test_learn2reg_between_subjects(nlst, caplog):
    path = nlst / "NLST_dataset.json"
    content = json.loads(path.read_text())
    content["registration_val"] = [
        {"fixed": "./imagesTr/NLST_0003_0000.nii.gz", "moving": "./imagesTr/NLST_0004_0000.nii.gz"}
    ]
    path.write_text(json.dumps(content))
    (nlst / "imagesTr" / "NLST_0002_0001.nii.gz").unlink()
    recipe = recipe_for(nlst, "learn2reg", split={"test": 0}, task="inter-subject")
    (line,) = problems_of(recipe, caplog)
    assert line.endswith("NLST_0002_0001.nii.gz: got no such file; expected the image of NLST_0002_0001")


def test_an_image_that_validation_names_is_not_trained_on(nlst):
    path = nlst / "NLST_dataset.json"
    content = json.loads(path.read_text())
    content["registration_val"] = [
        {"fixed": "./imagesTr/NLST_0003_0000.nii.gz", "moving": "./imagesTr/NLST_0004_0000.nii.gz"}
    ]
    path.write_text(json.dumps(content))
    data = build_datasets(recipe_for(nlst, "learn2reg", split={"test": 0}, task="inter-subject"))
    assert [item.moving for item in data.validation.pairs] == ["NLST_0004_0000"]
    assert {pair.fixed[:9] for pair in data.train.pairs} == {"NLST_0001", "NLST_0002"}
    redrawn = {"test": 0, "redraw": True, "validation": 2}
    data = build_datasets(recipe_for(nlst, "learn2reg", split=redrawn, task="inter-subject"))
    validated = {pair.fixed[:9] for pair in data.validation.pairs}
    assert len(validated) == 2
    assert not validated & {pair.fixed[:9] for pair in data.train.pairs}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "got another JSON"),
        ("{", "expected JSON in UTF-8"),
        ('{"training": 3}', "training that is not a list"),
        ('{"training": [{"image": "../../secret.nii.gz"}]}', "below the folder"),
        ('{"training": [{"image": 4}]}', "expected the path of an image"),
        ('{"registration_val": [{"fixed": "a.nii.gz"}]}', "for moving"),
    ],
)
def test_another_json_is_refused(tmp_path, content, message):
    (tmp_path / "X_dataset.json").write_text(content)
    with pytest.raises(InputError, match=message):
        build_datasets(recipe_for(tmp_path, "learn2reg"))


# Anybody's data


@pytest.fixture
def listed(tmp_path):
    rows = []
    for number in range(4):
        for role in ("in", "out"):
            stem = f"s{number}_{role}"
            write(tmp_path / "images" / f"{stem}.nii.gz", image(2 * number + (role == "in")))
            write(tmp_path / "labels" / f"{stem}.nii.gz", labels(2 * number + (role == "in")))
            files = {"image": f"images/{stem}.nii.gz", "labels": f"labels/{stem}.nii.gz"}
            rows.append({"subject": f"s{number}", "role": role, "set": ""} | files)
    write_rows(tmp_path / "cases.csv", rows)
    return tmp_path


def test_a_csv_of_ones_own(listed):
    data = build_datasets(recipe_for(listed, "csv"))
    assert data.report["pairs"] == {"train": 4, "validation": 2, "test": 2}
    assert data.train[0].names[0][0].endswith("_in")


def test_a_csv_may_say_the_sets_and_be_overruled(listed):
    rows = read_rows(listed / "cases.csv")
    for row in rows:
        row["set"] = {"s0": "validation", "s1": "test"}.get(row["subject"], "train")
    write_rows(listed / "cases.csv", rows)
    assert build_datasets(recipe_for(listed, "csv")).split["sets"]["validation"] == ["s0"]
    again = build_datasets(recipe_for(listed, "csv", split={"redraw": True, "validation": 2, "test": 1}))
    assert len(again.split["sets"]["validation"]) == 2


def test_images_of_one_subject_in_two_sets_are_reported(listed, caplog):
    rows = read_rows(listed / "cases.csv")
    for number, row in enumerate(rows):
        row["set"] = ("train", "train", "validation", "validation", "test", "train", "train", "train")[number]
    write_rows(listed / "cases.csv", rows)
    lines = problems_of(recipe_for(listed, "csv"), caplog)
    assert "data.split: s2: got images in test and train; expected one set for a subject" in lines


def test_a_dicom_folder_is_an_image_and_is_prepared_once(tmp_path, caplog):
    import SimpleITK

    rows = []
    for number in range(3):
        folder = tmp_path / f"series{number}"
        folder.mkdir()
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        for z, plane in enumerate(np.moveaxis(image(number), 2, 0)):
            slice_ = SimpleITK.GetImageFromArray(np.ascontiguousarray(plane.T))
            tags = {"0020|000e": f"1.2.3.{number}", "0008|0018": f"1.2.3.{number}.{z}", "0020|0013": str(z)}
            tags |= {"0020|0032": f"0\\0\\{z}", "0020|0037": "1\\0\\0\\0\\1\\0", "0008|0060": "CT"}
            for tag, value in tags.items():
                slice_.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{z:03d}.dcm"))
            writer.Execute(slice_)
        rows.append({"subject": f"s{number}", "image": folder.name})
    write_rows(tmp_path / "cases.csv", rows)
    parts = {"task": "atlas-to-subject", "atlas": "s0", "use_labels": False, "split": {"validation": 1, "test": 0}}
    recipe = recipe_for(tmp_path, "csv", **parts)
    assert build_datasets(recipe).report["prepared_now"] == 3
    assert build_datasets(recipe).report["prepared_now"] == 0
    for path in (tmp_path / "series1").iterdir():
        path.unlink()
    (line,) = problems_of(recipe, caplog)
    assert line.endswith("series1: got an empty folder; expected an image or a DICOM series")


def test_rows_that_cannot_be_used_are_reported_by_line(listed, caplog):
    rows = read_rows(listed / "cases.csv")
    rows[0]["labels"] = ""
    rows[2]["subject"] = "../s1"
    rows[4]["set"] = "training"
    rows[6]["image"] = ""
    write_rows(listed / "cases.csv", rows)
    lines = problems_of(recipe_for(listed, "csv"), caplog)
    for number, message in {
        2: "labels: got nothing; expected a path; or --set data.use_labels=false",
        4: "subject: got '../s1'; expected letters",
        6: "set: got 'training'; expected train, validation, test or nothing",
        8: "image: got nothing; expected a path",
    }.items():
        assert any(f"cases.csv, line {number}: {message}" in line for line in lines)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("subject,image,lables", "got 'lables'.*did you mean 'labels'"),
        ("subject,labels", "no column 'image'"),
        ("", "no column 'image'"),
    ],
)
def test_a_csv_of_other_columns_is_refused(tmp_path, header, message):
    (tmp_path / "cases.csv").write_text(header + "\n")
    with pytest.raises(InputError, match=message):
        build_datasets(recipe_for(tmp_path, "csv"))


def test_bids_sessions(tmp_path, caplog):
    for subject in ("01", "02", "03"):
        for session in ("a", "b"):
            stem = f"sub-{subject}_ses-{session}"
            anatomy = f"sub-{subject}/ses-{session}/anat"
            write(tmp_path / anatomy / f"{stem}_T1w.nii.gz", image(10 * int(subject) + ord(session)))
            write(tmp_path / anatomy / f"{stem}_T2w.nii.gz", image(7))
            place = tmp_path / "derivatives" / "segmentation" / anatomy
            write(place / f"{stem}_dseg.nii.gz", labels(int(subject)))
    recipe = recipe_for(tmp_path, "bids", split={"validation": 1, "test": 1})
    data = build_datasets(recipe)
    assert data.report["pairs"] == {"train": 2, "validation": 2, "test": 2}
    subject = data.train[0].names[0][0][:2]
    assert data.train[0].names[0] == (f"{subject}_a", f"{subject}_b")
    next(tmp_path.rglob("sub-02_ses-b_dseg.nii.gz")).unlink()
    lines = problems_of(recipe, caplog)
    assert any("sub-02_ses-b_T1w.nii.gz: got no labels; expected sub-02_ses-b_dseg.nii.gz" in line for line in lines)


# Recipes of the repository

RECIPES = ("ixi", "acdc_mnms", "autopet", "acdc", "synthetic")
ROWS = {"voxelmorph", "hypermorph", "transmorph", "hyper-transmorph", "tm-spr-gaussian", "tm-spr-beta", "hyper-tm-spr"}


@pytest.mark.parametrize("folder", RECIPES)
def test_every_recipe_of_the_repository_can_be_read_and_its_network_built(repository, folder):
    found = {path.stem: path for path in (repository / "Training" / "recipes" / folder).glob("*.yaml")}
    base = found.pop("base", None)
    found.pop("continued", None)
    names = set()
    for path in found.values():
        recipe = read_recipe(path)
        assert parameter_count(recipe.model) > 0
        assert recipe.card.training_data_licence
        names.add(recipe.name)
    assert len(names) == len(found)
    if folder in RECIPES[:3]:
        assert base is not None
        assert set(found) == ROWS


def test_ranges_and_optima_are_those_of_the_paper(repository):
    folder = repository / "Training" / "recipes"
    cardiac = read_recipe(folder / "acdc_mnms" / "hyper-tm-spr.yaml")
    assert cardiac.hyper.ranges == {"alpha": (0, 0.6), "lambda_max": (0, 3)}
    assert cardiac.loss.dice_weight == 1
    assert read_recipe(folder / "ixi" / "hyper-tm-spr.yaml").hyper.ranges == {"alpha": (0, 0.2), "lambda_max": (0, 5)}
    assert read_recipe(folder / "ixi" / "tm-spr-beta.yaml").loss.hyperparameters == {
        "alpha": 0.175,
        "lambda_max": 3.354,
    }
    for name in ("voxelmorph", "transmorph"):
        assert read_recipe(folder / "autopet" / f"{name}.yaml").loss.hyperparameters == {"lambda": 1}
    for path in folder.rglob("hyper*morph.yaml"):
        assert read_recipe(path).hyper.weighting == "hypermorph"


def test_the_uniform_reference_differs_only_in_the_weight(repository):
    folder = repository / "Training" / "recipes" / "acdc"
    twin, spr = (read_recipe(folder / f"{name}.yaml").to_dict() for name in ("vxm-uniform", "vxm-spr-beta"))
    differing = {key for key in twin if twin[key] != spr[key]}
    assert differing == {"name", "model", "loss"}
    assert {key for key in twin["model"] if twin["model"][key] != spr["model"][key]} == {"weight"}
    plain, semi = (read_recipe(folder / f"{name}.yaml").to_dict() for name in ("vxm-spr-beta", "vxm-spr-beta-semi"))
    assert {key for key in plain if plain[key] != semi[key]} == {"name", "loss"}
    begun = read_recipe(folder / "vxm.yaml")
    assert twin["start"].endswith(f"runs/{begun.name}/{begun.name}.sprmodel.safetensors")


def test_landmarks_with_a_header_are_read_as_everywhere(tmp_path):
    from SPRCore.io import write_landmarks
    from SPRCore.training.data import Case
    from SPRCore.training.data.reading import read_case

    write(tmp_path / "a.nii.gz", image(0))
    for ending in (".csv", ".mrk.json"):
        write_landmarks(voxel_to_ras(points(1), AFFINE), tmp_path / f"p{ending}")
        case = Case(subject="a", image=tmp_path / "a.nii.gz", points=tmp_path / f"p{ending}")
        np.testing.assert_allclose(read_case(case).points_mm, voxel_to_ras(points(1), AFFINE), atol=1e-4)
    (tmp_path / "bad.csv").write_text("1,2\n3,4\n")
    with pytest.raises(InputError, match=r"bad\.csv: got other lines than x,y,z"):
        read_case(Case(subject="a", image=tmp_path / "a.nii.gz", points=tmp_path / "bad.csv"))

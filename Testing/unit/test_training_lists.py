"""Learn2Reg, BIDS and lists of one's own images, each on a small folder in the real form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cohort_files import AFFINE, SHAPE, image, labels, problems_of, read_rows, recipe_for, write, write_rows

from SPRCore.errors import InputError
from SPRCore.geometry import voxel_to_ras
from SPRCore.training.data import build_datasets


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

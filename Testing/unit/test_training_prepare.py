"""A cohort on disk, prepared once: what a network sees, alignment, the cache, and bad files."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
from hearts import AFFINE, data_of, heart, problems_of, recipe_for

from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.io import with_frame, write_volume
from SPRCore.training.data import build_datasets, prepare
from SPRCore.training.data.cache import INDEX


def test_a_cohort_is_prepared_as_a_network_sees_it(acdc):
    data = build_datasets(recipe_for(acdc))
    assert data.labels == (1, 2, 3)
    assert data.report["subjects"] == {"train": 4, "validation": 1, "test": 1}
    assert data.report["pairs"] == {"train": 8, "validation": 2, "test": 2}  # both ways
    item = data.train[0]
    assert item.names[0][0].endswith("_ED")
    assert item.names[0][1].endswith("_ES")
    assert data.train[1].names[0] == item.names[0][::-1]
    assert item.moving.shape == (1, 1, 16, 18, 16)
    np.testing.assert_allclose(item.spacing, [1.5, 2.0, 1.5])  # axes turned to R, A, S
    inside = item.moving[0, 0][item.moving_labels[0, 0] == 3]
    assert float(inside.min()) > 0.6
    assert int((item.moving_labels[0, 0] == 3).sum()) > int((item.fixed_labels[0, 0] == 3).sum())
    middle = np.argwhere(item.moving_labels[0, 0].numpy() > 0)
    assert np.abs((middle.min(0) + middle.max(0)) / 2 - np.array([7.5, 8.5, 7.5])).max() <= 1


def test_voxels_that_need_no_interpolation_keep_their_values(acdc):
    recipe = recipe_for(acdc, preprocessing={"orientation": None})
    data = build_datasets(recipe)
    index = json.loads(next((acdc.parent / "cache").rglob(INDEX)).read_text())["cases"]
    name = data.train[0].names[0][0]
    patient, source = name.removesuffix("_ED"), index[name]["sources"][0][0]
    image, labels = heart(10 * int(patient[-3:]))
    assert source.endswith(f"{patient}_frame01.nii.gz")
    start = np.rint((np.linalg.inv(AFFINE) @ np.reshape(index[name]["affine"], (4, 4)))[:3, 3]).astype(int)
    size = np.array([16, 18, 16])
    scaled = (image - image.min()) / (image.max() - image.min())
    low, high = np.maximum(start, 0), np.minimum(start + size, image.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    margins = list(zip(low - start, start + size - high, strict=True))
    np.testing.assert_allclose(data.train[0].moving[0, 0], np.pad(scaled[box], margins, mode="edge"), atol=1e-5)
    np.testing.assert_array_equal(data.train[0].moving_labels[0, 0], np.pad(labels[box], margins))


def test_it_is_prepared_once_and_again_where_files_or_settings_change(acdc):
    recipe = recipe_for(acdc)
    first = build_datasets(recipe)
    assert first.report["prepared_now"] == 12
    assert build_datasets(recipe).report["prepared_now"] == 0
    moved = acdc.rename(acdc.with_name("elsewhere"))
    recipe = recipe_for(moved)
    assert build_datasets(recipe).report["prepared_now"] == 0  # the content counts, not the place
    patient = moved / "training" / "patient001"
    write_volume(Volume(heart(99)[0], AFFINE), patient / "patient001_frame01.nii.gz")
    assert build_datasets(recipe).report["prepared_now"] == 2
    other = recipe_for(moved, preprocessing={"shape": [16, 16, 16]})
    assert build_datasets(other).report["prepared_now"] == 12
    assert build_datasets(recipe).report["prepared_now"] == 0  # neither displaces the other


def test_a_damaged_cache_is_made_again(acdc):
    recipe = recipe_for(acdc)
    build_datasets(recipe)
    file = next((acdc.parent / "cache").rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    assert build_datasets(recipe).report["prepared_now"] == 2
    next((acdc.parent / "cache").rglob(INDEX)).write_text("{")
    assert build_datasets(recipe).report["prepared_now"] == 12
    data = build_datasets(recipe)
    for file in (acdc.parent / "cache").rglob("*.safetensors"):
        file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(InputError, match=r"cannot be read.*spr prepare"):
        _ = data.train[0]


def test_an_interrupted_preparation_resumes(acdc, monkeypatch):
    from SPRCore.training.data import prepare

    recipe, read = recipe_for(acdc), prepare.read_case
    seen = []

    def interrupted(case, **options):
        seen.append(case.name)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return read(case, **options)

    monkeypatch.setattr(prepare, "read_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_datasets(recipe)
    monkeypatch.setattr(prepare, "read_case", read)
    assert 0 < build_datasets(recipe).report["prepared_now"] <= 6


def test_every_bad_file_is_reported_on_its_own_line(acdc, caplog):
    training = acdc / "training"
    (training / "patient000" / "patient000_frame01_gt.nii.gz").unlink()
    image, labels = heart(1)
    write_volume(Volume(labels[:-2], AFFINE), training / "patient001" / "patient001_frame11_gt.nii.gz")
    broken = training / "patient002" / "patient002_frame01.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-200])
    bad = image.astype(np.float32)
    bad[3, 3, 3] = np.nan
    write_volume(Volume(bad, AFFINE), training / "patient003" / "patient003_frame11.nii.gz")
    (acdc / "testing" / "patient004" / "patient004_frame11_gt.nii.gz").write_bytes(b"not an image")
    write_volume(Volume(labels * 0, AFFINE), acdc / "testing" / "patient005" / "patient005_frame01_gt.nii.gz")
    lines, message = problems_of(recipe_for(acdc), caplog)
    expected = {
        "patient000_frame01_gt.nii.gz": "no such file; expected the labels of patient000_ED",
        "patient001_frame11_gt.nii.gz": r"labels of shape (22, 22, 6); expected (24, 22, 6) as its image",
        "patient002_frame01.nii.gz": "a file that cannot be read",
        "patient003_frame11.nii.gz": "non-finite values",
        "patient004_frame11_gt.nii.gz": "a file that cannot be read",
        "patient005_frame01_gt.nii.gz": "no label but 0",
    }
    assert len(lines) == len(expected)
    for name, words in expected.items():
        (line,) = [line for line in lines if name + ":" in line]
        assert words in line
        assert "\n" not in line
    assert "and 5 more, listed above" in message
    assert not list((acdc.parent / "cache").rglob("*.safetensors"))


def test_good_files_are_kept_while_bad_ones_are_mended(acdc, caplog):
    path = acdc / "training" / "patient000" / "patient000_frame01.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    lines, _ = problems_of(recipe_for(acdc), caplog)
    assert len(lines) == 1
    path.write_bytes(whole)
    assert build_datasets(recipe_for(acdc)).report["prepared_now"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; expected the frames of ED and ES"),
        ("ED: 1\n", "got ES None; expected the number of a frame"),
        ("ED: one\nES: 2", "got ED 'one'"),
    ],
)
def test_a_patient_without_phases_is_reported(acdc, caplog, text, message):
    path = acdc / "training" / "patient002" / "Info.cfg"
    path.unlink() if text is None else path.write_text(text)
    lines, _ = problems_of(recipe_for(acdc), caplog)
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}: ")
    assert message in lines[0]


def test_an_image_of_one_value_is_reported(acdc, caplog):
    path = acdc / "training" / "patient002" / "patient002_frame01.nii.gz"
    write_volume(Volume(np.full((24, 22, 6), 7, np.int16), AFFINE), path)
    lines, _ = problems_of(recipe_for(acdc), caplog)
    assert len(lines) == 1
    assert "patient002" in lines[0]
    assert "the same intensity 7 everywhere" in lines[0]


def test_the_image_that_is_wrong_is_the_one_that_is_named(acdc, caplog):
    path = acdc / "training" / "patient002" / "patient002_frame11.nii.gz"
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] += 500
    write_volume(Volume(heart(3)[0], elsewhere), path)
    write_volume(Volume(heart(3)[1], elsewhere), path.with_name("patient002_frame11_gt.nii.gz"))
    (line,), _ = problems_of(recipe_for(acdc), caplog)
    assert line.startswith(f"{path}: image: got no overlap with the first image of its subject")
    write_volume(Volume(np.full((24, 22, 6), 7, np.int16), AFFINE), path)
    write_volume(Volume(heart(3)[1], AFFINE), path.with_name("patient002_frame11_gt.nii.gz"))
    (line,), _ = problems_of(recipe_for(acdc), caplog)
    assert line.startswith(f"{path}: image: got the same intensity 7 everywhere")


def test_labels_with_another_header_than_their_image_are_reported(acdc, caplog):
    path = acdc / "training" / "patient002" / "patient002_frame01_gt.nii.gz"
    mirrored = AFFINE @ np.diag([-1, 1, 1, 1])
    write_volume(Volume(heart(20)[1], mirrored), path)
    (line,), _ = problems_of(recipe_for(acdc), caplog)
    assert line.startswith(f"{path}: got another position or orientation in its header")
    assert "data.trust_voxels=true" in line
    build_datasets(recipe_for(acdc, data=data_of(acdc) | {"trust_voxels": True}))


def test_workers_change_nothing_but_the_time(acdc):
    one = build_datasets(recipe_for(acdc))
    shutil.rmtree(acdc.parent / "cache")
    recipe = dataclasses.replace(recipe_for(acdc), workers=4)
    many = build_datasets(recipe)
    assert many.report["prepared_now"] == one.report["prepared_now"] == 12
    for index in range(len(one.train)):
        np.testing.assert_array_equal(one.train[index].fixed, many.train[index].fixed)


def test_labels_that_do_not_occur_are_refused(acdc):
    with pytest.raises(InputError, match=r"data\.labels: got 7; expected labels that occur: 1, 2, 3"):
        build_datasets(recipe_for(acdc, data=data_of(acdc) | {"labels": [3, 7], "split": {"test": 1}}))
    data = build_datasets(recipe_for(acdc, data=data_of(acdc) | {"labels": [3]}))
    assert data.labels == (3,)


def test_without_labels_nothing_needs_them(acdc):
    for path in acdc.rglob("*_gt.nii.gz"):
        path.unlink()
    parts = {"preprocessing": {"crop": "center"}, "data": data_of(acdc) | {"use_labels": False}}
    data = build_datasets(recipe_for(acdc, **parts))
    assert data.labels == ()
    assert data.train[0].moving_labels is None
    with pytest.raises(InputError, match=r"preprocessing\.crop: got .?labels.?; expected center"):
        recipe_for(acdc, data=data_of(acdc) | {"use_labels": False})


def test_too_small_an_image_says_what_to_set(acdc, caplog):
    parts = {"preprocessing": {"shape": None, "crop": "center"}}
    lines, _ = problems_of(recipe_for(acdc, **parts), caplog)
    assert "16 along each axis; set preprocessing.shape" in lines[0]


def test_shapes_that_differ_between_subjects_are_reported(acdc, caplog):
    image, labels = heart(3, shape=(24, 22, 9))
    patient = acdc / "training" / "patient003"
    for frame in ("01", "11"):
        write_volume(Volume(image, AFFINE), patient / f"patient003_frame{frame}.nii.gz")
        write_volume(Volume(labels, AFFINE), patient / f"patient003_frame{frame}_gt.nii.gz")
    parts = {"preprocessing": {"shape": None, "crop": "center", "spacing_mm": [1.2, 0.6, 1.2]}}
    data = data_of(acdc, validation=2, test=2) | {"task": "inter-subject"}
    lines, _ = problems_of(recipe_for(acdc, data=data, **parts), caplog)
    assert lines[0].startswith("patient003_ED: got shape (30, 30, 28); expected (30, 20, 28) as most others have")
    assert len(lines) == 2


def test_images_are_aligned_with_a_reference(acdc):
    """The same heart elsewhere in the world comes to lie on the reference."""
    moved = AFFINE.copy()
    moved[:3, 3] += [30, -20, 10]
    image, labels = heart(0)
    patient = acdc / "training" / "patient001"
    for frame in ("01", "11"):
        write_volume(Volume(image, moved), patient / f"patient001_frame{frame}.nii.gz")
        write_volume(Volume(labels, moved), patient / f"patient001_frame{frame}_gt.nii.gz")
    parts = {"task": "atlas-to-subject", "atlas": "patient000_ED", "split": {"validation": 1, "test": 1, "seed": 1}}
    steps = {"align": "rigid", "shape": [24, 16, 16], "crop": "center", "orientation": "RAS"}
    data = build_datasets(recipe_for(acdc, data=data_of(acdc) | parts, preprocessing=steps))
    everybody = [*data.train.pairs, *data.validation.pairs, *data.test.pairs]
    assert len(everybody) == 10
    items = (part[index] for part in (data.train, data.validation, data.test) for index in range(len(part)))
    item = next(item for item in items if set(item.names[0]) == {"patient000_ED", "patient001_ED"})
    assert item.fixed.shape == item.moving.shape == (1, 1, 24, 16, 16)
    atlas, same = (labels == 2 for labels in (item.fixed_labels, item.moving_labels))
    assert 2 * (atlas & same).sum() / (atlas.sum() + same.sum()) > 0.9


def test_an_empty_or_foreign_folder_is_said(tmp_path):
    with pytest.raises(InputError, match=r"data\.folder: got .* no folder; .*--set data\.folder"):
        build_datasets(recipe_for(tmp_path / "none"))
    (tmp_path / "acdc").mkdir()
    with pytest.raises(InputError, match="got no image; expected the layout of acdc"):
        build_datasets(recipe_for(tmp_path / "acdc"))


def test_frames_of_one_file_are_prepared_apart(tmp_path):
    """The cache knows an image by the SHA-256 of its file, which two frames share."""
    path = tmp_path / "series.nii"
    path.write_bytes(b"any")
    digests = {prepare.digest_of(place) for place in (path, with_frame(path, 0), with_frame(path, 1))}
    assert len(digests) == 3

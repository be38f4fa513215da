"""Pairs of the set of a recipe: the images of training, named labels, and splits by data set."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hearts import data_of, recipe_for, write_patient

from SPRCore.analysis.benchmark import BenchmarkOptions, identity_of, measure
from SPRCore.analysis.methods import parse_methods
from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.geometry import Field, Volume
from SPRCore.io import read_volume, write_bundle, write_volume
from SPRCore.io.bundles import Bundle
from SPRCore.io.cards import Preprocessing
from SPRCore.io.pairs import PairFiles, load_pair
from SPRCore.io.samples import Sample, read_sample, write_sample
from SPRCore.metrics import displacement_summary
from SPRCore.registration import LoadedModel
from SPRCore.regularization import UniformPrior
from SPRCore.training.data import build_datasets
from SPRCore.training.data.evaluation import recipe_pairs
from SPRCore.training.hyper import LossSetting
from SPRCore.training.label_names import (
    FREESURFER,
    GROUPINGS,
    THIRTY_STRUCTURES,
    TOTALSEGMENTATOR,
    label_names,
    label_numbers,
    label_sets,
)
from SPRCore.training.validate import measure as measure_validation
from SPRCore.tuning.evaluator import Evaluator
from SPRCore.tuning.ready import ready


@pytest.fixture
def bright(acdc):
    """The cohort with bright fat outside of the crop, so that a crop has other extremes than its image."""
    for path in acdc.rglob("*.nii.gz"):
        if "_gt" not in path.name:
            volume = read_volume(path)
            array = volume.array.copy()
            array[20:] = np.random.default_rng(0).integers(2500, 3000, array[20:].shape)
            write_volume(volume.with_array(array), path)
    return acdc


@pytest.fixture
def network(tiny_network):
    return tiny_network("vxm-spr-small", weight=None)


@pytest.fixture
def written(network, card_for, tmp_path):
    """A bundle of a network for the preprocessing of the recipe, and one for another preprocessing."""
    paths = []
    for name, own in (("own", Preprocessing()), ("other", Preprocessing(clip=(0.1, 0.6), normalize="clip"))):
        card = card_for(network, name=name, preprocessing=own)
        paths.append(tmp_path / f"{name}.sprmodel.safetensors")
        write_bundle(Bundle(card=card, tensors=dict(network.state_dict())), paths[-1])
    return paths


def as_in_training(network, batch):
    """Output and metrics of a network in validation."""
    with torch.no_grad():
        output = network(batch.moving, batch.fixed, None, inverse=False)
    return output, measure_validation(output, batch, LossSetting(prior=UniformPrior()))


def test_a_network_gets_the_images_of_training(bright, network, written):
    recipe = recipe_for(bright)
    pair = recipe_pairs(recipe, "validation").pairs[0]
    batch = build_datasets(recipe).validation[0]
    assert float(batch.fixed.max()) < 0.5
    output, expected = as_in_training(network, batch)
    own, other = (parse_methods([str(path)])[0] for path in written)
    found = measure(pair, own, BenchmarkOptions(init="none", device="cpu"))
    assert found["after"]["dice"] == pytest.approx(expected["dice_labels"], abs=1e-6)
    assert found["before"]["dice_mean"] == pytest.approx(expected["dice_before"], abs=1e-6)
    affine = np.diag([*batch.spacing, 1.0])
    length = displacement_summary(Field.from_tensor_vox(output.displacement, affine))
    assert length["mean"] > 0.3
    assert found["after"]["displacement_mm"]["mean"] == pytest.approx(length["mean"], rel=1e-3)
    changed = measure(pair, other, BenchmarkOptions(init="none", device="cpu"))
    assert abs(changed["after"]["displacement_mm"]["mean"] - length["mean"]) > 1e-3 * length["mean"]


def test_a_sweep_gets_them_too(bright, network, written):
    recipe = recipe_for(bright)
    loaded = load_pair(recipe_pairs(recipe, "validation").pairs[0])
    (method,) = parse_methods([str(written[0])])
    model = LoadedModel.read(written[0], torch.device("cpu"))
    prepared = ready(loaded, method, model, "none", torch.device("cpu"))
    batch = build_datasets(recipe).validation[0]
    torch.testing.assert_close(prepared.fixed, batch.fixed)
    torch.testing.assert_close(prepared.moving, batch.moving)
    measured = Evaluator(prepared, loaded.annotations).measure(prepared.solve(method.prior), method.prior)
    assert measured["dice"] == pytest.approx(as_in_training(network, batch)[1]["dice_labels"], abs=1e-6)


def test_pairs_are_those_of_training_and_only_their_set_is_prepared(acdc, tmp_path):
    recipe = recipe_for(acdc)
    found = recipe_pairs(recipe, "test")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2  # of six patients one is tested
    subject = found.pairs[0].subject
    assert [pair.pair for pair in found] == [f"{subject}, ED to ES", f"{subject}, ES to ED"]
    assert [pair.group for pair in found] == ["ED to ES", "ES to ED"]
    trained = build_datasets(recipe)
    assert [(f"{subject}_ED", f"{subject}_ES"), (f"{subject}_ES", f"{subject}_ED")] == [
        (pair.moving, pair.fixed) for pair in trained.test.pairs
    ]
    assert found.label_names == {"1": "RV", "2": "MYO", "3": "LV"}
    with pytest.raises(InputError, match=r"'train'.*test, validation"):
        recipe_pairs(recipe, "train")
    with pytest.raises(InputError, match="no pairs"):
        recipe_pairs(recipe_for(acdc, data=data_of(acdc, validation=1, test=0)), "test")


def test_a_replaced_file_and_other_labels_are_measured_again(acdc):
    (method,) = parse_methods(["uniform"])

    def identity(**data):
        pair = recipe_pairs(recipe_for(acdc, data=data), "test").pairs[0]
        return pair, identity_of(pair, method, BenchmarkOptions())

    pair, first = identity()
    assert identity()[1] == first
    assert identity(labels=["LV"])[1] != first
    ventricle = load_pair(identity(labels=["LV"])[0]).annotations
    assert set(np.unique(ventricle.fixed_labels.array)) == set(np.unique(ventricle.moving_labels.array)) == {0, 3}
    write_patient(acdc / "new", pair.subject, seed=77)
    for path in (acdc / "new" / pair.subject).iterdir():
        next(acdc.glob(f"t*/{pair.subject}")).joinpath(path.name).write_bytes(path.read_bytes())
        path.unlink()
    (acdc / "new" / pair.subject).rmdir()
    assert identity()[1] != first


def test_images_of_two_subjects_are_compared_voxel_by_voxel(tmp_path):
    """A network in training sees no positions: the moving image takes those of the fixed one."""
    rng = np.random.default_rng(0)
    far = np.diag([3.0, 3.0, 3.0, 1.0])
    far[:3, 3] = 500.0
    samples = {
        "fixed": Sample(image=rng.random((8, 9, 10), dtype=np.float32), points=np.float32([[1, 2, 3]])),
        "moving": Sample(image=rng.random((8, 9, 10), dtype=np.float32), points=np.float32([[2, 2, 3]]), affine=far),
    }
    paths = {side: tmp_path / f"{side}.safetensors" for side in samples}
    for side, sample in samples.items():
        write_sample(sample, paths[side])
        np.testing.assert_array_equal(read_sample(paths[side]).image, sample.image)
    points = {f"{side}_points": path for side, path in paths.items()}
    pair = PairFiles(pair="p", subject="s", **paths, **points, prepared=Preprocessing())
    loaded = load_pair(pair)
    assert loaded.moving.grid.matches(loaded.fixed.grid)
    assert loaded.fixed.valid is None
    np.testing.assert_allclose(loaded.annotations.moving_points - loaded.annotations.fixed_points, [[1, 0, 0]])
    write_sample(dataclasses.replace(samples["moving"], image=np.zeros((8, 9, 11), np.float32)), paths["moving"])
    with pytest.raises(InputError, match=r"p: got \(8, 9, 10\) and \(8, 9, 11\); expected the same shape"):
        load_pair(pair)
    paths["moving"].write_bytes(b"no sample")
    with pytest.raises(InputError, match=r"moving\.safetensors.*spr prepare"):
        load_pair(pair)


def test_names_of_labels():
    assert len(TOTALSEGMENTATOR) == 104
    assert [TOTALSEGMENTATOR[label] for label in (18, 34, 35, 50, 58, 93, 104)] == [
        *("vertebrae_L5", "vertebrae_T1", "vertebrae_C7", "brain", "rib_left_1", "face", "urinary_bladder")
    ]
    for name, members in GROUPINGS["totalsegmentator"].items():
        if len(members) == 1 and name != "portal and splenic vein":
            assert TOTALSEGMENTATOR[members[0]] == name.replace(" ", "_")
    assert len(label_names("autopet", "totalsegmentator")) == 39
    classes = label_sets("autopet")["103 classes"]
    assert set(TOTALSEGMENTATOR) - set(classes) == {93}
    assert len(THIRTY_STRUCTURES) == 30
    assert set(THIRTY_STRUCTURES) <= set(FREESURFER)
    assert label_names("csv") == {}


def test_labels_by_number_name_and_set():
    names, sets = label_names("ixi"), label_sets("ixi")
    assert label_numbers(["Left-Thalamus", 77, 10], names, sets) == (10, 77)
    assert label_numbers(["30 structures"], names, sets) == THIRTY_STRUCTURES
    with pytest.raises(InputError, match="did you mean 'Left-Thalamus'"):
        label_numbers(["Left-Thalmus"], names, sets)
    with pytest.raises(InputError, match="'liver'; expected numbers"):
        label_numbers(["liver"], {}, {})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"labels": ["septum"]}, r"data\.labels: got 'septum'"),
        ({"labels": [1.5]}, r"data\.labels: got \[1.5\]; expected a list of labels, numbers or names"),
        ({"labels": "LV"}, r"data\.labels"),
        ({"split": {"datasets": {"mnms": "test"}}}, r"datasets\.mnms: .* a data set of this recipe: acdc"),
        ({"split": {"datasets": {"acdc": "holdout"}}}, "got 'holdout'"),
    ],
)
def test_what_a_recipe_cannot_say(acdc, values, words):
    with pytest.raises(ConfigError, match=words):
        recipe_for(acdc, data=values)


def test_training_counts_named_labels(acdc):
    assert build_datasets(recipe_for(acdc, data={"labels": ["LV", "RV"]})).labels == (3, 1)


@pytest.fixture
def two_data_sets(acdc, tmp_path):
    """Hearts of ACDC, and a list of images of another hospital."""
    lines = ["subject,role,image,labels"]
    rng = np.random.default_rng(5)
    for number in range(4):
        for role in ("ED", "ES"):
            stem = f"S{number}_{role}"
            array = rng.integers(0, 1000, (24, 22, 20)).astype(np.int16)
            write_volume(Volume(array, np.eye(4)), tmp_path / f"{stem}.nii.gz")
            write_volume(Volume((array > 500).astype(np.uint8), np.eye(4)), tmp_path / f"{stem}_seg.nii.gz")
            lines.append(f"S{number},{role},{stem}.nii.gz,{stem}_seg.nii.gz")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    return {"also": {"dataset": "csv", "folder": str(tmp_path)}}


def test_one_data_set_is_the_test_set_of_another(acdc, two_data_sets):
    split = {"datasets": {"csv": "test"}, "train": 4, "validation": 2}
    sets = build_datasets(recipe_for(acdc, data=two_data_sets | {"split": split})).split["sets"]
    assert sets["test"] == ["S0", "S1", "S2", "S3"]
    assert len(sets["train"]) == 4
    assert len(sets["validation"]) == 2
    both = {"datasets": {"csv": "test", "acdc": "train"}, "validation": 0}
    recipe = recipe_for(acdc, data=two_data_sets | {"split": both})
    assert len(recipe_pairs(recipe_for(acdc, data=two_data_sets | {"split": split}), "test")) == 8
    with pytest.raises(InputError):  # no subject is left to validate on
        build_datasets(recipe)
    many = {"datasets": {"csv": "test"}, "train": 5, "validation": 2}
    with pytest.raises(InputError, match="6 subjects, but 5 for train, 2 for validation"):
        build_datasets(recipe_for(acdc, data=two_data_sets | {"split": many}))

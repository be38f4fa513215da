"""Images of two channels, such as CT and SUV: preparation, training and use of a network, and refusals in one line."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from cohort_files import AFFINE, SHAPE, image, labels, problems_of, write, write_rows

import SPRCore
from SPRCore.analysis.methods import parse_methods
from SPRCore.cli import main
from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.geometry import Field
from SPRCore.io import ModelCard, read_card, read_volume, write_bundle
from SPRCore.io.bundles import Bundle
from SPRCore.io.cards import Preprocessing
from SPRCore.io.pairs import load_pair
from SPRCore.io.samples import Sample
from SPRCore.live.options import LiveOptions
from SPRCore.live.session import LiveSession
from SPRCore.networks.loading import bundle_of
from SPRCore.registration import LoadedModel
from SPRCore.training.config import AugmentationConfig
from SPRCore.training.data import build_datasets
from SPRCore.training.data.augmentation import augmented
from SPRCore.training.data.evaluation import recipe_pairs
from SPRCore.training.model_card import card_of
from SPRCore.training.recipe import Recipe
from SPRCore.tuning.ready import ready

CLIPS = {"clip": [-300, 300], "normalize": "clip"}
SUV = {"clip": [0, 10], "normalize": "clip"}


def suv(seed):
    return (image(seed + 500) / 100).astype(np.float32)  # 0 to 10


@pytest.fixture
def folder(tmp_path):
    """Four studies of autoPET as released: CT, labels and SUV on one grid."""
    for number in range(4):
        study = tmp_path / "data" / f"PETCT_{number}" / "study"
        write(study / "CTres.nii.gz", image(number) - 500)
        write(study / "CTres_seg.nii.gz", labels(number))
        write(study / "SUV.nii.gz", suv(number))
    return tmp_path / "data"


def recipe_for(folder, preprocessing=None, **parts):
    """A recipe of two channels; `preprocessing` changes its own."""
    values = {
        "name": "layout",
        "data": {"dataset": "autopet", "folder": str(folder), "cache": str(folder.parent / "cache")}
        | {"task": "atlas-to-subject", "atlas": "PETCT_0", "split": {"validation": 1, "test": 1}},
        "preprocessing": CLIPS | {"second_channel": SUV} | (preprocessing or {}),
        "model": {"preset": "vxm-spr-small", "channels": 2},
        "optimiser": {"epochs": 1},
    }
    for key, value in parts.items():
        values[key] = values.get(key, {}) | value
    return Recipe.from_dict(values)


def test_each_channel_has_its_own_intensities(folder):
    batch = build_datasets(recipe_for(folder)).validation[0]
    assert batch.moving.shape == batch.fixed.shape == (1, 2, *SHAPE)
    (_, fixed) = batch.names[0]
    number = int(fixed.split("_")[1])
    ct, pet = (part.numpy() for part in batch.fixed[0])
    np.testing.assert_allclose(ct, (np.clip(image(number) - 500.0, -300, 300) + 300) / 600, atol=1e-6)
    np.testing.assert_allclose(pet, np.clip(suv(number) / 10, 0, 1), atol=1e-6)


def test_images_of_one_channel_are_prepared_as_before(folder):
    two = recipe_for(folder)
    one = recipe_for(folder, {"second_channel": None}, model={"channels": 1})
    assert "second_channel" not in one.preprocessing.facts()  # caches and results keep their keys
    torch.testing.assert_close(
        build_datasets(one).validation[0].fixed, build_datasets(two).validation[0].fixed[:, :1], rtol=0, atol=0
    )


def test_a_channel_on_another_grid_is_resampled_on_that_of_its_image(folder):
    for path in folder.rglob("SUV.nii.gz"):  # a ramp along Y in voxels of twice the size
        ramp = np.broadcast_to(np.linspace(1, 9, 10)[:, None], (10, 10, 8)).astype(np.float32)
        write(path, ramp, np.diag([4.0, 4.0, 4.0, 1.0]))
    batch = build_datasets(recipe_for(folder)).validation[0]
    expected = (1 + 8 / 9 * np.arange(SHAPE[1]) / 2) / 10
    np.testing.assert_allclose(batch.fixed[0, 1, 5, :, 6], expected, atol=1e-5)


def test_another_second_channel_is_prepared_again(folder):
    recipe = recipe_for(folder)
    before = build_datasets(recipe).validation[0]
    name = before.names[0][1]
    write(folder / name.rpartition("_")[0] / "study" / "SUV.nii.gz", suv(77))
    after = build_datasets(recipe).validation[0]
    np.testing.assert_allclose(after.fixed[0, 1], suv(77) / 10, atol=1e-6)
    assert torch.equal(before.fixed[:, :1], after.fixed[:, :1])


def test_a_flip_and_a_deformation_move_both_channels_alike():
    first = image(0).astype(np.float32) / 1000
    sample = Sample(image=first, second_channel=first, labels=labels(0))
    config = AugmentationConfig(flip=(0, 2), bend_mm=4.0)
    moved = augmented(sample, sample, config, np.random.default_rng(3))
    for each in moved:
        assert np.abs(each.image - first).max() > 0.1
        np.testing.assert_array_equal(each.image, each.second_channel)
    noisy, _ = augmented(sample, sample, AugmentationConfig(noise=0.1), np.random.default_rng(3))
    assert np.abs(noisy.image - noisy.second_channel).max() > 0.05


def test_a_list_has_a_column_of_second_channels(folder, caplog):
    rows = []
    for path in sorted(folder.rglob("CTres.nii.gz")):
        parts = {"image": path, "labels": path.with_name("CTres_seg.nii.gz"), "channel": path.with_name("SUV.nii.gz")}
        rows.append({"subject": path.parents[1].name, **parts})
    write_rows(folder / "cases.csv", rows)
    data = {"dataset": "csv", "task": "inter-subject", "atlas": None, "split": {"validation": 2, "test": 0}}
    batch = build_datasets(recipe_for(folder, data=data)).validation[0]
    number = int(batch.names[0][1].split("_")[1])
    np.testing.assert_allclose(batch.fixed[0, 1], np.clip(suv(number) / 10, 0, 1), atol=1e-6)
    rows[2]["channel"] = ""
    write_rows(folder / "cases.csv", rows)
    (line,) = problems_of(recipe_for(folder, data=data), caplog)
    assert "line 4" in line
    assert "channel: got nothing" in line


def test_a_missing_or_unusable_second_channel_is_a_problem_of_its_file(folder, caplog):
    paths = sorted(folder.rglob("SUV.nii.gz"))
    content = paths[1].read_bytes()
    paths[1].unlink()
    (line,) = problems_of(recipe_for(folder), caplog)
    assert str(paths[1]) in line
    assert "expected the second channel of PETCT_1_study" in line
    far = AFFINE.copy()
    far[:3, 3] = 1000.0
    write(paths[1], suv(1), far)
    (line,) = problems_of(recipe_for(folder), caplog)
    assert line.startswith(str(paths[1]))
    assert "no overlap with its image" in line
    paths[1].write_bytes(content)
    write(paths[2], np.full(SHAPE, np.nan, np.float32))
    (line,) = problems_of(recipe_for(folder), caplog)
    assert line.startswith(str(paths[2]))
    write(paths[2], np.full(SHAPE, 3.0, np.float32))
    (line,) = problems_of(recipe_for(folder), caplog)
    assert "second channel" in line


def test_an_atlas_of_files_needs_its_second_channel(folder):
    paths = {f"atlas_{kind}": folder.parent / f"{kind}.nii.gz" for kind in ("image", "labels", "channel")}
    for path, array in zip(paths.values(), (image(9), labels(9), suv(9)), strict=True):
        write(path, array)
    files = {name: str(path) for name, path in paths.items() if name != "atlas_channel"}
    with pytest.raises(InputError, match=r"data\.atlas_channel: got nothing"):
        build_datasets(recipe_for(folder, data={"atlas": None, **files}))
    files["atlas_channel"] = str(paths["atlas_channel"])
    batch = build_datasets(recipe_for(folder, data={"atlas": None, **files})).validation[0]
    np.testing.assert_allclose(batch.moving[0, 1], np.clip(suv(9) / 10, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"model": {"channels": 1}}, r"model\.channels: got 1 with images of 2; expected 2"),
        ({"preprocessing": {"second_channel": None}}, r"model\.channels: .*expected 1; or set preprocessing\.second"),
        ({"data": {"dataset": "acdc", "task": "intra-subject", "atlas": None}}, r"second_channel: .*autopet, csv"),
        ({"preprocessing": {"second_channel": {"clip": [3, 1]}}}, r"preprocessing\.second_channel\.clip"),
        ({"preprocessing": {"second_channel": {"normalize": "clip"}}}, r"second_channel\.normalize"),
    ],
)
def test_what_a_recipe_cannot_say(folder, parts, words):
    with pytest.raises(ConfigError, match=words):
        recipe_for(folder, **parts)


@pytest.fixture
def network(tiny_network):
    return tiny_network("vxm-spr-small", channels=2)


@pytest.fixture
def bundle(network, folder, tmp_path):
    """A model of the recipe with random weights, as training writes it."""
    path = tmp_path / "two.sprmodel.safetensors"
    recipe = recipe_for(folder, model={**network.config.to_dict(), "preset": "vxm-spr-small"})
    write_bundle(bundle_of(network, dataclasses.replace(card_of(recipe), name="two")), path)
    return path


@pytest.fixture
def batch(folder):
    """The validation pair of the recipe."""
    return build_datasets(recipe_for(folder)).validation[0]


@pytest.fixture
def files(folder, batch):
    """The images of that pair, and their second channels."""
    moving, fixed = (folder / name.rpartition("_")[0] / "study" for name in batch.names[0])
    channels = {"fixed_channel": fixed / "SUV.nii.gz", "moving_channel": moving / "SUV.nii.gz"}
    return (fixed / "CTres.nii.gz", moving / "CTres.nii.gz"), channels


def as_in_training(network, batch):
    with torch.no_grad():
        output = network(batch.moving, batch.fixed, None, inverse=False)
    return Field.from_tensor_vox(output.displacement, AFFINE).array


def test_a_model_gets_the_channels_of_its_training(network, bundle, batch, files):
    images, channels = files
    expected = as_in_training(network, batch)
    assert np.abs(expected).max() > 1.0
    found = SPRCore.register(*images, method=bundle, init="none", annotations=channels, device="cpu")
    np.testing.assert_allclose(found.displacement.array, expected, atol=1e-3)
    assert found.report["inputs"]["fixed"]["channels"] == 2
    blank = dataclasses.replace(batch, fixed=batch.fixed * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1))
    assert np.abs(as_in_training(network, blank) - expected).max() > 0.1  # the second channel counts


def test_a_live_session_gives_the_same(bundle, files):
    (fixed, moving), channels = files
    annotations = {name: read_volume(path) for name, path in channels.items()}
    expected = SPRCore.register(fixed, moving, method=bundle, init="none", annotations=channels, device="cpu")
    given = {"method": bundle, "device": "cpu", "annotations": annotations, "options": LiveOptions(init="none")}
    with LiveSession.open(read_volume(fixed), read_volume(moving), **given) as live:
        preview = live.update()
        assert np.isfinite(preview.displacement.array).all()
        found = live.commit().displacement
    np.testing.assert_allclose(found.array, expected.displacement.array, atol=1e-4)


def test_a_prepared_pair_gives_the_same(network, bundle, folder, batch):
    loaded = load_pair(recipe_pairs(recipe_for(folder), "validation").pairs[0])
    (method,) = parse_methods([str(bundle)])
    model = LoadedModel.read(bundle, torch.device("cpu"))
    assert loaded.prepared == model.card.intensities
    prepared = ready(loaded, method, model, "none", torch.device("cpu"))
    torch.testing.assert_close(prepared.fixed, batch.fixed[:, :1])  # metrics are those of the images
    found = Field.from_tensor_vox(prepared.solve(method.prior).displacement, AFFINE).array
    np.testing.assert_allclose(found, as_in_training(network, batch), atol=1e-4)


def test_a_model_of_one_channel_refuses_two_and_the_other_way_round(tiny_network, card_for, bundle, files, tmp_path):
    images, channels = files
    options = {"init": "affine", "device": "cpu"}
    with pytest.raises(InputError, match=r"got none with the model two; expected images of two channels; give"):
        SPRCore.register(*images, method=bundle, **options)
    with pytest.raises(InputError, match="got none with the model two"):
        LiveSession.open(*map(read_volume, images), method=bundle, device="cpu")
    single = tiny_network("vxm-spr-small")
    path = tmp_path / "one.sprmodel.safetensors"
    write_bundle(Bundle(card_for(single, name="one"), dict(single.state_dict())), path)
    with pytest.raises(InputError, match="second channel: got one with the model one; expected images of one channel"):
        SPRCore.register(*images, method=path, annotations=channels, **options)


def test_the_card_has_the_second_channel(bundle, capfd):
    card = read_card(bundle)
    assert card.architecture["channels"] == 2
    assert card.second_channel == Preprocessing(clip=(0, 10), normalize="clip")
    assert ModelCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    assert main(["models", "show", str(bundle)]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert "second channel: clip [0.0, 10.0], normalize clip, percentiles -" in shown
    old = {name: value for name, value in card.to_dict().items() if name != "second_channel"}
    assert ModelCard.from_dict(old).second_channel is None
    with pytest.raises(InputError, match="clip"):
        ModelCard.from_dict(old | {"second_channel": {"clip": [5, 1]}})


def test_a_card_that_contradicts_its_network_is_refused(tiny_network, card_for, network, files, tmp_path):
    single = tiny_network("vxm-spr-small")
    with pytest.raises(InputError, match="model card, second_channel: got one for a network whose images have 1"):
        bundle_of(single, card_for(single, second_channel=Preprocessing()))
    path = tmp_path / "old.sprmodel.safetensors"
    write_bundle(bundle_of(network, card_for(network, name="old")), path)  # of a time before second channels
    assert SPRCore.load_model(path).config.channels == 2
    with pytest.raises(InputError, match="model old: got a network of 2 channels and a card with the preproc"):
        SPRCore.register(*files[0], method=path, annotations=files[1], init="none", device="cpu")


def test_the_teacher_registers_both_channels(folder, tmp_path):
    def solved(change):
        recipe = recipe_for(folder, loss={"teacher": {"weight": 0.1}}, data={"split": {"validation": 1, "test": 0}})
        for path in folder.rglob("SUV.nii.gz"):
            write(path, suv(int(path.parents[1].name[-1]) + change))
        batch = build_datasets(recipe).validation.solved(0)
        return batch.names[0], batch.teacher_vox

    (names, first), (same, second) = solved(0), solved(40)
    assert names == same
    assert float((first - second).abs().max()) > 0.1

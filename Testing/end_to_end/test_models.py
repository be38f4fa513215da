"""`spr models` and `spr register --method`: every architecture on a pair of odd grids, refined or not, and refusals."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import SPRCore
from SPRCore.io import read_bundle, read_displacement, read_volume, write_bundle
from SPRCore.networks import list_models
from SPRCore.networks.loading import bundle_of

SUFFIX = ".sprmodel.safetensors"


@pytest.fixture(autouse=True)
def models_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SPR_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def _no_figure(monkeypatch):
    """The figure takes most of the time of so small a registration, and has tests of its own."""
    for name in ("registration_figure", "save_figure"):
        monkeypatch.setattr(f"SPRCore.analysis.figures.{name}", lambda *arguments: None)


@pytest.fixture(scope="module")
def write(tiny_network, card_for, tmp_path_factory):
    """Write a tiny network of a preset as a bundle."""

    def write(preset: str, name: str = "tiny", weight: str | None = None, **fields: object) -> Path:
        network = tiny_network(preset, **({} if weight is None else {"weight": weight}))
        path = tmp_path_factory.mktemp("bundle") / f"{name}{SUFFIX}"
        write_bundle(bundle_of(network, card_for(network, name=name, **fields)), path)
        return path

    return write


def registered(spr, pair, folder, *options) -> dict:
    done = spr("register", pair.fixed, pair.moving, "--out", folder, "--init", "none", "--device", "cpu", *options)
    assert (done.code, done.err) == (0, [])
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("preset", list_models())
def test_every_network_registers_any_pair(preset, write, odd_pair, spr, tmp_path):
    bundle = write(preset)
    report = registered(spr, odd_pair, tmp_path / "out", "--method", bundle)
    assert report["method"] == "tiny"
    assert report["model"] == {"name": "tiny", "sha256": read_bundle(bundle).sha256}
    assert report["hyperparameters"]["prior"] == read_bundle(bundle).card.prior
    assert {"load", "model", "prealign", "register", "measure", "write", "total"} == set(report["seconds"])
    assert "refine" not in report
    grid = read_volume(odd_pair.fixed).grid
    field = read_displacement(tmp_path / "out" / "displacement.nii.gz")
    assert field.grid.matches(grid)
    assert read_displacement(tmp_path / "out" / "inverse_displacement.nii.gz").grid.matches(
        read_volume(odd_pair.moving).grid
    )
    assert 0.3 < report["metrics"]["after"]["displacement_mm"]["max"] < 30
    weight = read_volume(tmp_path / "out" / "weight.nii.gz")
    assert weight.grid.matches(grid)
    assert 0 < weight.array.min() <= weight.array.max() <= 5


@pytest.mark.parametrize("preset", ["voxelmorph-spr", "voxelmorph"])  # with a velocity to go on from, and without
def test_refinement_agrees_better_than_the_network(preset, write, odd_pair, spr, tmp_path):
    bundle = write(preset)
    alone = registered(spr, odd_pair, tmp_path / "alone", "--method", bundle)
    refined = registered(spr, odd_pair, tmp_path / "refined", "--method", bundle, "--refine", 8)
    assert refined["refine"] == 8
    assert refined["model"] == alone["model"]
    assert refined["metrics"]["after"]["lncc"] > alone["metrics"]["after"]["lncc"] + 0.05
    assert refined["metrics"]["after"]["folding_percent"] == 0


def test_refinement_goes_on_from_the_network(write, odd_pair):
    """Without a step the instance solver gives back what it started from."""
    from SPRCore.registration import InstanceConfig

    images = [read_volume(path) for path in (odd_pair.fixed, odd_pair.moving)]
    frozen = InstanceConfig(steps=(0,))
    model = {"method": write("voxelmorph-spr"), "init": "none", "device": "cpu"}
    network = SPRCore.register(*images, **model).displacement.array
    refined = SPRCore.register(
        *images, **model, options=SPRCore.RegistrationOptions(refine=1, config=frozen)
    ).displacement.array
    assert np.abs(refined - network).mean() < 0.1 * np.abs(network).mean()


RANGES = {"ranges": {"alpha": (0.0, 0.2), "lambda_max": (0.5, 5.0)}, "defaults": {"alpha": 0.1, "lambda_max": 2.0}}


def test_a_conditioned_model_takes_what_lies_in_its_ranges(write, odd_pair, spr, tmp_path):
    bundle = write("hyper-vxm-spr-small", **RANGES)
    report = registered(spr, odd_pair, tmp_path / "out", "--method", bundle, "--alpha", 0.2)
    assert report["hyperparameters"] == {"prior": "beta", "alpha": 0.2, "lambda_max": 2.0}


def test_a_value_that_two_priors_have_is_that_of_the_model(write, odd_pair, spr, tmp_path):
    bundle = write("hyper-vxm-spr-small", weight="tv")
    report = registered(spr, odd_pair, tmp_path / "out", "--method", bundle, "--lambda-max", 3)
    assert report["hyperparameters"] == {"prior": "tv", "tv": 1.0, "lambda_max": 3.0}


@pytest.mark.parametrize(
    ("preset", "options", "words"),
    [
        ("hyper-vxm-spr-small", ["--alpha", "0.3"], ["alpha", "0.3", "0 to 0.2", "tiny"]),
        ("hyper-vxm-spr-small", ["--lambda-max", "0.4"], ["lambda_max", "0.4", "0.5 to 6", "up to 5"]),
        ("hyper-vxm-spr-small", ["--sigma", "1"], ["gaussian", "beta"]),
        ("hyper-vxm-spr-small", ["--tv", "1"], ["tv", "beta"]),
        ("vxm-spr-small", ["--alpha", "0.3"], ["alpha", "0.3", "trained at"]),
        ("vxm-spr-small", ["--refine", "-1"], ["refine", "-1"]),
        ("vxm-spr-small", ["--refine", "2.5"], ["--refine", "2.5"]),
    ],
)
def test_what_a_model_cannot_do_is_refused(preset, options, words, write, odd_pair, spr, tmp_path):
    bundle = write(preset, **(RANGES if preset.startswith("hyper") else {}))
    done = spr("register", odd_pair.fixed, odd_pair.moving, "--out", tmp_path / "out", "--method", bundle, *options)
    refused(done, *words)
    assert not (tmp_path / "out").exists()


def test_refining_needs_a_model(odd_pair, spr, tmp_path):
    refused(
        spr("register", odd_pair.fixed, odd_pair.moving, "--out", tmp_path / "out", "--refine", 5), "refine", "model"
    )


def refused(done, *words: str) -> None:
    assert done.code == 2
    assert len(done.err) == 1
    for word in words:
        assert word in done.err[0]


def damaged(bundle: Path) -> Path:
    bundle.write_bytes(bundle.read_bytes()[:-4] + b"\0\0\0\1")
    return bundle


def truncated(bundle: Path) -> Path:
    bundle.write_bytes(bundle.read_bytes()[:200])
    return bundle


def renamed_pickle(bundle: Path) -> Path:
    bundle.write_bytes(pickle.dumps({"state_dict": 1}))
    return bundle


def absent(bundle: Path) -> Path:
    return bundle.parent / f"no{SUFFIX}"


VERBS = ("register", "show", "verify", "import", "export")
FAULTS = (damaged, truncated, renamed_pickle, absent)


@pytest.mark.parametrize(
    ("verb", "fault"),
    [(verb, fault) for verb in VERBS for fault in FAULTS if (verb, fault) != ("show", damaged)],  # its card is sound
)
def test_a_bundle_that_is_not_right_is_refused(verb, fault, write, odd_pair, spr, tmp_path):
    bundle = fault(write("vxm-spr-small"))
    arguments = {
        "register": ("register", odd_pair.fixed, odd_pair.moving, "--method", bundle, "--out", tmp_path / "out"),
        "export": ("models", "export", bundle, "--out", tmp_path / f"out{SUFFIX}"),
    }.get(verb, ("models", verb, bundle))
    refused(spr(*arguments), str(bundle))
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob("models/*"))


def test_the_life_of_a_model(write, odd_pair, spr, tmp_path, models_folder):
    bundle = write("vxm-spr-small", name="first")
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"anatomy": "brain", "grid": {"spacing_mm": [3, 3, 3]}}), encoding="utf-8")
    assert spr("models", "import", bundle, "--name", "second", "--card", card).code == 0
    assert spr("models", "import", bundle).code == 0
    refused(spr("models", "import", bundle), "first", "already")
    listed = spr("models", "list").out
    assert all(word in listed for word in ("first", "second", "voxelmorph", "beta", "brain", str(models_folder)))
    shown = spr("models", "show", "second").out
    assert "anatomy: brain" in shown
    assert "spacing_mm [3.0, 3.0, 3.0]" in shown
    as_json = json.loads(spr("models", "show", "second", "--json").out)
    assert (as_json["name"], as_json["anatomy"]) == ("second", "brain")
    assert "second is valid" in spr("models", "verify", "second").out
    report = registered(spr, odd_pair, tmp_path / "out", "--method", "second")
    assert report["model"]["name"] == "second"
    assert report["model"]["sha256"] == read_bundle(bundle).sha256  # the tensors are the same, the card is not
    assert spr("models", "export", "second", "--out", tmp_path).code == 0
    assert (tmp_path / f"second{SUFFIX}").read_bytes() == (models_folder / f"second{SUFFIX}").read_bytes()
    (models_folder / f"broken{SUFFIX}").write_bytes(b"x")
    assert "broken" in spr("models", "list").out
    for name in ("second", "broken"):
        assert spr("models", "remove", name).code == 0
    refused(spr("models", "remove", "second"), "second", "spr models list")
    assert [path.name for path in models_folder.iterdir()] == [f"first{SUFFIX}"]
    assert not SPRCore.load_model("first").training


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"anatomy: brain", ["card.json", "JSON"]),
        (b"[1]", ["card.json"]),
        (b'{"anatomie": "brain"}', ["anatomie", "anatomy"]),
        (b'{"architecture": {"architecture": "transmorph"}}', ["tensor"]),
        (b'{"prior": "uniform", "defaults": {}}', ["prior", "beta"]),
    ],
)
def test_a_wrong_card_is_refused(content, words, write, spr, tmp_path, models_folder):
    card = tmp_path / "card.json"
    card.write_bytes(content)
    refused(spr("models", "import", write("vxm-spr-small"), "--card", card), *words)
    assert not models_folder.exists()


def test_names_and_places_that_cannot_be(write, spr, tmp_path, models_folder):
    bundle = write("vxm-spr-small")
    for name in ("../up", "/abs", "instance", "Big"):
        refused(spr("models", "import", bundle, "--name", name), "name")
    refused(spr("models", "remove", "../tiny"), "name")
    refused(spr("models", "import", bundle, "--out", tmp_path / "model.pt"), "suffix")
    refused(spr("models", "import", bundle, "--composition", "addition"), "composition")
    refused(spr("models", "show", "nobody"), "nobody", "spr models import")
    assert not models_folder.exists()


CHECKPOINTS = ("paper_repo_transmorph_tvf", "paper_repo_tm_spr", "mir_transmorph_tvf", "mir_tm_spr")


@pytest.mark.shared_data
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_checkpoint_of_the_author_becomes_a_model(case, repository, odd_pair, spr, tmp_path):
    checkpoint = repository.parent / "shared" / "reference" / "parity" / case / "checkpoint.pth.tar"
    if not checkpoint.is_file():
        pytest.skip("../shared/reference is absent: the author's checkpoints are not part of the repository")
    card = tmp_path / "card.json"
    card.write_text('{"preprocessing": {"clip": [0, 1]}, "licence": "MIT"}', encoding="utf-8")
    done = spr("models", "import", checkpoint, "--name", "theirs", "--composition", "addition", "--card", card)
    assert (done.code, done.err) == (0, [])
    shown = json.loads(spr("models", "show", "theirs", "--json").out)
    assert shown["architecture"]["composition"] == "addition"
    assert shown["architecture"]["half_resolution"]
    assert shown["prior"] == ("beta" if case.endswith("spr") else "uniform")
    assert shown["licence"] == "MIT"
    report = registered(spr, odd_pair, tmp_path / "out", "--method", "theirs")
    assert report["model"]["name"] == "theirs"
    pair = (odd_pair.fixed, odd_pair.moving, "--out", tmp_path / "refused")
    refused = spr("register", *pair, "--method", "theirs", "--refine", 3)
    assert refused.code == 2
    assert "trained with gradients in voxels" in refused.err[0]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"state_dict": {}}, protocol=2)])
def test_a_file_that_is_no_checkpoint_is_refused(content, spr, tmp_path, models_folder):
    file = tmp_path / "model.pth.tar"
    file.write_bytes(content)
    refused(spr("models", "import", file), str(file))
    refused(spr("models", "import", tmp_path / "nowhere.pth.tar"), "nowhere")
    assert not models_folder.exists()

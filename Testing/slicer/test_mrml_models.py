"""The list of task models is read without torch, says what is wrong with a file, and breaks nothing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from SPRCore.errors import InputError

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed"),
]


@pytest.fixture
def models(tmp_path, monkeypatch):
    from harness import core

    core.install()
    monkeypatch.setenv("SPR_MODELS", str(tmp_path / "mine"))
    from SPRRegistrationLib import models

    return models


@pytest.fixture
def bundle(tiny_network, card_for, tmp_path):
    """Write a model bundle."""
    from SPRCore.io import Bundle, write_bundle

    def make(name="heart", folder=tmp_path, **fields):
        network = tiny_network("voxelmorph")
        card = card_for(network, name=name, **fields)
        path = folder / f"{name}.sprmodel.safetensors"
        write_bundle(Bundle(card, dict(network.state_dict())), path)
        return path

    return make


def test_without_any_model_there_is_the_method_that_needs_none(models, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "packaged_folder", lambda: tmp_path / "nowhere")
    (only,) = models.find_models()
    assert (only.name, only.path, only.problem) == ("instance", None, "")
    assert models.best_match([only], "MR brain") is only
    assert models.card_lines(only)


def test_a_model_is_imported_found_and_shown(models, bundle):
    fields = {"anatomy": "heart", "modality": "cine MRI", "authors": ("A", "B"), "optimum": {"lambda": 2.0}}
    model = models.import_model(bundle(**fields))
    assert model.path.parent == models.models_folder()
    assert model.title == "heart (heart, cine MRI)"
    assert model.optimum["lambda"] == 2.0
    found = {one.name: one for one in models.find_models()}
    assert found["heart"].card["anatomy"] == "heart"
    assert ("Authors", "A, B") in models.card_lines(found["heart"])
    own = [found["instance"], found["heart"]]
    expected = {"MR HEART": "heart", "Cardiac_cine_ED": "heart", "CT HEART": "instance", "": "instance"}
    assert {about: models.best_match(own, about).name for about in expected} == expected
    # Of those that come with the package, the one with the best overlap; never the one for anything.
    bundled = [model for model in found.values() if model.is_bundled]
    assert models.best_match([found["instance"], *bundled], "cine MRI of a heart").name.endswith("-semi")
    assert models.best_match([found["instance"], *bundled], "chest MRI").name == "instance"
    assert [one.name for one in models.search(own, "CINE heart")] == ["heart"]


@pytest.mark.parametrize("content", [b"", b"x" * 100, (2).to_bytes(8, "little") + b"{}", b"\xff" * 64])
def test_a_file_that_is_no_model_is_listed_with_its_problem(models, content):
    folder = models.models_folder()
    folder.mkdir(parents=True)
    path = folder / "broken.sprmodel.safetensors"
    path.write_bytes(content)
    model = next(one for one in models.find_models() if one.name == "broken")
    assert model.problem
    assert "cannot be used" in model.title
    assert models.card_lines(model)[-1][1] == model.problem
    with pytest.raises(InputError):
        models.import_model(path)


def test_another_kind_of_file_is_refused(models, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(InputError, match="another kind of file"):
        models.import_model(tmp_path / "weights.pt")


def test_the_panel_loads_no_torch():
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/SPRRegistration', sys.argv[1] + '/Testing/slicer']\n"
        "from harness import core; core.install()\n"
        "from SPRRegistrationLib import messages, models, session\n"
        "from SPRRegistrationLib.scene import charts, display, inputs, outputs, snapshots\n"
        "models.find_models(); heavy = {'torch', 'scipy', 'nibabel', 'SimpleITK', 'matplotlib', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)), 'qt' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[-2] == "[] False", done.stderr

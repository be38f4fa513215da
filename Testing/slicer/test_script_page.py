"""The page about scripts and the example for a folder of pairs, as they stand there, on the real worker."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

if None in (importlib.util.find_spec("slicer"), importlib.util.find_spec("PySide6")):
    pytest.skip("slicer-core or PySide6 is not installed", allow_module_level=True)

import slicer
from harness import application

pytestmark = pytest.mark.slicer

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "script-slicer.md"
EXAMPLE = ROOT / "docs" / "examples" / "register_folder_in_slicer.py"
SHAPE = (24, 22, 20)


def blob(shift):
    """A ball with texture, elsewhere for another shift in voxels."""
    places = np.moveaxis(np.indices(SHAPE), 0, -1) - np.array(SHAPE) / 2 - shift
    ball = 100 * np.exp(-((places / 5.0) ** 2).sum(axis=-1)) + 20 * np.sin(places / 2).sum(axis=-1)
    return ball.astype(np.float32)


@pytest.fixture
def script(script_module):
    """The logic of the module without its panel, on the real worker."""
    controllers = sys.modules["SPRRegistrationLib.qt.controllers"]
    command = sys.modules["SPRRegistrationLib.qt.process"].worker_command()
    controllers.shared().worker.command = command
    return script_module.SPRRegistrationLogic()


def load(path, kind="vtkMRMLScalarVolumeNode"):
    """Load an image, as `slicer.util.loadVolume` does."""
    node = slicer.mrmlScene.AddNewNodeByClass(kind, Path(path).name.split(".")[0])
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


def write(array, path, kind="vtkMRMLScalarVolumeNode"):
    node = slicer.mrmlScene.AddNewNodeByClass(kind)
    slicer.util.updateVolumeFromArray(node, array.transpose(2, 1, 0))
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    slicer.mrmlScene.RemoveNode(node)


@pytest.mark.slow
def test_a_script_gives_what_the_engine_gives(script):
    from SPRRegistrationLib.scene import geometry

    from SPRCore import BetaPrior, Volume, register

    nodes = []
    for name, shift in (("fixed", 0.0), ("moving", 1.5)):
        nodes.append(slicer.util.addVolumeFromArray(blob(shift).transpose(2, 1, 0).copy(), name=name))
    made = script.registerVolumes(*nodes, timeout=120, device="cpu", alignment="none", alpha=0.05, lambdaMax=0.5)
    volumes = [Volume(*geometry.image_of(node)) for node in nodes]
    expected = register(*volumes, prior=BetaPrior(alpha=0.05, lambda_max=0.5), init="none", device="cpu")
    seen, _affine = geometry.displacement_of(made.displacementTransform)
    assert np.abs(expected.displacement.array).max() > 1
    np.testing.assert_allclose(seen, expected.displacement.array, atol=0.05)
    np.testing.assert_allclose(geometry.image_of(made.weightVolume)[0], expected.weight.array, atol=0.02)


@pytest.mark.slow
def test_the_snippets_of_the_page_run(script, capsys):
    from SPRRegistrationLib.scene import samples

    samples.SHAPE, samples.SPACING_MM = (32, 24, 28), 10.5  # of a coarse grid, which takes less time
    samples.load()
    names = {"slicer": slicer}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        exec(block, names)
        if "run" in names:
            names.pop("run").wait(120)
    text = capsys.readouterr().out
    assert "done: Breathed in on Breathed out (deformed image)" in text
    assert "similarity" in text
    assert names["warped"].GetName() == "Breathed in, organs warped"
    assert names["softer"] is names["registration"]


def test_the_keywords_of_the_page_are_fields_and_their_values_are_taken(script):
    from SPRRegistrationLib import scripting
    from SPRRegistrationLib.parameters import SPRRegistrationParameters

    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(rows) > 10
    registration = SPRRegistrationParameters(slicer.mrmlScene.AddNode(script.createParameterNode()))
    for keys, values in rows:
        for name in re.findall(r"`(\w+)`", keys):
            assert name in scripting.fields()
            kind = type(getattr(registration, name))
            for value in re.findall(r'"(\w+)"', values) if name != "method" else ():
                kind(value)


@pytest.mark.slow
def test_a_folder_of_pairs_is_registered_and_continued(script, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(slicer.util, "loadVolume", load, raising=False)
    labels = "vtkMRMLLabelMapVolumeNode"
    monkeypatch.setattr(slicer.util, "loadLabelVolume", lambda path: load(path, labels), raising=False)
    for name, shift in (("one", 1.5), ("two", -1.0), ("flat", None)):
        folder = tmp_path / "pairs" / name
        folder.mkdir(parents=True)
        write(blob(0.0), folder / "fixed.nrrd")
        write(np.zeros(SHAPE, np.float32) if shift is None else blob(shift), folder / "moving.nrrd")
    write((blob(1.5) > 40).astype(np.int16), tmp_path / "pairs" / "one" / "moving_labels.nrrd", labels)
    (tmp_path / "pairs" / "empty").mkdir()
    names = {"__name__": "example"}
    exec(compile(EXAMPLE.read_text(encoding="utf-8"), str(EXAMPLE), "exec"), names)
    arguments = [str(tmp_path / "pairs"), str(tmp_path / "results"), "device=cpu", "alignment=none"]
    assert names["main"](arguments) == 1, "one pair failed"
    assert "flat: failed" in caplog.text
    assert "empty: no fixed.*" in caplog.text
    found = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results").rglob("*.*")}
    files = {"deformation.h5", "inverse.h5", "deformed.nrrd", "report.json"}
    expected = {f"{pair}/{file}" for pair in ("one", "two") for file in files} | {"one/deformed_labels.nrrd"}
    assert found == expected
    report = json.loads((tmp_path / "results" / "one" / "report.json").read_text(encoding="utf-8"))
    assert report["metrics"]["after"]["lncc"] > report["metrics"]["before"]["lncc"]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    assert names["main"](arguments) == 1
    assert {path: path.stat().st_mtime_ns for path in times} == times, "what is done is left out"
    assert application.process_events(0.1, lambda: True)

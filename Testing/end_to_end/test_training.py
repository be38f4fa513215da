"""`spr train` from the outside: killed and resumed, on two processes, from a recipe to a model that registers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from SPRCore.cli import main
from SPRCore.geometry import Volume
from SPRCore.io import read_bundle, write_volume
from SPRCore.networks.loading import build_from_bundle
from SPRCore.training.data.build import build_datasets
from SPRCore.training.distributed import Process
from SPRCore.training.hyper import default_setting
from SPRCore.training.journal import read_rows
from SPRCore.training.loop import train
from SPRCore.training.recipe import read_recipe
from SPRCore.training.state import list_checkpoints
from SPRCore.training.validate import validate

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
BEST = "tiny.sprmodel.safetensors"


@pytest.fixture
def one_thread():
    """As many threads as the child processes have, which sums of floating-point numbers depend on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def written(recipe, path):
    path.write_text(yaml.safe_dump(recipe.to_dict()), encoding="utf-8")
    return path


def command(path, *options):
    return [sys.executable, "-m", "SPRCore.cli", "train", str(path), *map(str, options)]


def tensors(folder, part="last"):
    return read_bundle(folder / part / BEST).tensors


def kill_after(path, folder, seconds):
    """Start or resume a run, and kill it some time after its first new checkpoint; False if it was done before."""
    before = list_checkpoints(folder)
    running = subprocess.Popen(command(path, "--resume"), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        while running.poll() is None and list_checkpoints(folder) == before:
            time.sleep(0.002)
        time.sleep(seconds)
    finally:
        alive = running.poll() is None
        if alive:
            os.kill(running.pid, signal.SIGKILL)
        running.wait()
    return alive


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_run_may_be_killed_at_any_moment_and_often(tiny_recipe, tmp_path, one_thread):
    changes = {
        "checkpoint__every": 1,
        "checkpoint__keep": 2,
        "optimiser__epochs": 40,
        "optimiser__ema": 0.9,
        "optimiser__accumulate": 2,
        "augmentation__noise": 0.05,
        "model__conditioning": "film",
        "model__codes": 2,
        "hyper": {"ranges": {"alpha": [0.0, 0.2], "lambda_max": [0.1, 3.0]}},
    }
    whole, parts = (tiny_recipe(output=str(tmp_path / name), **changes) for name in ("whole", "parts"))
    train(whole)
    path = written(parts, tmp_path / "recipe.yaml")
    for wait in np.random.default_rng(0).uniform(0.0, 0.5, 5):
        assert kill_after(path, parts.folder, wait), "the run was over before it could be killed"
    done = subprocess.run(command(path, "--resume"), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Resuming after step" in done.stdout
    for part in (".", "last"):
        for name, value in tensors(whole.folder, part).items():
            assert torch.equal(value, tensors(parts.folder, part)[name]), name
    assert not list(parts.folder.rglob(".partial-*"))
    rows = [
        [{name: value for name, value in row.items() if name != "seconds_per_step"} for row in read_rows(recipe.folder)]
        for recipe in (whole, parts)
    ]
    assert rows[0] == rows[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_are_one_with_accumulation(tiny_recipe, tmp_path):
    changes = {
        "model__conditioning": "film",
        "model__codes": 2,
        "hyper": {"ranges": {"alpha": [0.0, 0.2], "lambda_max": [0.1, 3.0]}},
        "loss__dice_weight": 1.0,
        "augmentation__noise": 0.02,
        "validation__pictures": 1,
    }
    alone = tiny_recipe(output=str(tmp_path / "alone"), optimiser__accumulate=2, **changes)
    train(alone)
    together = tiny_recipe(output=str(tmp_path / "together"), **changes)
    path = written(together, tmp_path / "recipe.yaml")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    launched = [*launcher, f"--master-port={free_port()}", "-m", *command(path)[2:]]
    done = subprocess.run(launched, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    for part in (".", "last"):
        for name, value in tensors(alone.folder, part).items():
            torch.testing.assert_close(value, tensors(together.folder, part)[name], rtol=1e-4, atol=1e-6)
    rows = [[row for row in read_rows(recipe.folder)] for recipe in (alone, together)]
    assert [row["kind"] for row in rows[0]] == [row["kind"] for row in rows[1]]
    for one, two in zip(*rows, strict=True):
        for name in set(one) - {"seconds_per_step", "kind"}:
            assert one[name] == pytest.approx(two[name], rel=1e-3, abs=1e-6), name
    assert done.stdout.count("best model:") == 1


def heart_on_disk(folder):
    """A pair of made-up hearts as files: moving, fixed and the labels of both."""
    from SPRCore.synthetic import shape_pair

    phantom = shape_pair(shape=(32, 32, 32), labels=4, scale_mm=20.0, amplitude_mm=10.0, seed=99)
    paths = []
    for name in ("fixed", "moving", "fixed_labels", "moving_labels"):
        paths.append(folder / f"{name}.nii.gz")
        volume = getattr(phantom, name)
        write_volume(Volume(volume.array, volume.affine), paths[-1])
    return paths


def register(paths, method, out):
    fixed, moving, fixed_labels, moving_labels = map(str, paths)
    options = ["--method", str(method), "--init", "none", "--device", "cpu", "--out", str(out)]
    assert (
        main(["register", fixed, moving, *options, "--fixed-labels", fixed_labels, "--moving-labels", moving_labels])
        == 0
    )
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_from_the_quick_recipe_to_a_registration(repository, tmp_path, capsys):
    recipe = repository / "Training" / "recipes" / "synthetic" / "quick.yaml"
    shorter = ["--set", "optimiser.epochs=null", "optimiser.steps=4", "--set", f"output={tmp_path / 'run'}"]
    assert main(["train", str(recipe), *shorter, "--set", "data.generated.train=4", "data.generated.validation=1"]) == 0
    said = capsys.readouterr().out
    assert "step 4 of 4, loss" in said
    assert "Dice 0." in said
    best = tmp_path / "run" / "synthetic-quick.sprmodel.safetensors"
    assert f"best model: {best}" in " ".join(said.split())
    paths = heart_on_disk(tmp_path)
    for place, model in (("best", best), ("last", best.parent / "last" / best.name)):
        report = register(paths, model, tmp_path / place)
        assert report["model"]["name"] == "synthetic-quick"
        assert report["metrics"]["after"]["folding_percent"] == 0.0
    assert main(["models", "verify", str(best)]) == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_quick_recipe_raises_dice_on_pairs_that_were_never_seen(repository, tmp_path, one_thread):
    """In 6 of its 10 epochs."""
    path = repository / "Training" / "recipes" / "synthetic" / "quick.yaml"
    recipe = read_recipe(path, [f"output={tmp_path / 'run'}", "optimiser.epochs=6"])
    start = time.process_time()
    best = train(recipe)
    seconds = time.process_time() - start
    data = build_datasets(recipe)
    setting = default_setting(recipe.loss, recipe.hyper)
    network = build_from_bundle(read_bundle(best))
    found = validate(network, data.test, setting, Process(device=torch.device("cpu")))
    assert found.summary["dice"] > found.summary["dice_before"] + 0.02
    assert found.summary["tre_mm"] < found.summary["tre_before_mm"]
    assert found.summary["folding_percent"] < 0.1
    assert sum(score["dice"] > score["dice_before"] for score in found.pairs) >= len(found.pairs) - 1
    assert seconds < 180, "one core alone takes longer than two may take"


def test_what_is_wrong_is_said_in_one_line(tiny_recipe, tmp_path, capsys):
    path = written(tiny_recipe(), tmp_path / "recipe.yaml")
    for wrong, words in (
        (["--set", "optimiser.lrr=1"], "did you mean 'lr'"),
        (["--set", "device=mps"], "device"),
        (["--set", "optimiser.lr"], "key=value"),
    ):
        if "mps" in wrong[1] and torch.backends.mps.is_available():
            continue
        assert main(["train", str(path), *wrong]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert main(["train", str(tmp_path / "nowhere.yaml")]) == 2


@pytest.mark.slow
def test_an_interrupt_says_how_to_go_on(tiny_recipe, tmp_path):
    recipe = tiny_recipe(checkpoint__every=1, optimiser__epochs=400)
    path = written(recipe, tmp_path / "recipe.yaml")
    running = subprocess.Popen(
        command(path), env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    while running.poll() is None and not list_checkpoints(recipe.folder):
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    said = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    step = int(list_checkpoints(recipe.folder)[-1].stem)
    assert said == f"spr: interrupted; spr train --resume resumes after step {step}\n"

"""What the loop does, on runs of seconds."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch

import SPRCore as spr
from SPRCore.errors import ConvergenceError, InputError, SPRError
from SPRCore.io import read_bundle
from SPRCore.training import loop
from SPRCore.training.data.build import build_datasets
from SPRCore.training.hyper import default_setting
from SPRCore.training.journal import read_rows
from SPRCore.training.loop import train
from SPRCore.training.state import list_checkpoints, read_checkpoint
from SPRCore.training.validate import measure


def weights(path):
    return read_bundle(path).tensors


def last(recipe):
    return weights(recipe.folder / "last" / "tiny.sprmodel.safetensors")


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


class Stop(Exception):
    """Raised where a test wants a run to end, as a killed process ends: without cleanup."""


def stop_at(step):
    def stop(status):
        if status.step == step and status.activity == "training":
            raise Stop

    return stop


def test_a_run_leaves_what_it_promises(tiny_recipe):
    recipe = tiny_recipe(validation__pictures=1)
    best = train(recipe)
    names = {path.relative_to(recipe.folder).as_posix() for path in recipe.folder.rglob("*") if path.is_file()}
    expected = {"recipe.yaml", "split.json", "metrics.jsonl", "checkpoints/000000012.safetensors"}
    expected |= {"tiny.sprmodel.safetensors", "last/tiny.sprmodel.safetensors", "pictures/curves.png"}
    expected |= {"pictures/pairs-000000006.png", "pictures/pairs-000000012.png"}
    assert names - {name for name in names if name.startswith("tensorboard/")} == expected
    assert best == recipe.folder / "tiny.sprmodel.safetensors"
    rows = read_rows(recipe.folder)
    assert [(row["kind"], row["step"]) for row in rows] == [("validation", 6), ("train", 12), ("validation", 12)]
    assert {"loss", "similarity", "smoothness", "prior", "gradient_norm", "lr"} <= set(rows[1])
    assert {"dice", "dice_before", "tre_mm", "folding_percent", "map_gap", "pairs"} <= set(rows[2])
    for path in (best, recipe.folder / "last" / best.name):
        assert not spr.load_model(path).training
    card = read_bundle(best).card
    assert {metric.name for metric in card.metrics} >= {"Dice, mean of the labels", "folded voxels in %"}
    assert card.defaults == {"alpha": 0.1, "lambda_max": 1.0}


def test_the_loss_falls_and_pairs_that_were_seen_agree_better(tiny_recipe):
    recipe = tiny_recipe(optimiser__epochs=40, optimiser__lr=1e-2, data__generated__train=2, validation__every=40)
    recipe = dataclasses.replace(recipe, loss=dataclasses.replace(recipe.loss, dice_weight=1.0))
    best = train(recipe)
    rows = [row for row in read_rows(recipe.folder) if row["kind"] == "train"]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.02
    data = build_datasets(recipe)
    network, setting = spr.load_model(best), default_setting(recipe.loss, None)
    pair = data.train[0]
    with torch.no_grad():
        score = measure(network(pair.moving, pair.fixed), pair, setting)
    assert score["dice"] > score["dice_before"] + 0.01


def test_a_run_that_ended_early_resumes_to_the_same_weights(tiny_recipe, tmp_path):
    changes = {"checkpoint__every": 2, "optimiser__ema": 0.9, "augmentation__noise": 0.02, "loss__dice_weight": 0.5}
    whole = tiny_recipe(output=str(tmp_path / "whole"), **changes)
    train(whole)
    for step in (1, 6, 9):  # before the first checkpoint, at the end of an epoch, between two checkpoints
        parts = tiny_recipe(output=str(tmp_path / f"parts-{step}"), **changes)
        with pytest.raises(Stop):
            train(parts, progress=stop_at(step))
        train(parts, resume=True)
        check_same(whole, parts)


def check_same(whole, parts):
    assert equal(last(whole), last(parts))
    states = [read_checkpoint(list_checkpoints(recipe.folder)[-1]) for recipe in (whole, parts)]
    for part in ("network", "mean", "optimiser"):
        assert equal(*(state.tensors[part] for state in states)), part
    timeless = [
        [{key: value for key, value in row.items() if key != "seconds_per_step"} for row in read_rows(recipe.folder)]
        for recipe in (whole, parts)
    ]
    assert timeless[0] == timeless[1]
    assert equal(*(weights(recipe.folder / "tiny.sprmodel.safetensors") for recipe in (whole, parts)))


def test_a_hyper_model_takes_its_codes_and_resumes(tiny_recipe, tmp_path):
    changes = {
        "model__conditioning": "film",
        "model__codes": 2,
        "hyper": {"ranges": {"alpha": [0.0, 0.2], "lambda_max": [0.1, 3.0]}},
        "checkpoint__every": 1,
    }
    whole, parts = (tiny_recipe(output=str(tmp_path / name), **changes) for name in ("whole", "parts"))
    best = train(whole)
    with pytest.raises(Stop):
        train(parts, progress=stop_at(4))
    train(parts, resume=True)
    assert equal(last(whole), last(parts))
    card = read_bundle(best).card
    assert card.conditioning == ("alpha", "lambda_max")
    assert card.ranges["lambda_max"] == (0.1, 3.0)
    network = spr.load_model(best)
    pair = torch.rand(2, 1, 1, 16, 16, 16)
    one, two = (network(*pair, code=torch.tensor([code])).displacement for code in ([0.1, 0.2], [0.9, 0.9]))
    assert not torch.equal(one, two)


def test_a_hyper_model_of_the_total_variation_prior(tiny_recipe):
    """It trains, and the bundle registers within the ranges of its card and says where they end."""
    recipe = tiny_recipe(
        **{
            "model__weight": "tv",
            "model__conditioning": "film",
            "model__codes": 2,
            "loss": {"prior": "tv", "tv": 0.2, "lambda_max": 10.0, "map_weight_pull": 0.1},
            "hyper": {"ranges": {"tv": [0.05, 1.0], "lambda_max": [1.0, 50.0]}},
            "optimiser__epochs": 1,
        }
    )
    best = train(recipe)
    card = read_bundle(best).card
    assert (card.prior, card.conditioning) == ("tv", ("tv", "lambda_max"))
    assert card.defaults == {"tv": 0.2, "lambda_max": 10.0}
    images = [spr.Volume(array, np.eye(4)) for array in np.random.default_rng(0).random((2, 16, 16, 16), np.float32)]
    asked = spr.TotalVariationPrior(tv=0.5, lambda_max=20.0)
    result = spr.register(*images, method=best, prior=asked, init="none", device="cpu")
    assert result.report["hyperparameters"] == {"prior": "tv", "tv": 0.5, "lambda_max": 20.0}
    assert 0 < result.weight.array.min() <= result.weight.array.max() <= 1
    with pytest.raises(InputError, match=r"tv: got 2; expected 0\.05 to 1"):
        spr.register(*images, method=best, prior=spr.TotalVariationPrior(tv=2.0), init="none", device="cpu")


def test_hypermorph_trains(tiny_recipe):
    recipe = tiny_recipe(
        **{
            "model__weight": None,
            "model__conditioning": "film",
            "model__codes": 1,
            "loss": {"prior": "uniform", "strength": 0.4},
            "hyper": {"ranges": {"lambda": [0.0, 1.0]}, "weighting": "hypermorph"},
            "optimiser__epochs": 1,
        }
    )
    card = read_bundle(train(recipe)).card
    assert (card.prior, card.conditioning, card.defaults) == ("uniform", ("lambda",), {"lambda": pytest.approx(2 / 3)})
    assert (card.weighting, card.ranges) == ("hypermorph", {"lambda": (0.0, pytest.approx(99.0))})


def test_accumulated_batches_are_one_large_batch(tiny_recipe, tmp_path):
    shared = {"optimiser__steps": 4, "optimiser__epochs": None}
    large = tiny_recipe(output=str(tmp_path / "large"), optimiser__batch=2, **shared)
    small = tiny_recipe(output=str(tmp_path / "small"), optimiser__accumulate=2, **shared)
    train(large)
    train(small)
    for name, value in last(large).items():
        torch.testing.assert_close(value, last(small)[name], rtol=1e-4, atol=1e-6)


def test_an_epoch_that_does_not_divide_ends_in_a_smaller_step(tiny_recipe):
    recipe = tiny_recipe(optimiser__accumulate=4)
    train(recipe)
    assert read_checkpoint(list_checkpoints(recipe.folder)[-1]).step == 4  # 4 and 2 pairs, twice


def test_the_running_mean_is_what_is_shipped(tiny_recipe):
    recipe = tiny_recipe(optimiser__ema=0.9)
    train(recipe)
    kept = read_checkpoint(list_checkpoints(recipe.folder)[-1]).tensors
    assert equal(last(recipe), kept["mean"])
    assert not equal(last(recipe), kept["network"])


def test_the_rate_falls_as_the_paper_says(tiny_recipe):
    recipe = tiny_recipe(optimiser__epochs=None, optimiser__steps=20)
    train(recipe)
    (row,) = [row for row in read_rows(recipe.folder) if row["kind"] == "train"]
    assert row["lr"] == pytest.approx(1e-3 * (1 / 20) ** 0.9)


def test_half_precision_keeps_fields_and_loss_whole(tiny_recipe, monkeypatch):
    kinds = set()
    plain = loop.batch_loss

    def spied(output, *rest):
        kinds.update(value.dtype for value in vars(output).values() if value is not None)
        return plain(output, *rest)

    monkeypatch.setattr(loop, "batch_loss", spied)
    recipe = tiny_recipe(precision="bf16", optimiser__epochs=1)
    train(recipe)
    assert kinds == {torch.float32}
    assert all(value.dtype == torch.float32 for value in last(recipe).values())


def test_numbers_that_are_none_stop_the_run_and_the_batch_is_kept(tiny_recipe, monkeypatch):
    from safetensors import safe_open

    plain = loop.batch_loss

    def poisoned(*arguments):
        parts = plain(*arguments)
        if poisoned.calls == 7:
            parts |= {"smoothness": parts["smoothness"] * float("nan"), "loss": parts["loss"] * float("nan")}
        poisoned.calls += 1
        return parts

    poisoned.calls = 0
    monkeypatch.setattr(loop, "batch_loss", poisoned)
    recipe = tiny_recipe(optimiser__accumulate=2, checkpoint__every=2)  # the eighth pair is in the fourth step
    with pytest.raises(ConvergenceError, match=r"smoothness.*lower optimiser\.lr") as caught:
        train(recipe)
    assert "step 4" in str(caught.value)
    (path,) = recipe.folder.glob("not-finite-*.safetensors")
    assert str(path) in str(caught.value)
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["batch"])
        assert file.get_tensor("1/moving").shape == (1, 1, 16, 16, 16)
    assert facts["parts"][1]["smoothness"] == "nan"
    assert len(facts["pairs"]) == 2
    kept = read_checkpoint(list_checkpoints(recipe.folder)[-1])
    assert kept.step == 3
    assert all(bool(value.isfinite().all()) for value in kept.tensors["network"].values())
    monkeypatch.undo()
    train(recipe, resume=True)


def test_want_of_memory_names_the_knob(tiny_recipe, monkeypatch):
    def hungry(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(loop, "batch_loss", hungry)
    recipe = tiny_recipe(optimiser__batch=2)
    with pytest.raises(SPRError, match=r"16 x 16 x 16.*optimiser\.batch=1 --set optimiser\.accumulate=2") as caught:
        train(recipe)
    assert "model.half_resolution=true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_errors_keep_their_name(tiny_recipe, monkeypatch):
    def broken(*_):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(loop, "batch_loss", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        train(tiny_recipe())


def test_a_run_is_not_trained_over(tiny_recipe):
    recipe = tiny_recipe(optimiser__epochs=1)
    train(recipe)
    with pytest.raises(InputError, match="--resume"):
        train(recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser__lr": 2e-3}, "optimiser.lr"),
        ({"loss__alpha": 0.3}, "loss.alpha"),
        ({"seed": 5}, "seed"),
        ({"data__split": {"seed": 3}}, "split"),
    ],
)
def test_another_run_is_not_resumed(tiny_recipe, change, message):
    with pytest.raises(Stop):
        train(tiny_recipe(checkpoint__every=1), progress=stop_at(2))
    with pytest.raises(InputError, match=message):
        train(tiny_recipe(checkpoint__every=1, **change), resume=True)


def test_what_does_not_change_the_weights_may_change(tiny_recipe):
    with pytest.raises(Stop):
        train(tiny_recipe(checkpoint__every=1), progress=stop_at(2))
    train(tiny_recipe(checkpoint__every=3, validation__pairs=1, card={"anatomy": "none"}), resume=True)


def test_resume_without_a_run_begins_one(tiny_recipe, caplog):
    with caplog.at_level(logging.INFO, logger="SPRCore"):
        train(tiny_recipe(optimiser__epochs=1), resume=True)
    assert "starting from step 0" in caplog.text


def test_the_callers_random_numbers_stay_their_own(tiny_recipe):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(tiny_recipe(optimiser__epochs=1))
    assert torch.equal(torch.rand(2), expected)


def test_defaults_outside_the_ranges_are_refused_before_the_first_step(tiny_recipe):
    recipe = tiny_recipe(
        **{"model__conditioning": "film", "model__codes": 1, "hyper": {"ranges": {"lambda_max": [2.0, 3.0]}}}
    )
    with pytest.raises(InputError, match="lambda_max"):
        train(recipe)
    assert not recipe.folder.exists()


def test_the_status_has_the_progress(tiny_recipe):
    seen = []
    train(tiny_recipe(), progress=seen.append)
    assert [status.step for status in seen if status.activity == "training"] == list(range(1, 13))
    assert {status.activity for status in seen} == {"training", "validating, 50%", "validating, 100%", "validated"}
    assert seen[-1].seconds_left == 0.0
    assert seen[-1].validation["dice"] > 0
    assert seen[0].epoch == 1
    assert seen[-1].epoch == 2
    assert dataclasses.asdict(seen[0])["steps"] == 12


def test_a_resumed_run_keeps_an_edited_recipe(tiny_recipe):
    recipe = tiny_recipe(optimiser__epochs=1)
    train(recipe)
    path = recipe.folder / "recipe.yaml"
    path.write_text(f"# mine\n{path.read_text()}")
    train(recipe, resume=True)
    assert path.read_text().startswith("# mine\n")


@pytest.mark.parametrize("name", ["recipe.yaml", "split.json", "metrics.jsonl", "tiny.sprmodel.safetensors"])
def test_files_that_no_run_has_written_stay(tiny_recipe, name):
    recipe = tiny_recipe()
    recipe.folder.mkdir()
    (recipe.folder / name).write_text("mine: 1\n")
    for resume in (False, True):
        with pytest.raises(InputError, match=f"{name}: got a file that no training has written"):
            train(recipe, resume=resume)
    assert [path.name for path in recipe.folder.iterdir()] == [name]

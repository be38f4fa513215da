"""The instance solver as a teacher: its displacements are what the solver finds, kept once, and learned from."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from SPRCore.config import ConfigError
from SPRCore.errors import InputError
from SPRCore.functional import warp
from SPRCore.networks import RegistrationOutput
from SPRCore.registration.instance import InstanceConfig, InstanceProblem
from SPRCore.regularization import BetaPrior
from SPRCore.training.data.build import build_datasets
from SPRCore.training.hyper import default_setting, setting_of
from SPRCore.training.journal import read_rows
from SPRCore.training.loop import train
from SPRCore.training.losses import batch_loss
from SPRCore.training.validate import measure_sliders

RANGES = {"alpha": [0.01, 0.1], "lambda_max": [0.1, 2.0]}


@pytest.fixture
def taught(tiny_recipe, tmp_path):
    """Make a recipe of a hyper model with a teacher."""

    def make(**changes):
        values = {
            "model__conditioning": "film",
            "model__codes": 2,
            "hyper": {"ranges": RANGES},
            "data__cache": str(tmp_path / "cache"),
            "data__generated__train": 2,
            "loss__teacher": {"weight": 0.1, "change_weight": 0.2, "settings": 2},
        }
        return tiny_recipe(**values | changes)

    return make


@pytest.fixture
def files(tmp_path):
    """The files of the teacher."""
    return lambda: sorted((tmp_path / "cache" / "teacher").glob("*.safetensors"))


def test_the_displacements_are_those_of_the_solver_at_the_settings_that_are_given(taught):
    recipe = taught()
    pair = build_datasets(recipe).train.solved(0)
    assert len(pair) == 2
    assert pair.settings[0] != pair.settings[1]
    one = pair.split()[0]
    problem = InstanceProblem.of(one.fixed, one.moving, one.spacing)
    start = problem.course(recipe.loss.make_prior()).completed().velocity_mm
    problem = dataclasses.replace(problem, config=InstanceConfig.refining(16))
    for field, values in zip(pair.teacher_vox, pair.settings, strict=True):
        for name, (low, high) in RANGES.items():
            assert low <= values[name] <= high
        found = problem.course(BetaPrior(**values), start).completed().displacement_vox[0]
        torch.testing.assert_close(field, found, atol=0.01, rtol=0)
        assert float(found.abs().max()) > 0.5


def test_files_are_computed_once_and_again_for_another_seed(taught, files):
    build_datasets(taught())
    first = {path: path.stat().st_mtime_ns for path in files()}
    assert len(first) == 4  # two training and two validation pairs
    build_datasets(taught())
    assert {path: path.stat().st_mtime_ns for path in files()} == first
    build_datasets(taught(seed=1))
    assert len(files()) == 8


def test_an_interrupted_computation_goes_on(taught, files, monkeypatch):
    prepared, seen = InstanceProblem.of, []

    def interrupted(*arguments, **options):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return prepared(*arguments, **options)

    monkeypatch.setattr(InstanceProblem, "of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_datasets(taught())
    first = {path: path.stat().st_mtime_ns for path in files()}
    assert len(first) == 2
    monkeypatch.undo()
    build_datasets(taught())
    assert len(files()) == 4
    assert {path: path.stat().st_mtime_ns for path in first} == first


def test_a_damaged_file_is_refused(taught, files):
    data = build_datasets(taught())
    for path in files():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="a file that cannot be read; expected displacements of the solver"):
        data.train.solved(0)


def test_training_sees_a_pair_under_two_of_its_settings(taught):
    train_set = build_datasets(taught()).train
    whole, drawn = train_set.solved(0), train_set[(0, 0)]
    assert len(drawn) == 2
    assert sorted(map(str, drawn.settings)) == sorted(map(str, whole.settings))
    assert train_set[0].teacher_vox is None
    alone = build_datasets(taught(loss__teacher={"settings": 2})).train[(0, 0)]
    assert len(alone) == 1
    assert alone.settings[0] in whole.settings


def test_a_flipped_displacement_registers_the_flipped_pair(taught):
    data = build_datasets(taught(augmentation={"flip": [0, 2]})).train
    whole, seen = data.solved(0), set()
    first = whole.moving[:1]
    for epoch in range(8):
        drawn = data[(epoch, 0)]
        axes = next(
            axes for axes in ((), (2,), (4,), (2, 4)) if torch.equal(whole.moving[:1].flip(axes), drawn.moving[:1])
        )
        seen.add(axes)
        for one in drawn.split():
            field = whole.teacher_vox[[whole.settings.index(one.settings[0])]]
            before = warp(first, field).flip(axes)
            torch.testing.assert_close(warp(one.moving, one.teacher_vox), before, atol=2e-3, rtol=0)
    assert len(seen) > 2


def test_a_pair_with_a_teacher_is_not_bent(taught):
    data = build_datasets(taught(augmentation={"bend_mm": 3.0}))
    with pytest.raises(InputError, match="bend_mm: got data with landmarks, or with a teacher"):
        data.train[(0, 0)]


def test_the_loss_is_the_distance_in_mm(taught):
    recipe = taught()
    batch = build_datasets(recipe).train[(0, 0)]
    settings = [setting_of(values, recipe.loss, recipe.hyper) for values in batch.settings]
    shift = torch.tensor([0.5, 0.0, -1.0]).view(1, 3, 1, 1, 1)
    shifts = torch.cat([shift, -shift])
    output = RegistrationOutput(displacement=batch.teacher_vox + shifts, weight=torch.ones_like(batch.fixed))
    parts = batch_loss(output, batch, settings, recipe.loss)
    squared = float(((shift * torch.tensor(batch.spacing).view(1, 3, 1, 1, 1)) ** 2).sum())
    assert float(parts["teacher"]) == pytest.approx(0.1 * ((squared + 1) ** 0.5 - 1), rel=1e-4)
    assert float(parts["teacher_change"]) == pytest.approx(0.2 * ((4 * squared + 1) ** 0.5 - 1), rel=1e-4)
    others = sum(float(parts[name]) for name in ("similarity", "smoothness", "prior", "teacher", "teacher_change"))
    assert float(parts["loss"]) == pytest.approx(others, rel=1e-5)
    exact = dataclasses.replace(output, displacement=batch.teacher_vox)
    assert float(batch_loss(exact, batch, settings, recipe.loss)["teacher"]) == 0


def test_a_batch_without_displacements_is_refused(taught):
    recipe = taught()
    pair = build_datasets(recipe).train[0]
    output = RegistrationOutput(displacement=torch.zeros(1, 3, 16, 16, 16), weight=torch.ones_like(pair.fixed))
    with pytest.raises(InputError, match="a pair without the solver's displacement"):
        batch_loss(output, pair, [default_setting(recipe.loss, recipe.hyper)], recipe.loss)


class _Solver:
    """A network that returns given displacements in turn."""

    def __init__(self, fields):
        self.fields = iter(fields.split(1))

    def __call__(self, *_, inverse):
        return RegistrationOutput(displacement=next(self.fields))


@pytest.mark.parametrize(("factor", "fidelity"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.75), (-1.0, -3.0)])
def test_sliders_are_compared_with_the_solver(taught, factor, fidelity):
    recipe = taught()
    batch = build_datasets(recipe).validation.solved(0)
    settings = [setting_of(values, recipe.loss, recipe.hyper) for values in batch.settings]
    mean = batch.teacher_vox.mean(dim=0, keepdim=True)
    found = measure_sliders(_Solver(mean + factor * (batch.teacher_vox - mean)), batch, settings)
    assert found["slider_fidelity"] == pytest.approx(fidelity, abs=1e-5)
    assert found["slider_gain"] == pytest.approx(factor, abs=1e-5)


def test_a_run_with_a_teacher_comes_closer_to_the_solver(taught):
    recipe = taught(optimiser__epochs=30, optimiser__lr=1e-2, validation__every=15)
    train(recipe)
    rows = [row for row in read_rows(recipe.folder) if row["kind"] == "validation"]
    assert {"teacher_mm", "slider_fidelity", "slider_correlation", "slider_gain"} <= set(rows[0])
    steps = [row for row in read_rows(recipe.folder) if row["kind"] == "train"]
    assert steps[-1]["teacher"] < steps[0]["teacher"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1}, "weight: got -1"),
        ({"settings": 1, "change_weight": 0.1}, "settings: got 1; expected 2 or more"),
    ],
)
def test_values_out_of_range_are_refused(taught, values, message):
    with pytest.raises(ConfigError, match=message):
        taught(loss__teacher=values)

"""The training loop, top to bottom: a recipe in, a folder with a model out.

The loop has no hidden state. The pairs of a step, their augmentation, the hyperparameters and the random numbers of the
network follow from the seed and the number of the pair since the start. So a killed run resumes from its last
checkpoint with the same result, and several processes see the pairs that one process would see.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from SPRCore.functional import kept_memory
from SPRCore.io.atomic import atomic_path
from SPRCore.networks import RegistrationNetwork, RegistrationOutput, build
from SPRCore.training.batches import Batch
from SPRCore.training.data.build import Datasets, build_datasets
from SPRCore.training.data.sampler import EpochSampler
from SPRCore.training.distributed import Process, averaging, process_group
from SPRCore.training.guards import check_finite, guarded_memory
from SPRCore.training.hyper import LossSetting, default_setting, draw_setting, setting_of
from SPRCore.training.journal import Journal, read_rows
from SPRCore.training.losses import batch_loss
from SPRCore.training.model_card import LAST, card_of, write_model
from SPRCore.training.recipe import Recipe
from SPRCore.training.resume import RECIPE, SPLIT, check_folder, check_same_run, identity
from SPRCore.training.start import start_from
from SPRCore.training.state import (
    Checkpoint,
    RunningMean,
    list_checkpoints,
    optimiser_tensors,
    read_checkpoint,
    remove_partial_files,
    restore_optimiser,
    write_checkpoint,
)
from SPRCore.training.validate import SolvedSettings, Validation, score, validate
from SPRCore.typing import Tensor

logger = logging.getLogger("SPRCore")

_LOG_EVERY = 20
"""Steps averaged in one line of the journal."""


@dataclass(frozen=True, kw_only=True)
class TrainingStatus:
    """Progress of a training run.

    Attributes:
        step: Optimiser steps made.
        steps: Optimiser steps in total.
        epoch: Number of the epoch, from 1.
        activity: Current activity, for display.
        loss: Loss of the last step, or None before the first.
        seconds_left: Estimate, or None before the first step.
        validation: Metrics of the last validation by name; empty before the first.
        is_validated: Whether this call reports a validation that has just ended.
    """

    step: int
    steps: int
    epoch: int
    activity: str
    loss: float | None = None
    seconds_left: float | None = None
    validation: dict[str, float] = field(default_factory=dict)
    is_validated: bool = False


def train(recipe: Recipe, *, resume: bool = False, progress: Callable[[TrainingStatus], None] | None = None) -> Path:
    """Train a model.

    Started by `torchrun` it is one of several processes. The folder of the run gets `recipe.yaml` with every default
    written out, `split.json`, `checkpoints/`, `metrics.jsonl`, `pictures/`, `tensorboard/` (if installed), the best
    model so far as `NAME.sprmodel.safetensors` and the latest one in `last/`.

    Args:
        recipe: The recipe.
        resume: Resume the run in the folder; without a checkpoint there, start it.
        progress: Called after every step and during validation.

    Returns:
        The bundle of the best model.

    Raises:
        InputError: Recipe or data cannot be used, or the folder holds another run.
        ConvergenceError: The loss became NaN or infinite; the batch was saved.
        SPRError: Out of memory; the message names the settings to change.
    """
    card_of(recipe)  # raises before the first step what would fail after the last
    with process_group(recipe.device) as process, kept_memory():
        devices = [process.device] if process.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            with process.first_process_first():
                if process.is_first:
                    check_folder(recipe, resume)
                datasets = build_datasets(recipe)
            run = _Run(recipe, datasets, process, progress)
            run.start(resume)
            try:
                return run.finish()
            finally:
                run.close()


class _Run:
    """State of one process of a run, and its steps, epochs and checkpoints."""

    def __init__(
        self, recipe: Recipe, datasets: Datasets, process: Process, progress: Callable[[TrainingStatus], None] | None
    ) -> None:
        self.recipe, self.data, self.process, self.progress = recipe, datasets, process, progress
        self.folder, self.options = recipe.folder, recipe.optimiser
        torch.manual_seed(recipe.seed)
        self.network: RegistrationNetwork = build(recipe.model).to(process.device).train()
        if recipe.start is not None:
            start_from(self.network, recipe.start, recipe.reinit)
        self.mean = RunningMean(self.network, self.options.ema) if self.options.ema else None
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.options.lr, amsgrad=self.options.amsgrad)
        self.sampler = EpochSampler(
            len(datasets.train),
            per_epoch=recipe.data.pairs_per_epoch,
            seed=recipe.seed,
            rank=process.rank,
            world=process.world,
        )
        self.per_step = self.options.batch * self.options.accumulate
        self.per_epoch = -(-len(self.sampler) // self.per_step)
        self.steps = self.options.steps or self.options.epochs * self.per_epoch
        self.step, self.best, self.validation = 0, None, {}
        self.sums: dict[str, float] = {}
        self.identity = identity(recipe, datasets.split, process.world)
        self.journal: Journal | None = None

    @property
    def evaluated(self) -> RegistrationNetwork:
        """Network that is validated and written: the running mean where there is one."""
        return self.network if self.mean is None else self.mean.network

    def start(self, resume: bool) -> None:
        """Load the last checkpoint, if any, and prepare the folder."""
        found = list_checkpoints(self.folder)
        if resume and found:
            self._restore(read_checkpoint(found[-1]))
            logger.info("Resuming after step %d of %d.", self.step, self.steps)
        elif resume:
            logger.info("No checkpoint in %s: starting from step 0.", self.folder)
        self.trained = self.process.wrapped(self.network)
        self.began, self.first = time.monotonic(), self.step
        if self.process.is_first:
            remove_partial_files(self.folder)
            for name, text in ((RECIPE, self.recipe.to_yaml()), (SPLIT, json.dumps(self.data.split, indent=1) + "\n")):
                if resume and found and (self.folder / name).exists():
                    continue  # the recipe in the folder may be the input
                with atomic_path(self.folder / name) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            self.journal = Journal(self.folder, self.step)

    def finish(self) -> Path:
        """Run the remaining steps."""
        loader = self._loader()
        while self.step < self.steps:
            epoch, done = divmod(self.step, self.per_epoch)
            self.sampler.start(epoch, done * self.per_step)
            batches = iter(loader)
            while self.step < self.steps and (group := list(islice(batches, self.options.accumulate))):
                self._step(group)
                at_end = self.step % self.per_epoch == 0 or self.step == self.steps
                if not at_end and self.step % self.recipe.checkpoint.every == 0:
                    self._save()
            self._end_epoch(epoch)
        return self.folder / f"{self.recipe.name}.sprmodel.safetensors"

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()

    def _loader(self) -> DataLoader:
        return DataLoader(
            self.data.train,
            batch_size=self.options.batch,
            sampler=self.sampler,
            collate_fn=Batch.joined,
            num_workers=self.recipe.workers,
            persistent_workers=self.recipe.workers > 0,
            pin_memory=self.process.device.type == "cuda",
            generator=torch.Generator(),  # otherwise each epoch draws from the global generator
        )

    def _step(self, group: list[Batch]) -> None:
        """Make one optimiser step on the mean loss of a group of batches."""
        for part in self.optimiser.param_groups:
            part["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        batches, parts = [], []
        total = sum(map(len, group))
        with guarded_memory(self.recipe, group[0].fixed.shape[2:], self.process.device):
            for batch in (batch.to(self.process.device) for batch in group):
                before = sum(map(len, batches))
                batches.append(batch)
                with averaging(self.trained, len(batches) == len(group)):
                    losses = self._losses(batch, before)
                    (losses["loss"] * (len(batch) / total)).backward()
                parts.append({name: value.detach() for name, value in losses.items()})
            norm = _gradient_norm(self.network)
            values = [dict(zip(part, torch.stack(list(part.values())).tolist(), strict=True)) for part in parts]
            check_finite(norm, batches, values, self.step + 1, self.folder, self.process.rank)
            self.optimiser.step()
        self.step += 1
        if self.mean is not None:
            self.mean.update(self.network, self.step)
        self._record(values, float(norm), [len(batch) / total for batch in group])

    def _losses(self, batch: Batch, before: int) -> dict[str, Tensor]:
        """Compute the mean loss of a batch, which `before` pairs of the same step precede."""
        epoch, done = divmod(self.step, self.per_epoch)
        offset = (done * self.per_step + before) * self.process.world + self.process.rank
        first = epoch * len(self.sampler) * self.process.world + offset
        numbers = [first + number * self.process.world for number in range(len(batch))]
        loss, hyper = self.recipe.loss, self.recipe.hyper
        if batch.settings is None:
            settings = [draw_setting(loss, hyper, self.recipe.seed, number) for number in numbers]
        else:
            settings = [setting_of(values, loss, hyper) for values in batch.settings]
        torch.manual_seed(_mixed(self.recipe.seed, first))
        output = self._forward(batch, settings)
        return batch_loss(output, batch, settings, loss)

    def _forward(self, batch: Batch, settings: list[LossSetting]) -> RegistrationOutput:
        code = batch.moving.new_tensor([setting.code for setting in settings]) if settings[0].code else None
        low = self.recipe.precision == "bf16"
        with torch.autocast(self.process.device.type, dtype=torch.bfloat16, enabled=low):
            return self.trained(batch.moving, batch.fixed, code, inverse=self.recipe.loss.symmetric)

    def _rate(self) -> float:
        return self.options.lr * (1.0 - self.step / self.steps) ** self.options.decay_power

    def _record(self, values: list[dict[str, float]], norm: float, shares: list[float]) -> None:
        """Add a step to the means of the journal, and report it."""
        step = {name: sum(share * part[name] for share, part in zip(shares, values, strict=True)) for name in values[0]}
        for name, value in (step | {"gradient_norm": norm, "count": 1.0}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.step % _LOG_EVERY == 0 or self.step == self.steps:
            self._share_sums()
            count = self.sums.pop("count")
            means = {name: total / count for name, total in self.sums.items()}
            self.sums = {}
            if self.journal is not None:
                speed = (time.monotonic() - self.began) / (self.step - self.first)
                rate = self.optimiser.param_groups[0]["lr"]
                self.journal.write("train", self.step, {**means, "lr": rate, "seconds_per_step": speed})
        self._report("training", loss=step["loss"])

    def _share_sums(self) -> None:
        """Average the sums over the processes."""
        gathered = self.process.gathered([self.sums])
        self.sums = {name: sum(sums[name] for sums in gathered) / len(gathered) for name in self.sums}

    def _end_epoch(self, epoch: int) -> None:
        if (epoch + 1) % self.recipe.validation.every == 0 or self.step == self.steps:
            self._validate()
        self._save()

    def _validate(self) -> None:
        """Measure the network, write it if it is the best so far, and record both."""
        pairs, pictures = self.data.validation, self.recipe.validation.pictures
        found = validate(
            self.evaluated,
            Subset(pairs, range(min(len(pairs), self.recipe.validation.pairs or len(pairs)))),
            default_setting(self.recipe.loss, self.recipe.hyper),
            self.process,
            solved=self._solved,
            pictures=pictures,
            report=lambda share: self._report(f"validating, {share:.0%}"),
        )
        self.validation, value = found.summary, score(found.summary)
        is_best = self.best is None or value > self.best
        self.best = value if is_best else self.best
        self._report("validated", is_validated=True)
        if not self.process.is_first:
            return
        if is_best:
            write_model(self.evaluated, self.recipe, self.folder, self.step, found.summary)
        write_model(self.evaluated, self.recipe, self.folder / LAST, self.step, found.summary)
        self.journal.write("validation", self.step, {**found.summary, "best": is_best})
        if pictures:
            self._draw(found)

    def _solved(self, number: int) -> SolvedSettings | None:
        """Return a validation pair under each setting of the teacher; None without a teacher."""
        batch = self.data.validation.solved(number)
        if batch is None:
            return None
        return batch, [setting_of(values, self.recipe.loss, self.recipe.hyper) for values in batch.settings]

    def _draw(self, found: Validation) -> None:
        from SPRCore.training.pictures import curves_figure, pairs_figure  # matplotlib, in one process alone

        title = f"{self.recipe.name}, step {self.step} of {self.steps}"
        self.journal.picture(f"pairs-{self.step:09d}", self.step, pairs_figure(found.shown, title))
        self.journal.picture("curves", self.step, curves_figure(read_rows(self.folder), title))

    def _save(self) -> None:
        """Write a checkpoint."""
        self._share_sums()
        if not self.process.is_first:
            return
        tensors = {"network": self.network.state_dict(), "optimiser": optimiser_tensors(self.optimiser)}
        if self.mean is not None:
            tensors["mean"] = self.mean.network.state_dict()
        facts = {"best": self.best, "sums": self.sums, "validation": self.validation, "identity": self.identity}
        checkpoint = Checkpoint(step=self.step, tensors=tensors, facts=facts)
        write_checkpoint(self.folder, checkpoint, self.recipe.checkpoint.keep)

    def _restore(self, checkpoint: Checkpoint) -> None:
        check_same_run(checkpoint.facts["identity"], self.identity)
        self.network.load_state_dict(checkpoint.tensors["network"])
        restore_optimiser(self.optimiser, checkpoint.tensors["optimiser"])
        if self.mean is not None:
            self.mean.network.load_state_dict(checkpoint.tensors["mean"])
        self.step, facts = checkpoint.step, checkpoint.facts
        self.best, self.sums, self.validation = facts["best"], facts["sums"], facts["validation"]

    def _report(self, activity: str, **facts: Any) -> None:
        if self.progress is None or not self.process.is_first:
            return
        done = self.step - self.first
        left = (time.monotonic() - self.began) / done * (self.steps - self.step) if done else None
        epoch = min(self.step // self.per_epoch + 1, -(-self.steps // self.per_epoch))
        facts |= {"step": self.step, "steps": self.steps, "epoch": epoch, "activity": activity}
        self.progress(TrainingStatus(seconds_left=left, validation=self.validation, **facts))


def _gradient_norm(network: torch.nn.Module) -> Tensor:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))


def _mixed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))

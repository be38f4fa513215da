"""The training loop, top to bottom: a recipe in, a folder with a model out.

The loop holds no hidden state. Which pairs a step sees, how they are augmented, which hyperparameters are drawn and
which random numbers the network takes all follow from the seed and the number of the pair since the start. So a run
that was killed goes on from its last checkpoint as if nothing had happened, and processes that share a step see what
one process would have seen.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from SPRCore.functional import kept_memory
from SPRCore.io.atomic import atomic_path
from SPRCore.networks import RegistrationNetwork, RegistrationOutput, build
from SPRCore.training.batches import Item, as_list, pair_of, stacked
from SPRCore.training.data.build import Datasets, build_datasets
from SPRCore.training.data.sampler import EpochSampler
from SPRCore.training.distributed import Process, averaging, process_group
from SPRCore.training.guards import guarded_memory, stop_if_not_finite
from SPRCore.training.hyper import Setting, draw_setting, usual_setting
from SPRCore.training.journal import Journal, read_rows
from SPRCore.training.losses import Pair, batch_loss
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
    restore_optimiser,
    sweep,
    write_checkpoint,
)
from SPRCore.training.validate import Validation, validate
from SPRCore.typing import Tensor

logger = logging.getLogger("SPRCore")

LOG_EVERY = 20
"""Steps of which the journal has the mean in one line."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a run stands, for whoever shows it.

    Attributes:
        step: Optimiser steps made.
        steps: Steps in all.
        epoch: Number of the epoch, from 1.
        doing: What is being done, in words.
        loss: Loss of the last step, or None before the first.
        seconds_left: Estimate, or None while there is nothing to estimate by.
        validation: What was last measured, by name; empty before the first time.
    """

    step: int
    steps: int
    epoch: int
    doing: str
    loss: float | None = None
    seconds_left: float | None = None
    validation: dict[str, float] = field(default_factory=dict)


def train(recipe: Recipe, *, resume: bool = False, progress: Callable[[Status], None] | None = None) -> Path:
    """Train a model.

    Started by `torchrun` it is one of several processes. The folder of the run gets `recipe.yaml` with every default
    written out, `split.json`, `checkpoints/`, `metrics.jsonl`, `pictures/`, `tensorboard/` (where it is installed), the
    best model so far as `NAME.sprmodel.safetensors` and the latest one in `last/`.

    Args:
        recipe: What to train on what.
        resume: Go on with the run in the folder; without a checkpoint there it begins.
        progress: Told where the run stands, after every step and in validation.

    Returns:
        The bundle of the best model.

    Raises:
        InputError: Recipe or data cannot be used, or the folder holds another run.
        ConvergenceError: The loss left the numbers; the batch was saved.
        SPRError: The memory does not suffice; the message says what to turn.
    """
    card_of(recipe)  # what it refuses is found out now and not after the last step
    with process_group(recipe.device) as process, kept_memory():
        devices = [process.device] if process.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            with process.first_goes_ahead():
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
    """One process's part in a run: what it holds, and what a step, an epoch and a checkpoint do with it."""

    def __init__(
        self, recipe: Recipe, datasets: Datasets, process: Process, progress: Callable[[Status], None] | None
    ) -> None:
        self.recipe, self.data, self.process, self.progress = recipe, datasets, process, progress
        self.folder, self.options = recipe.folder, recipe.optimiser
        torch.manual_seed(recipe.seed)
        self.network: RegistrationNetwork = build(recipe.model).to(process.device).train()
        if recipe.start is not None:
            start_from(self.network, recipe.start, recipe.anew)
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
    def shipped(self) -> RegistrationNetwork:
        """The network that is validated and written: the running mean where there is one."""
        return self.network if self.mean is None else self.mean.network

    def start(self, resume: bool) -> None:
        """Take up the last checkpoint if there is one, and make the folder ready."""
        found = list_checkpoints(self.folder)
        if resume and found:
            self._restore(read_checkpoint(found[-1]))
            logger.info("Going on after step %d of %d.", self.step, self.steps)
        elif resume:
            logger.info("No checkpoint in %s yet: beginning.", self.folder)
        self.trained = self.process.wrapped(self.network)
        self.began, self.first = time.monotonic(), self.step
        if self.process.is_first:
            sweep(self.folder)
            for name, text in ((RECIPE, self.recipe.to_yaml()), (SPLIT, json.dumps(self.data.split, indent=1) + "\n")):
                if resume and found and (self.folder / name).exists():
                    continue  # the run may go on by its own recipe, which is an input then
                with atomic_path(self.folder / name) as temporary:
                    temporary.write_text(text, encoding="utf-8")
            self.journal = Journal(self.folder, self.step)

    def finish(self) -> Path:
        """Make the steps that are left."""
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
        """Finish what is not yet on disk."""
        if self.journal is not None:
            self.journal.close()

    def _loader(self) -> DataLoader:
        return DataLoader(
            self.data.train,
            batch_size=self.options.batch,
            sampler=self.sampler,
            collate_fn=as_list,
            num_workers=self.recipe.workers,
            persistent_workers=self.recipe.workers > 0,
            pin_memory=self.process.device.type == "cuda",
            generator=torch.Generator(),  # else each epoch would take a number from the stream of the network
        )

    def _step(self, group: list[list[Item]]) -> None:
        """Make one optimiser step on the mean loss of a group of batches."""
        for part in self.optimiser.param_groups:
            part["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        pairs, parts = [], []
        total = sum(map(len, group))
        with guarded_memory(self.recipe, group[0][0]["fixed"].shape[1:], self.process.device):
            for place, items in enumerate(group):
                batch = [pair_of(item, self.data.labels, self.process.device) for item in items]
                with averaging(self.trained, place == len(group) - 1):
                    losses = self._losses(batch, len(pairs))
                    (losses["loss"] * (len(batch) / total)).backward()
                pairs += batch
                parts.append({name: value.detach() for name, value in losses.items()})
            norm = _gradient_norm(self.network)
            numbers = [dict(zip(part, torch.stack(list(part.values())).tolist(), strict=True)) for part in parts]
            stop_if_not_finite(norm, pairs, numbers, self.step + 1, self.folder, self.process.rank)
            self.optimiser.step()
        self.step += 1
        if self.mean is not None:
            self.mean.update(self.network, self.step)
        self._note(numbers, float(norm), [len(items) / total for items in group])

    def _losses(self, batch: list[Pair], before: int) -> dict[str, Tensor]:
        """Compute the mean loss of a batch, of which `before` pairs of the same step came first."""
        epoch, done = divmod(self.step, self.per_epoch)
        place = (done * self.per_step + before) * self.process.world + self.process.rank
        first = epoch * len(self.sampler) * self.process.world + place
        numbers = [first + number * self.process.world for number in range(len(batch))]
        settings = [draw_setting(self.recipe.loss, self.recipe.hyper, self.recipe.seed, n) for n in numbers]
        torch.manual_seed(_mixed(self.recipe.seed, first))
        output = self._forward(batch, settings)
        return batch_loss(output, batch, settings, self.recipe.loss)

    def _forward(self, batch: list[Pair], settings: list[Setting]) -> RegistrationOutput:
        moving, fixed = stacked(batch)
        code = moving.new_tensor([setting.code for setting in settings]) if settings[0].code else None
        low = self.recipe.precision == "bf16"
        with torch.autocast(self.process.device.type, dtype=torch.bfloat16, enabled=low):
            return self.trained(moving, fixed, code, inverse=self.recipe.loss.symmetric)

    def _rate(self) -> float:
        return self.options.lr * (1.0 - self.step / self.steps) ** self.options.decay_power

    def _note(self, numbers: list[dict[str, float]], norm: float, shares: list[float]) -> None:
        """Add a step to the means of the journal, and tell about it."""
        step = {
            name: sum(share * part[name] for share, part in zip(shares, numbers, strict=True)) for name in numbers[0]
        }
        for name, value in (step | {"gradient_norm": norm, "count": 1.0}).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if self.step % LOG_EVERY == 0 or self.step == self.steps:
            self._share_sums()
            count = self.sums.pop("count")
            means = {name: total / count for name, total in self.sums.items()}
            self.sums = {}
            if self.journal is not None:
                speed = (time.monotonic() - self.began) / (self.step - self.first)
                rate = self.optimiser.param_groups[0]["lr"]
                self.journal.write("train", self.step, {**means, "lr": rate, "seconds_per_step": speed})
        self._tell("training", step["loss"])

    def _share_sums(self) -> None:
        """Take the mean of the sums over the processes, so that the first one writes, and keeps, what all have seen."""
        everybody = self.process.gathered([self.sums])
        self.sums = {name: sum(sums[name] for sums in everybody) / len(everybody) for name in self.sums}

    def _end_epoch(self, epoch: int) -> None:
        if (epoch + 1) % self.recipe.validation.every == 0 or self.step == self.steps:
            self._validate()
        self._save()

    def _validate(self) -> None:
        """Measure the network, keep it if it is the best so far, and write both down."""
        pairs, pictures = self.data.validation, self.recipe.validation.pictures
        count = min(len(pairs), self.recipe.validation.pairs or len(pairs))
        setting = usual_setting(self.recipe.loss, self.recipe.hyper)
        labels, device = self.data.labels, self.process.device
        found = validate(
            self.shipped,
            count,
            lambda number: pair_of(pairs[number], labels, device),
            setting,
            self.process,
            pictures,
            lambda share: self._tell(f"validating, {share:.0%}"),
        )
        self.validation = found.summary
        is_best = self.best is None or found.score > self.best
        self.best = found.score if is_best else self.best
        self._tell("validated")
        if not self.process.is_first:
            return
        if is_best:
            write_model(self.shipped, self.recipe, self.folder, self.step, found.summary)
        write_model(self.shipped, self.recipe, self.folder / LAST, self.step, found.summary)
        self.journal.write("validation", self.step, {**found.summary, "best": is_best})
        if pictures:
            self._draw(found)

    def _draw(self, found: Validation) -> None:
        from SPRCore.training.pictures import curves_figure, pairs_figure  # matplotlib: for the one process that draws

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

    def _tell(self, doing: str, loss: float | None = None) -> None:
        if self.progress is None or not self.process.is_first:
            return
        done = self.step - self.first
        left = (time.monotonic() - self.began) / done * (self.steps - self.step) if done else None
        epoch = min(self.step // self.per_epoch + 1, -(-self.steps // self.per_epoch))
        self.progress(
            Status(
                step=self.step,
                steps=self.steps,
                epoch=epoch,
                doing=doing,
                loss=loss,
                seconds_left=left,
                validation=self.validation,
            )
        )


def _gradient_norm(network: torch.nn.Module) -> Tensor:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))


def _mixed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))

"""Recipes: the configuration of a training run in one YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from SPRCore.config import ConfigError, Keys, check_name, decode, encode, require
from SPRCore.errors import InputError
from SPRCore.io.cards import check_name as check_model_name
from SPRCore.networks import NetworkConfig, preset
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
from SPRCore.training.config import (
    AugmentationConfig,
    CardConfig,
    CheckpointConfig,
    HyperConfig,
    LossConfig,
    OptimiserConfig,
    ValidationConfig,
)
from SPRCore.training.data_config import TWO_CHANNELS, DataConfig, PreprocessingConfig
from SPRCore.training.recipe_file import Sources, read_tree

SCHEMA = 1


def _read_model(value: object, keys: Keys) -> NetworkConfig:
    """Build the configuration of a network from the name of a preset, or from a mapping that may modify one."""
    if isinstance(value, NetworkConfig):
        return value
    parts = {"preset": value} if isinstance(value, str) else value
    if not isinstance(parts, Mapping):
        raise ConfigError(keys, got=repr(value)[:60], expected="the name of a network, or a mapping")
    parts = {str(name): tuple(item) if isinstance(item, list) else item for name, item in parts.items()}
    name = parts.pop("preset", None)
    for key in parts:
        _check_key(key, [*NetworkConfig().to_dict(), "preset"], (*keys, key))
    try:
        return NetworkConfig.from_dict(parts) if name is None else preset(str(name), **parts)
    except InputError as error:
        wrong = "preset" if error.what == "network" else error.what.rpartition(", ")[2]
        own = (*keys, wrong) if isinstance(value, Mapping) else keys
        raise ConfigError(own, got=error.got, expected=error.expected, remedy=error.remedy) from None


def _check_key(key: str, known: Sequence[str], keys: Keys) -> None:
    try:
        check_name(key, known, "")
    except ValueError as error:
        raise ConfigError(keys, got="an unknown key", expected=error.expected, remedy=error.remedy) from None


def _check_model_name(name: str) -> None:
    try:
        check_model_name(name)
    except InputError as error:
        require(False, "name", error.got, error.expected)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Configuration of a training run.

    Attributes:
        schema_version: Version of this format.
        name: Name of the run and of its model.
        output: Folder of the run; None for `runs/NAME` in the current folder.
        start: Bundle of a model whose weights initialize the network, which may have further parts.
        reinit: First parts of tensor names that are initialized at random instead of from `start`.
        seed: Seed of all random numbers of the training.
        device: Compute device; "auto" is CUDA if available.
        precision: Precision inside the network; fields and losses are always in fp32.
        workers: Processes that load data.
        data: The images.
        preprocessing: Preprocessing of the images.
        model: The network: the name of a preset, or a mapping with `preset` and changes to it.
        loss: Terms of the loss.
        hyper: Hyperparameters drawn for every pair, for a network with conditioning.
        optimiser: Optimiser and schedule.
        augmentation: Random augmentation of training pairs.
        validation: Validation during training.
        checkpoint: Checkpoints.
        card: Fields of the model card.

    Raises:
        ConfigError: A value is out of range or does not fit another.
    """

    schema_version: int = SCHEMA
    name: str
    output: Path | None = None
    start: Path | None = None
    reinit: tuple[str, ...] = ()
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    model: NetworkConfig = field(metadata={"decode": _read_model})
    loss: LossConfig = field(default_factory=LossConfig)
    hyper: HyperConfig | None = None
    optimiser: OptimiserConfig
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    card: CardConfig = field(default_factory=CardConfig)

    def __post_init__(self) -> None:
        remedy = "update SPRCore, or rewrite the recipe"
        require(self.schema_version == SCHEMA, "schema_version", self.schema_version, str(SCHEMA), remedy)
        _check_model_name(self.name)
        require(self.workers >= 0, "workers", self.workers, "0 or more")
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        self._check_prior()
        self._check_hyper()
        self._check_channels()
        slabs, batch = self.data.generated.thin, self.optimiser.batch
        require(
            slabs == 0 or batch == 1,
            "optimiser.batch",
            f"{batch} with slabs of any thickness",
            "1 with data.generated.thin",
        )
        if not self.data.use_labels:
            require(self.loss.dice_weight == 0, "loss.dice_weight", self.loss.dice_weight, "0 without data.use_labels")
            crop = self.preprocessing.crop
            require(crop == "center", "preprocessing.crop", crop, "center without data.use_labels")
            require(not self.preprocessing.strip, "preprocessing.strip", True, "false without data.use_labels")

    def _check_prior(self) -> None:
        head = None if self.loss.prior == "uniform" else self.loss.prior
        got = f"{self.loss.prior} with a network whose weight is {self.model.weight or 'not predicted'}"
        expected = f"{self.model.weight or 'uniform'}, or a model with weight: {head or 'null'}"
        require(self.model.weight == head, "loss.prior", got, expected)

    def _check_hyper(self) -> None:
        ranges = {} if self.hyper is None else self.hyper.ranges
        got = f"{len(ranges)} ranges with a network that takes {self.model.codes}"
        require(len(ranges) == self.model.codes, "hyper", got, "one range for each hyperparameter of the network")
        known = HYPERPARAMETERS[self.loss.prior]
        for name in ranges:
            require(name in known, f"hyper.ranges.{name}", f"it with the {self.loss.prior} prior", ", ".join(known))

    def _check_channels(self) -> None:
        channels = 1 if self.preprocessing.second_channel is None else 2
        got = f"{self.model.channels} with images of {channels}"
        remedy = "" if channels == 2 else "or set preprocessing.second_channel"
        require(self.model.channels == channels, "model.channels", got, str(channels), remedy)
        layouts = [self.data.dataset] + ([] if self.data.also is None else [self.data.also.dataset])
        for layout in layouts if channels == 2 else ():
            expected = f"a data set of these layouts: {', '.join(TWO_CHANNELS)}"
            require(layout in TWO_CHANNELS, "preprocessing.second_channel", f"it with {layout}", expected)
        good = self.data.atlas_channel is None or channels == 2
        require(good, "data.atlas_channel", str(self.data.atlas_channel), "preprocessing.second_channel as well")

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path.cwd() / "runs" / self.name if self.output is None else self.output

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for YAML and JSON, the inverse of `from_dict`."""
        return encode(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build a recipe from (part of) the result of `to_dict`; missing values take their defaults.

        Raises:
            ConfigError: A key is unknown (the nearest is suggested) or missing, or a value is invalid.
        """
        return decode(cls, values)

    def to_yaml(self) -> str:
        """Return the recipe as YAML, every default written out and every path absolute."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe with `overrides` such as "optimiser.lr=1e-3", their values in YAML; all paths are absolute then.

    A recipe may extend others: `base: other.yaml` (or a list) is read first and overridden by the rest. Relative paths
    start from the folder of their file; those of `overrides` from the current folder.

    Raises:
        InputError: The file is not YAML, or a key or value is invalid; the message has file, line and key.
    """
    sources: Sources = read_tree(Path(path), overrides)
    try:
        return decode(Recipe, sources.values, resolve=sources.resolve)
    except ConfigError as error:
        raise sources.located(error) from None

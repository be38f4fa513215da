"""Model cards: the task of a model, the preparation of its images, and its valid hyperparameters."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SPRCore.errors import InputError
from SPRCore.geometry.orientation import check_orientation
from SPRCore.io import card_checks as check
from SPRCore.regularization.gradient_units import MM, UNITS
from SPRCore.regularization.hyperparameters import (
    HYPERMORPH_WEIGHTING,
    HYPERPARAMETERS,
    PRIOR_WEIGHTING,
    WEIGHTINGS,
    usable_range,
)
from SPRCore.regularization.priors import make_prior
from SPRCore.similarity import SIMILARITIES

SCHEMA = 1
_RESERVED = ("instance",)
"""Methods of registration that are no models."""
_NORMALIZATIONS = ("minmax", "percentile", "clip")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class WorkingGrid:
    """The grid of a network for a pair, over the field of view of the fixed image.

    Attributes:
        orientation: Directions of the axes, such as "RAS" (to the right, anterior, superior): axes of the image are
            swapped and reversed to the nearest directions, never rotated. None leaves them as they are.
        spacing_mm: Distance between voxels along these axes, in 0.01 to 100 mm; None keeps that of the fixed image.
        shape: Number of voxels along these axes, each 8 to 1024, about the center of the fixed image; None (usual)
            takes as many as cover the field of view.
        voxels: Most voxels over the field of view, 4096 to 512³; where there would be more, the spacing grows alike
            along all axes. None for as many as there are; not with a shape.
    """

    orientation: str | None = "RAS"
    spacing_mm: tuple[float, ...] | None = None
    shape: tuple[int, ...] | None = None
    voxels: int | None = None

    def __post_init__(self) -> None:
        if self.orientation is not None:
            check_orientation(self.orientation)
        if self.spacing_mm is not None:
            _store(self, "spacing_mm", check.numbers(self.spacing_mm, "spacing_mm", 3, 0.01, 100.0))
        if self.shape is not None:
            sizes = check.numbers(self.shape, "shape", 3, 8, 1024)
            if any(size != int(size) for size in sizes):
                raise InputError("shape", got=str(self.shape), expected="three whole numbers")
            _store(self, "shape", tuple(int(size) for size in sizes))
        if self.voxels is not None:
            most = check.numbers([self.voxels], "voxels", 1, 2**12, 2**27)[0]
            if most != int(most) or self.shape is not None:
                got = f"{check.shown(self.voxels)} with shape {check.shown(self.shape)}"
                raise InputError("voxels", got=got, expected="a whole number, and no shape")
            _store(self, "voxels", int(most))


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Scaling of the intensities of each image to [0, 1].

    Attributes:
        clip: Lowest and highest intensity, such as (-300, 300) HU; others are set to them. None for all.
        normalize: Values that become 0 and 1: "minmax" the extremes of the image, "percentile" the percentiles below
            (beyond them it saturates), "clip" the bounds of `clip`.
        percentiles: Lower and upper percentile, 0 to 100; for "percentile" alone.
    """

    clip: tuple[float, ...] | None = None
    normalize: str = "minmax"
    percentiles: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check.choice(self.normalize, "normalize", _NORMALIZATIONS)
        if self.clip is not None:
            _store(self, "clip", check.interval(self.clip, "clip"))
        elif self.normalize == "clip":
            raise InputError("normalize", got="'clip' without clip", expected="bounds of the intensity in clip")
        if (self.percentiles is not None) != (self.normalize == "percentile"):
            got = f"{check.shown(self.percentiles)} with normalize {self.normalize!r}"
            raise InputError("percentiles", got=got, expected="two of them with 'percentile', null otherwise")
        if self.percentiles is not None:
            _store(self, "percentiles", check.interval(self.percentiles, "percentiles", 0.0, 100.0))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measured metric: name, such as "Dice, mean of 30 labels", value, and data and protocol (`how`)."""

    name: str
    value: float
    how: str

    def __post_init__(self) -> None:
        _texts(self)
        check.numbers([self.value], "metric", 1)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The model card.

    Attributes:
        name: Name of the model: small letters, digits, ".", "_" and "-", at most 64.
        architecture: Configuration of the network.
        prior: Prior on the weight that the model was trained with: "beta", "gaussian", "tv" or "uniform".
        conditioning: Hyperparameters of the prior that the network takes as its code, in the order of the code, each
            divided by the upper end of its range; empty for a model trained at one setting.
        ranges: Lowest and highest value of each of them.
        defaults: Default values of the hyperparameters; those of the training for those not conditioned on. Missing
            ones have the default of the prior.
        weighting: Weighting of the terms of the training loss: "prior", or "hypermorph", (1 - λ) similarity + λ
            smoothness; the card then has the strength λ/(1 - λ), as in the solver, and the code is λ itself.
        units: Unit of the squared gradient in the training loss: "mm" as in the solver, or "voxel". With voxels the
            hyperparameters are those of the solver on isotropic grids alone, so that on others a refinement is refused.
        similarity: Data term of the training, with which a refinement continues: "lncc" (local correlation), "mind"
            (MIND descriptors) or "mse" (mean squares).
        optimum: Best values found by tuning.
        tolerance: Range around the optimum with practically equal results.
        grid: The grid on which the network works.
        preprocessing: Preprocessing of the intensities.
        second_channel: Preprocessing of those of the second channel; None for a model of images of one channel.
        version: Version of the model.
        task: Task, such as "atlas to subject".
        anatomy: The part of the body.
        modality: Kind of image, such as "T1-weighted MRI".
        training_data: Training data.
        training_data_licence: Licence of these data.
        metrics: Measured metrics.
        authors: Authors.
        licence: Licence of the model.
        schema: Version of this format.

    Raises:
        InputError: A value has the wrong type, is out of range, or contradicts another.
    """

    name: str
    architecture: Mapping[str, Any]
    prior: str = "beta"
    conditioning: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    weighting: str = PRIOR_WEIGHTING
    units: str = MM
    similarity: str = "lncc"
    optimum: Mapping[str, float] = field(default_factory=dict)
    tolerance: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    grid: WorkingGrid = field(default_factory=WorkingGrid)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    second_channel: Preprocessing | None = None
    version: str = "1"
    task: str = ""
    anatomy: str = ""
    modality: str = ""
    training_data: str = ""
    training_data_licence: str = ""
    metrics: tuple[Metric, ...] = ()
    authors: tuple[str, ...] = ()
    licence: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if type(self.schema) is not int or self.schema != SCHEMA:
            remedy = "update SPRCore or get the model in this format"
            raise InputError("schema", got=check.shown(self.schema), expected=str(SCHEMA), remedy=remedy)
        check_name(self.name)
        _texts(self)
        if not isinstance(check.plain(self.architecture, "architecture"), dict):
            raise InputError("architecture", got=check.shown(self.architecture), expected="an object")
        check.choice(self.similarity, "similarity", SIMILARITIES)
        _store(self, "authors", tuple(check.text(name, "authors") for name in check.listed(self.authors, "authors")))
        _check_hyperparameters(self)

    @property
    def intensities(self) -> tuple[Preprocessing, ...]:
        """Preprocessing of the intensities of each channel."""
        return (self.preprocessing,) if self.second_channel is None else (self.preprocessing, self.second_channel)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values that JSON can hold; `from_dict` reads them again."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> ModelCard:
        """Build a card from the result of `to_dict`, in which fields with a default may be missing.

        Raises:
            InputError: A field is unknown (the nearest one is named), missing or wrong.
        """
        parts = dict(check.fields_of(cls, values, "model card"))
        kinds = {"grid": WorkingGrid, "preprocessing": Preprocessing, "second_channel": Preprocessing}
        for name, kind in kinds.items():
            if name in parts and (parts[name] is not None or name != "second_channel"):
                parts[name] = kind(**check.fields_of(kind, parts[name], name))
        if "metrics" in parts:
            entries = check.listed(parts["metrics"], "metrics")
            parts["metrics"] = tuple(Metric(**check.fields_of(Metric, entry, "metrics")) for entry in entries)
        return cls(**parts)


def check_name(name: str) -> str:
    """Return a valid name of a model.

    Raises:
        InputError: It has other characters than small letters, digits, ".", "_" and "-", does not start with a letter
            or digit, is longer than 64, or is the name of a method.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        expected = "1 to 64 small letters, digits, '.', '_' or '-', a letter or digit first"
        raise InputError("name of a model", got=check.shown(name), expected=expected)
    return name


def _check_hyperparameters(card: ModelCard) -> None:
    """Check the fields of the prior, and store pairs and names as tuples."""
    names = tuple(HYPERPARAMETERS[check.choice(card.prior, "prior", tuple(HYPERPARAMETERS))])
    taken = check.listed(card.conditioning, "conditioning")
    if len(set(map(str, taken))) != len(taken) or not all(name in names for name in taken):
        raise InputError("conditioning", got=check.shown(taken), expected=f"names out of: {', '.join(names)}")
    _store(card, "conditioning", taken)
    for what in ("ranges", "tolerance"):
        pairs = {
            name: check.interval(pair, what, 0.0)
            for name, pair in check.named(getattr(card, what), what, names).items()
        }
        _store(card, what, pairs)
    for what in ("defaults", "optimum"):
        values = check.named(getattr(card, what), what, names)
        _store(card, what, {name: check.numbers([value], what, 1, 0.0)[0] for name, value in values.items()})
    if set(card.ranges) != set(taken):
        raise InputError(
            "ranges", got=check.shown(sorted(card.ranges)), expected=f"those of {check.shown(sorted(taken))}"
        )
    check.choice(card.units, "units", UNITS)
    check.choice(card.weighting, "weighting", WEIGHTINGS)
    if card.weighting == HYPERMORPH_WEIGHTING and (card.prior, taken) != ("uniform", ("lambda",)):
        got = f"the {card.prior} prior and {check.shown(taken)}"
        raise InputError("weighting hypermorph", got=got, expected="the uniform prior, conditioned on lambda")
    make_prior(card.prior, card.defaults)  # checks the values
    for name, trained in card.ranges.items():
        low, high = usable_range(trained)  # the best setting of a search may be beyond the training
        if not low <= card.defaults.get(name, math.nan) <= high:
            got = f"{check.shown(card.defaults.get(name))} for {name}"
            raise InputError("defaults", got=got, expected=f"a value in its range, {low:g} to {high:g}")


def _texts(card: ModelCard | Metric) -> None:
    for item in dataclasses.fields(card):
        if item.type == "str":
            check.text(getattr(card, item.name), item.name)


def _store(card: object, name: str, value: object) -> None:
    object.__setattr__(card, name, value)

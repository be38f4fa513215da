"""Configuration of loss, optimiser and training run; see `data_config.py` for the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from SPRCore.config import require
from SPRCore.regularization import Prior
from SPRCore.regularization.gradient_units import MM
from SPRCore.regularization.hyperparameters import BY_KEY, HYPERPARAMETERS
from SPRCore.regularization.priors import make_prior
from SPRCore.similarity import SimilarityName

PriorName = Literal["beta", "gaussian", "tv", "uniform"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Displacements of the instance solver as targets, computed once for each training pair and kept with the data.

    Attributes:
        weight: Factor of the mean distance in mm from the solver's displacement at the same setting, squared below
            1 mm. 0.1: a mm weighs as much as a correlation of 0.1.
        change_weight: Factor of the same distance of the change between two settings from the solver's change; above 0
            each pair is seen under two settings at once.
        settings: Settings for each pair, drawn over the ranges of `hyper`; 1 without ranges.

    Raises:
        ConfigError: A value is out of range.
    """

    weight: float = 0.1
    change_weight: float = 0.0
    settings: int = 3

    def __post_init__(self) -> None:
        require(self.weight >= 0, "weight", self.weight, "0 or more")
        require(self.change_weight >= 0, "change_weight", self.change_weight, "0 or more")
        enough = 2 if self.change_weight else 1
        require(self.settings >= enough, "settings", self.settings, f"{enough} or more")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Terms of the loss, paper Eq. 19; every term is a mean, so that its weight does not depend on the image size.

    Attributes:
        units: Unit of the squared gradient, of the closed-form weight and of the correlation window: "mm", so that a
            setting means the same on every grid and in the instance optimization, or "voxel" as in the paper and its
            code. They differ on grids whose spacing differs between the axes.
        prior: Prior on the weight: "beta", "gaussian" or "tv" (total variation) need a network that predicts
            one; "uniform" has none.
        alpha: Beta prior: spatial coherence α′; None takes the default of the prior.
        lambda_max: Beta and total-variation prior: largest weight.
        sigma: Gaussian prior: spatial coherence σ′.
        lambda_mean: Gaussian prior: mean weight.
        tv: Total-variation prior: slope t of the penalty in the root of the squared gradient.
        strength: Uniform prior: λ.
        similarity: Data term: "lncc" (squared local correlation), "mind" (MIND descriptors, for images of different
            contrast) or "mse" (mean squares, for images of one scanner); of several channels the mean. The last two are
            relative to the local variance of the fixed image, so that a weight means about the same with each.
        window: Window of the local correlation, or of this variance, in voxels, odd; 9 as in the paper.
        dice_weight: Weight of the Dice loss between warped and fixed labels (semi-supervised: 1 in the paper).
        tre_weight: Weight of the mean landmark error in mm, where the data have landmarks.
        symmetric: Average with the loss of the inverse displacement from moving to fixed.
        map_weight_pull: Weight of a term that pulls the predicted weight to the closed-form MAP weight; 0 for none.
        teacher: Displacements of the instance solver as targets; None for none.

    Raises:
        ConfigError: A value is out of range, or belongs to another prior.
    """

    units: Literal["mm", "voxel"] = "mm"
    prior: PriorName = "beta"
    alpha: float | None = None
    lambda_max: float | None = None
    sigma: float | None = None
    lambda_mean: float | None = None
    tv: float | None = None
    strength: float | None = None
    similarity: SimilarityName = "lncc"
    window: int = 9
    dice_weight: float = 0.0
    tre_weight: float = 0.0
    symmetric: bool = False
    map_weight_pull: float = 0.0
    teacher: TeacherConfig | None = None

    def __post_init__(self) -> None:
        require(self.window >= 3 and self.window % 2 == 1, "window", self.window, "an odd number of voxels from 3")
        for name in ("dice_weight", "tre_weight", "map_weight_pull"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        own = [item.attribute for item in HYPERPARAMETERS[self.prior].values()]
        for item in BY_KEY.values():
            name, given = item.attribute, getattr(self, item.attribute)
            require(given is None or name in own, name, f"{given} with the {self.prior} prior", ", ".join(own))
        in_mm = self.units == MM or self.teacher is None
        require(in_mm, "units", f"{self.units} with a teacher", MM, "the solver regularizes in mm")
        require(self.map_weight_pull == 0 or self.prior != "uniform", "map_weight_pull", self.map_weight_pull, "0")
        self.make_prior()

    @property
    def hyperparameters(self) -> dict[str, float]:
        """Values that were given, by the names that cards and reports use."""
        given = {key: getattr(self, item.attribute) for key, item in HYPERPARAMETERS[self.prior].items()}
        return {key: value for key, value in given.items() if value is not None}

    def make_prior(self) -> Prior:
        """Return the prior with these values, and the defaults of the prior for the others."""
        return make_prior(self.prior, self.hyperparameters)


@dataclass(frozen=True, kw_only=True)
class HyperConfig:
    """Hyperparameters drawn for every pair, which the network takes as its code.

    Attributes:
        ranges: Lowest and highest value of each, by the names of cards ("alpha", "lambda_max", "sigma", "lambda_mean",
            "tv", "lambda"), in the order of the code; a code is the value over the highest, or λ itself
            with hypermorph weighting.
        weighting: "prior" puts the values into the loss as they are; "hypermorph" weighs the similarity by 1 - λ and
            the regularization by λ, for the baselines with the uniform prior; `strength` of the loss then is λ, and the
            card has λ / (1 - λ).
        skew: Values are drawn as low + u^skew (high - low), u uniform in [0, 1]: 1 as in the paper; above 1 low values,
            where a change has more effect, are more frequent.

    Raises:
        ConfigError: No range, more than two, or an empty one.
    """

    ranges: dict[str, tuple[float, float]]
    weighting: Literal["prior", "hypermorph"] = "prior"
    skew: float = 1.0

    def __post_init__(self) -> None:
        require(1 <= len(self.ranges) <= 2, "ranges", sorted(self.ranges), "one or two hyperparameters")
        for name, (low, high) in self.ranges.items():
            require(0 <= low < high, f"ranges.{name}", [low, high], "a lower and a higher number, 0 or more")
        require(self.skew > 0, "skew", self.skew, "a number above 0")
        if self.weighting == "hypermorph":
            good = list(self.ranges) == ["lambda"] and self.ranges["lambda"][1] <= 1
            require(good, "ranges", self.ranges, "lambda: [low, high] within 0 to 1 with hypermorph weighting")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam and its schedule; defaults are the paper's (Sect. 4.3).

    Attributes:
        lr: Initial learning rate.
        amsgrad: Whether to use the AMSGrad variant of Adam.
        decay_power: Power of the polynomial decay of the rate, (1 - progress)^power; 0 for a constant rate.
        epochs: Length in epochs; give this or `steps`.
        steps: Length in optimiser steps.
        batch: Pairs per process and step.
        accumulate: Batches whose gradients are averaged in a step.
        ema: Decay of the running mean of the weights that is validated and written; 0 for none.

    Raises:
        ConfigError: A value is out of range, or not exactly one of `epochs` and `steps` is given.
    """

    lr: float = 1e-4
    amsgrad: bool = True
    decay_power: float = 0.9
    epochs: int | None = None
    steps: int | None = None
    batch: int = 1
    accumulate: int = 1
    ema: float = 0.0

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "a number above 0")
        require(self.decay_power >= 0, "decay_power", self.decay_power, "0 or more")
        both = f"epochs {self.epochs} and steps {self.steps}"
        require(
            (self.epochs is None) != (self.steps is None), "epochs", both, "one of the two", "set the other to null"
        )
        for name in ("epochs", "steps", "batch", "accumulate"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or more")
        require(0 <= self.ema < 1, "ema", self.ema, "a number in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random augmentation of training pairs; both images of a pair are transformed alike.

    Attributes:
        flip: Axes (0, 1, 2) along which a pair and its labels are flipped, each with probability one half.
        gamma: Exponents of the intensities are drawn from exp(±gamma), for each image separately.
        noise: Standard deviation of Gaussian noise added to each image.
        bend_mm: Largest displacement of a smooth random deformation of both images, which varies the anatomy; 0 for
            none. Not with landmarks.
        bend_scale_mm: Length scale of this deformation.
    """

    flip: tuple[int, ...] = ()
    gamma: float = 0.0
    noise: float = 0.0
    bend_mm: float = 0.0
    bend_scale_mm: float = 40.0

    def __post_init__(self) -> None:
        good = set(self.flip) <= {0, 1, 2} and len(set(self.flip)) == len(self.flip)
        require(good, "flip", list(self.flip), "axes out of 0, 1, 2")
        require(0 <= self.gamma <= 2, "gamma", self.gamma, "0 to 2")
        require(0 <= self.noise <= 1, "noise", self.noise, "0 to 1")
        require(self.bend_mm >= 0, "bend_mm", self.bend_mm, "0 or more")
        require(self.bend_scale_mm > 0, "bend_scale_mm", self.bend_scale_mm, "a number above 0")


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Validation during training.

    Attributes:
        every: Epochs between validations.
        pairs: Largest number of pairs; None for the whole validation set.
        pictures: Number of pairs in the pictures, which are written with the curves of the run; 0 for no pictures.
    """

    every: int = 1
    pairs: int | None = None
    pictures: int = 1

    def __post_init__(self) -> None:
        require(self.every >= 1, "every", self.every, "1 or more")
        require(self.pairs is None or self.pairs >= 1, "pairs", self.pairs, "1 or more, or null")
        require(self.pictures >= 0, "pictures", self.pictures, "0 or more")


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Checkpoints, from which `--resume` continues.

    Attributes:
        every: Optimiser steps between checkpoints; one is also written at the end of each epoch.
        keep: Number of latest checkpoints to keep.
    """

    every: int = 500
    keep: int = 1

    def __post_init__(self) -> None:
        require(self.every >= 1, "every", self.every, "1 or more")
        require(self.keep >= 1, "keep", self.keep, "1 or more")


@dataclass(frozen=True, kw_only=True)
class CardConfig:
    """Fields of the model card that do not follow from the rest of the recipe; see `SPRCore.io.ModelCard`.

    Attributes:
        version: Version of the model.
        anatomy: Part of the body.
        modality: Imaging modality.
        training_data: Training data.
        training_data_licence: Licence of these data.
        authors: Authors.
        licence: Licence of the model.
    """

    version: str = "1"
    anatomy: str = ""
    modality: str = ""
    training_data: str = ""
    training_data_licence: str = ""
    authors: tuple[str, ...] = field(default=())
    licence: str = ""

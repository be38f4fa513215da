r"""Priors on the regularization weight :math:`w = \lambda / \lambda_{max}` and the weights that maximise the posterior.

For a given field with local mean squared gradient s, the part of the paper's loss (Eq. 19) that holds the weight is,
per voxel, :math:`r w s - \log p(w)`. Each prior gives its minimiser in closed form (``map_weight``) and the penalty on
s that is left once the weight is minimised out (``profile``). By the envelope theorem the derivative of that profile is
:math:`r w^*(s)`, so no gradient through the weight is ever needed.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from SPRCore.config import check_name
from SPRCore.errors import InputError
from SPRCore.regularization.hyperparameters import ANATOMY_SETTINGS, HYPERPARAMETERS
from SPRCore.typing import Tensor

_BETA, _GAUSSIAN, _TV, _UNIFORM = (HYPERPARAMETERS[name] for name in ("beta", "gaussian", "tv", "uniform"))


class Prior(ABC):
    """A prior on the weight."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def scale(self) -> float:
        """Factor r of the weighted diffusion: the weight λ of a voxel is r·w."""

    @abstractmethod
    def map_weight(self, s: Tensor) -> Tensor:
        """Weight w that minimises the loss for the local mean squared gradient s ≥ 0, dimensionless, of any shape."""

    @abstractmethod
    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of the weight w per voxel, up to a constant, in the shape of w."""

    def profile(self, s: Tensor) -> Tensor:
        r"""Penalty on s with the weight minimised out, :math:`\min_w r w s + penalty(w)`, in the shape of s."""
        weight = self.map_weight(s)
        return self.scale * weight * s + self.penalty(weight)

    def _check_hyperparameters(self) -> None:
        for key, item in HYPERPARAMETERS[self.name].items():
            _check(key, getattr(self, item.attribute), 0.0, strictly=not item.may_be_zero)


def _check(name: str, value: float, low: float, *, strictly: bool = False) -> None:
    good = value > low if strictly else value >= low
    if not (good and value < float("inf")):
        bound = f"a finite number {'above' if strictly else 'of at least'} {low:g}"
        raise InputError(name, got=f"{value:g}", expected=bound)


def _check_floor(value: float) -> None:
    _check("floor", value, 0.0, strictly=True)
    if value >= 1.0:
        raise InputError("floor", got=f"{value:g}", expected="a number below 1")


@dataclass(frozen=True, kw_only=True)
class BetaPrior(Prior):
    r"""Beta prior on w = λ/λ_max, paper Eq. 17–18: penalty :math:`-\alpha' \log w - (\beta - 1) \log(1 - w)`.

    Attributes:
        alpha: Spatial coherence α′ = α − 1 ≥ 0: the larger, the closer the weights stay to λ_max everywhere. Useful
            range 0 to 0.2 (brain), 0.6 (heart); the default 0.1 is inside every range of the paper's Table 1.
        lambda_max: Largest weight λ_max > 0. Useful range 0.5 to 5; the default 1 did best on
            real pairs of heart and brain.
        beta: Second shape parameter β ≥ 1; 1 (default) is the paper's choice, above 1 w stays below 1.
        floor: Least w, in (0, 1); 1e-6 as in the reference code.
    """

    alpha: float = _BETA["alpha"].default
    lambda_max: float = _BETA["lambda_max"].default
    beta: float = 1.0
    floor: float = 1e-6
    name: ClassVar[str] = "beta"

    def __post_init__(self) -> None:
        self._check_hyperparameters()
        _check("beta", self.beta, 1.0)
        _check_floor(self.floor)

    @property
    def scale(self) -> float:
        """Largest weight λ_max."""
        return self.lambda_max

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises :math:`\lambda_{max} w s + penalty(w)`.

        For β = 1 it is :math:`\mathrm{clip}(\alpha' / (\lambda_{max} s), floor, 1)`; for β > 1 the smaller root of
        :math:`r s w^2 - (r s + \alpha' + \beta - 1) w + \alpha' = 0`, which is in (0, 1).
        """
        cost = self.lambda_max * s
        if self.beta == 1.0:
            weight = self.alpha / cost.clamp(min=torch.finfo(cost.dtype).tiny)
        else:
            # The root and its discriminant in forms that do not cancel, neither as s goes to 0 nor as beta goes to 1.
            excess = self.beta - 1.0
            discriminant = (cost - self.alpha).square() + excess * (2.0 * (cost + self.alpha) + excess)
            weight = 2.0 * self.alpha / (cost + (self.alpha + excess) + discriminant.sqrt())
        # At w = 1 the penalty of beta > 1 is infinite; rounding must not get there.
        return weight.clamp(self.floor, 1.0 if self.beta == 1.0 else 1.0 - torch.finfo(cost.dtype).eps)

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w up to a constant, per voxel; w: weight in (0, 1]."""
        value = -self.alpha * w.log()
        return value if self.beta == 1.0 else value - (self.beta - 1.0) * torch.log1p(-w)

    def log_density(self, w: Tensor) -> Tensor:
        """Log of the normalised density of w on [0, 1], per voxel."""
        a, b = w.new_tensor(self.alpha + 1.0), w.new_tensor(self.beta)
        return torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b) - self.penalty(w)


@dataclass(frozen=True, kw_only=True)
class GaussianPrior(Prior):
    r"""Gaussian prior on w = λ/λ_mean truncated at 0, paper Eq. 15–16: penalty :math:`\sigma' (w - 1)^2`.

    Attributes:
        sigma: σ′ = 1/(2σ²) ≥ 0: the larger, the closer the weights stay to λ_mean. Useful range 0 to 4.
        lambda_mean: Mean weight λ_mean > 0. Useful range 0.5 to 5.
        floor: Least w; 1e-6 as in the reference code.
        bound: Largest w; 5 as in the reference code (reached by networks only, the closed form stays at 1 or below).
    """

    sigma: float = _GAUSSIAN["sigma"].default
    lambda_mean: float = _GAUSSIAN["lambda_mean"].default
    floor: float = 1e-6
    bound: float = 5.0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        self._check_hyperparameters()
        _check("floor", self.floor, 0.0, strictly=True)
        _check("bound", self.bound, self.floor, strictly=True)

    @property
    def scale(self) -> float:
        """Mean weight λ_mean."""
        return self.lambda_mean

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises the loss: :math:`\mathrm{clip}(1 - \lambda_{mean} s / (2\sigma'), floor, bound)`."""
        slope = self.lambda_mean / max(2.0 * self.sigma, torch.finfo(s.dtype).tiny)
        return (1.0 - (slope * s).nan_to_num(nan=0.0)).clamp(self.floor, self.bound)

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w up to a constant, per voxel; w: weight ≥ 0."""
        return self.sigma * (w - 1.0).square()

    def log_density(self, w: Tensor) -> Tensor:
        """Log of the density of w normalised on [0, ∞), per voxel; needs σ′ > 0."""
        root = w.new_tensor(self.sigma).sqrt()
        return torch.log(2.0 * root / (torch.pi**0.5 * (1.0 + torch.erf(root)))) - self.penalty(w)


@dataclass(frozen=True, kw_only=True)
class TotalVariationPrior(Prior):
    r"""Prior on w = λ/λ_max in (0, 1] whose penalty is :math:`c / w`, with :math:`c = t^2 / (4 \lambda_{max})`.

    With the weight minimised out the penalty on s is :math:`t \sqrt{s}`, the total variation of the field, where s is
    above :math:`(t / (2 \lambda_{max}))^2`, and quadratic below. The weight is that of lagged diffusivity, Vogel and
    Oman 1996, doi:10.1137/0917016.

    Attributes:
        tv: Slope t > 0 of the penalty in √s. Useful range 0.02 to 2; the default 0.3 did best of 0.1, 0.3 and 1
            on breathing livers.
        lambda_max: Largest weight λ_max > 0, which decides below which gradient the penalty is quadratic. Useful range
            1 to 100; at the default 30 and t = 0.3 it is quadratic below √s = 0.005.
        floor: Least w, in (0, 1); 1e-6 as for the other priors.
    """

    tv: float = _TV["tv"].default
    lambda_max: float = _TV["lambda_max"].default
    floor: float = 1e-6
    name: ClassVar[str] = "tv"

    def __post_init__(self) -> None:
        self._check_hyperparameters()
        _check_floor(self.floor)

    @property
    def scale(self) -> float:
        """Largest weight λ_max."""
        return self.lambda_max

    @property
    def cost(self) -> float:
        """Factor c of the penalty c/w, such that the profile is t·√s."""
        return self.tv**2 / (4.0 * self.lambda_max)

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises the loss: :math:`\mathrm{clip}(\sqrt{c / (\lambda_{max} s)}, floor, 1)`."""
        root = s.clamp(min=torch.finfo(s.dtype).tiny).sqrt()
        return (self.tv / (2.0 * self.lambda_max) / root).clamp(self.floor, 1.0)

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w up to a constant, per voxel; w: weight in (0, 1]."""
        return self.cost / w

    def log_density(self, w: Tensor) -> Tensor:
        r"""Log of the normalised density :math:`e^{-c/w} / E_2(c)` of w on (0, 1], per voxel.

        :math:`E_2` is the exponential integral :math:`\int_1^\infty e^{-cu} u^{-2} du`, to which :math:`u = 1/w` leads.
        """
        from scipy.special import expn, hyperu  # only here: a registration does not need it

        # Where E_2 would underflow, e^c E_2(c) = U(1, 0, c) does not; that in turn is inexact near 0.
        total = expn(2, self.cost) if self.cost < 1.0 else hyperu(1.0, 0.0, self.cost)
        return -self.penalty(w) - math.log(total) + (0.0 if self.cost < 1.0 else self.cost)


@dataclass(frozen=True, kw_only=True)
class UniformPrior(Prior):
    """The same weight everywhere: conventional diffusion regularization, to compare with.

    Attributes:
        strength: The weight λ > 0.
    """

    strength: float = _UNIFORM["lambda"].default
    name: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        self._check_hyperparameters()

    @property
    def scale(self) -> float:
        """The weight λ itself."""
        return self.strength

    def map_weight(self, s: Tensor) -> Tensor:
        """Return 1 everywhere, in the shape of s."""
        return torch.ones_like(s)

    def penalty(self, w: Tensor) -> Tensor:
        """Return 0 everywhere: the weight is given."""
        return torch.zeros_like(w)


PRIORS: dict[str, type[Prior]] = {
    kind.name: kind for kind in (BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior)
}
"""The priors by name."""


def hyperparameters(prior: Prior) -> dict[str, float]:
    """Return the setting of a prior: its hyperparameters by key."""
    return {key: getattr(prior, item.attribute) for key, item in HYPERPARAMETERS[prior.name].items()}


def with_hyperparameters(prior: Prior, setting: Mapping[str, float]) -> Prior:
    """Return a prior with new values of some hyperparameters, by key.

    Raises:
        InputError: The prior has no such hyperparameter, or a value is out of range.
    """
    own = HYPERPARAMETERS[prior.name]
    foreign = sorted(set(setting) - set(own))
    if foreign:
        raise InputError(", ".join(foreign), got=f"together with the {prior.name} prior", expected=", ".join(own))
    return dataclasses.replace(prior, **{own[key].attribute: value for key, value in setting.items()})


def make_prior(name: str, setting: Mapping[str, float]) -> Prior:
    """Build a prior, "beta", "gaussian", "tv" or "uniform", with some hyperparameters by key, defaults for the others.

    Raises:
        InputError: There is no such prior or hyperparameter, or a value is out of range.
    """
    if name not in PRIORS:
        raise InputError("prior", got=repr(name), expected=f"one of: {', '.join(PRIORS)}")
    return with_hyperparameters(PRIORS[name](), setting)


def as_prior(prior: Prior | str | None, defaults: Mapping[str, float] | None = None) -> Prior | None:
    """Return a prior given as such, or by its name with default hyperparameters by key; None stays None.

    Raises:
        InputError: It is neither.
    """
    if isinstance(prior, str):
        return make_prior(prior, defaults or {})
    if prior is None or type(prior) in PRIORS.values():
        return prior
    expected = f"{', '.join(map(repr, PRIORS))} or a prior such as BetaPrior(alpha=0.01)"
    raise InputError("prior", got=f"a {type(prior).__name__}", expected=expected)


def anatomy_prior(anatomy: str) -> Prior:
    """Return the prior measured to be best for "brain", "heart", "lung", "liver" or "pelvis"."""
    check_name(str(anatomy), ANATOMY_SETTINGS, "anatomy")
    return make_prior("beta", ANATOMY_SETTINGS[anatomy])

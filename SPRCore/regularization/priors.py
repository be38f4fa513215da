r"""Priors on the regularization weight :math:`w = \lambda / \lambda_{max}` and the weights that maximise the posterior.

For a given field with local mean squared gradient s, the part of the paper's loss (Eq. 19) that holds the weight is,
per voxel, :math:`r w s - \log p(w)`. Each prior gives its minimiser in closed form (``map_weight``) and the penalty on
s that is left once the weight is minimised out (``profile``). By the envelope theorem the derivative of that profile is
:math:`r w^*(s)`, so no gradient through the weight is ever needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch

from SPRCore.errors import InputError
from SPRCore.typing import Tensor


@runtime_checkable  # so that signatures can be checked in tests
class Prior(Protocol):
    """What the solvers ask of a prior on the weight."""

    name: ClassVar[str]

    @property
    def scale(self) -> float:
        """Factor r of the weighted diffusion: the weight λ of a voxel is r·w."""
        ...

    def map_weight(self, s: Tensor) -> Tensor:
        """Weight w that minimises the loss for the local mean squared gradient s."""
        ...

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w, up to a constant."""
        ...


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
class BetaPrior:
    r"""Beta prior on w = λ/λ_max, paper Eq. 17–18: penalty :math:`-\alpha' \log w - (\beta - 1) \log(1 - w)`.

    Attributes:
        alpha: Spatial coherence α′ = α − 1 ≥ 0: the larger, the closer the weights stay to λ_max everywhere. Useful
            range 0 to 0.2 (brain), 0.6 (heart); the default 0.1 lies inside every range of the paper's Table 1.
        lambda_max: Largest weight λ_max > 0. Useful range 0.5 to 5; the default 1 did best on
            real pairs of heart and brain.
        beta: Second shape parameter β ≥ 1; 1 (default) is the paper's choice, above 1 w stays below 1.
        floor: Least w, in (0, 1); 1e-6 as in the reference code.

    Raises:
        InputError: A value is outside its range.
    """

    alpha: float = 0.1
    lambda_max: float = 1.0
    beta: float = 1.0
    floor: float = 1e-6
    name: ClassVar[str] = "beta"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("alpha", self.alpha, 0.0)
        _check("lambda_max", self.lambda_max, 0.0, strictly=True)
        _check("beta", self.beta, 1.0)
        _check_floor(self.floor)

    @property
    def scale(self) -> float:
        """Largest weight λ_max."""
        return self.lambda_max

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises :math:`\lambda_{max} w s + penalty(w)`.

        For β = 1 it is :math:`\mathrm{clip}(\alpha' / (\lambda_{max} s), floor, 1)`; for β > 1 the smaller root of
        :math:`r s w^2 - (r s + \alpha' + \beta - 1) w + \alpha' = 0`, which lies inside (0, 1).

        Args:
            s: Local mean squared gradient, ≥ 0, dimensionless, any shape.

        Returns:
            w, same shape, in [floor, 1].
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
        """Minus the log density of w up to a constant, per voxel.

        Args:
            w: Weight in (0, 1], any shape.

        Returns:
            Same shape.
        """
        value = -self.alpha * w.log()
        return value if self.beta == 1.0 else value - (self.beta - 1.0) * torch.log1p(-w)

    def log_density(self, w: Tensor) -> Tensor:
        """Log of the normalised density of w on [0, 1], per voxel.

        Args:
            w: Weight in (0, 1), any shape.

        Returns:
            Same shape.
        """
        a, b = w.new_tensor(self.alpha + 1.0), w.new_tensor(self.beta)
        return torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b) - self.penalty(w)

    def profile(self, s: Tensor) -> Tensor:
        r"""Penalty on s with the weight minimised out: quadratic, logarithmic beyond :math:`\alpha'/\lambda_{max}`.

        Args:
            s: Local mean squared gradient, ≥ 0, any shape.

        Returns:
            :math:`\min_w \lambda_{max} w s + penalty(w)`, same shape.
        """
        return _profile(self, s)


@dataclass(frozen=True, kw_only=True)
class GaussianPrior:
    r"""Gaussian prior on w = λ/λ_mean truncated at 0, paper Eq. 15–16: penalty :math:`\sigma' (w - 1)^2`.

    Attributes:
        sigma: σ′ = 1/(2σ²) ≥ 0: the larger, the closer the weights stay to λ_mean. Useful range 0 to 4.
        lambda_mean: Mean weight λ_mean > 0. Useful range 0.5 to 5.
        floor: Least w; 1e-6 as in the reference code.
        bound: Largest w; 5 as in the reference code (reached by networks only, the closed form stays at 1 or below).

    Raises:
        InputError: A value is outside its range.
    """

    sigma: float = 0.5
    lambda_mean: float = 2.0
    floor: float = 1e-6
    bound: float = 5.0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("sigma", self.sigma, 0.0)
        _check("lambda_mean", self.lambda_mean, 0.0, strictly=True)
        _check("floor", self.floor, 0.0, strictly=True)
        _check("bound", self.bound, self.floor, strictly=True)

    @property
    def scale(self) -> float:
        """Mean weight λ_mean."""
        return self.lambda_mean

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises the loss: :math:`\mathrm{clip}(1 - \lambda_{mean} s / (2\sigma'), floor, bound)`.

        Args:
            s: Local mean squared gradient, ≥ 0, dimensionless, any shape.

        Returns:
            w, same shape, in [floor, 1].
        """
        slope = self.lambda_mean / max(2.0 * self.sigma, torch.finfo(s.dtype).tiny)
        return (1.0 - (slope * s).nan_to_num(nan=0.0)).clamp(self.floor, self.bound)

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w up to a constant, per voxel.

        Args:
            w: Weight ≥ 0, any shape.

        Returns:
            Same shape.
        """
        return self.sigma * (w - 1.0).square()

    def log_density(self, w: Tensor) -> Tensor:
        """Log of the density of w normalised on [0, ∞), per voxel; needs σ′ > 0.

        Args:
            w: Weight ≥ 0, any shape.

        Returns:
            Same shape.
        """
        root = w.new_tensor(self.sigma).sqrt()
        return torch.log(2.0 * root / (torch.pi**0.5 * (1.0 + torch.erf(root)))) - self.penalty(w)

    def profile(self, s: Tensor) -> Tensor:
        """Penalty on s with the weight minimised out: quadratic at first, then constant (redescending).

        Args:
            s: Local mean squared gradient, ≥ 0, any shape.

        Returns:
            Same shape.
        """
        return _profile(self, s)


@dataclass(frozen=True, kw_only=True)
class TotalVariationPrior:
    r"""Prior on w = λ/λ_max in (0, 1] whose penalty is :math:`c / w`, with :math:`c = t^2 / (4 \lambda_{max})`.

    With the weight minimised out the penalty on s is :math:`t \sqrt{s}`, the total variation of the field, where s is
    above :math:`(t / (2 \lambda_{max}))^2`, and quadratic below. The weight is that of lagged diffusivity, Vogel and
    Oman 1996, doi:10.1137/0917016.

    Attributes:
        strength: Slope t > 0 of the penalty in √s. Useful range 0.02 to 2; the default 0.3 did best of 0.1, 0.3 and 1
            on breathing livers.
        lambda_max: Largest weight λ_max > 0, which decides below which gradient the penalty is quadratic. Useful range
            1 to 100; at the default 30 and t = 0.3 it is quadratic below √s = 0.005.
        floor: Least w, in (0, 1); 1e-6 as for the other priors.

    Raises:
        InputError: A value is outside its range.
    """

    strength: float = 0.3
    lambda_max: float = 30.0
    floor: float = 1e-6
    name: ClassVar[str] = "tv"

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("tv", self.strength, 0.0, strictly=True)
        _check("lambda_max", self.lambda_max, 0.0, strictly=True)
        _check_floor(self.floor)

    @property
    def scale(self) -> float:
        """Largest weight λ_max."""
        return self.lambda_max

    @property
    def cost(self) -> float:
        """Factor c of the penalty c/w, such that the profile is t·√s."""
        return self.strength**2 / (4.0 * self.lambda_max)

    def map_weight(self, s: Tensor) -> Tensor:
        r"""Weight that minimises the loss: :math:`\mathrm{clip}(\sqrt{c / (\lambda_{max} s)}, floor, 1)`.

        Args:
            s: Local mean squared gradient, ≥ 0, dimensionless, any shape.

        Returns:
            w, same shape, in [floor, 1].
        """
        root = s.clamp(min=torch.finfo(s.dtype).tiny).sqrt()
        return (self.strength / (2.0 * self.lambda_max) / root).clamp(self.floor, 1.0)

    def penalty(self, w: Tensor) -> Tensor:
        """Minus the log density of w up to a constant, per voxel.

        Args:
            w: Weight in (0, 1], any shape.

        Returns:
            Same shape.
        """
        return self.cost / w

    def log_density(self, w: Tensor) -> Tensor:
        r"""Log of the normalised density :math:`e^{-c/w} / E_2(c)` of w on (0, 1], per voxel.

        :math:`E_2` is the exponential integral :math:`\int_1^\infty e^{-cu} u^{-2} du`, to which :math:`u = 1/w` leads.

        Args:
            w: Weight in (0, 1], any shape.

        Returns:
            Same shape.
        """
        from scipy.special import expn, hyperu  # only here: a registration does not need it

        # Where E_2 would underflow, e^c E_2(c) = U(1, 0, c) does not; that in turn is inexact near 0.
        total = expn(2, self.cost) if self.cost < 1.0 else hyperu(1.0, 0.0, self.cost)
        return -self.penalty(w) - math.log(total) + (0.0 if self.cost < 1.0 else self.cost)

    def profile(self, s: Tensor) -> Tensor:
        r"""Penalty on s with the weight minimised out: quadratic at first, then :math:`t \sqrt{s}`.

        Args:
            s: Local mean squared gradient, ≥ 0, any shape.

        Returns:
            Same shape.
        """
        return _profile(self, s)


@dataclass(frozen=True, kw_only=True)
class UniformPrior:
    """The same weight everywhere: conventional diffusion regularization, to compare with.

    Attributes:
        strength: The weight λ > 0.

    Raises:
        InputError: The weight is not positive.
    """

    strength: float = 1.0
    name: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        """Check the range."""
        _check("lambda", self.strength, 0.0, strictly=True)

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

    def profile(self, s: Tensor) -> Tensor:
        """Return λ·s, the plain quadratic penalty."""
        return self.strength * s


def _profile(prior: Prior, s: Tensor) -> Tensor:
    weight = prior.map_weight(s)
    return prior.scale * weight * s + prior.penalty(weight)

"""Figures of the page on hyperpriors, from the priors of the package.

Run by `python docs/explanation/priors_figures.py`; `--out DIR` writes them elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from SPRCore.analysis.figures import save_figure
from SPRCore.analysis.plots import PALETTE, quiet
from SPRCore.analysis.prior_figures import densities_figure
from SPRCore.regularization import BetaPrior, GaussianPrior, TotalVariationPrior, UniformPrior

DENSITIES = {
    r"Gaussian, $w = \lambda / \lambda_{mean}$": {
        rf"$\sigma' = {value:g}$": GaussianPrior(sigma=value) for value in (0.2, 0.5, 2.0, 8.0)
    },
    r"beta, $w = \lambda / \lambda_{max}$": {
        rf"$\alpha' = {value:g}$": BetaPrior(alpha=value) for value in (0.0, 0.1, 1.0, 4.0)
    },
    r"total variation, $w = \lambda / \lambda_{max}$": {
        f"$c = {value:g}$": TotalVariationPrior(tv=2.0 * value**0.5, lambda_max=1.0)
        for value in (0.00075, 0.01, 0.1, 1.0)
    },
}
"""Densities by panel; c is that of the penalty c/w, 0.00075 at the defaults of the prior."""

PROFILES = {
    r"uniform, $\lambda = 1$": UniformPrior(strength=1.0),
    r"Gaussian, $\sigma' = 0.5$, $\lambda_{mean} = 2$": GaussianPrior(sigma=0.5, lambda_mean=2.0),
    r"total variation, $t = 0.3$, $\lambda_{max} = 30$": TotalVariationPrior(tv=0.3, lambda_max=30.0),
    r"beta, $\alpha' = 0.1$, $\lambda_{max} = 1$": BetaPrior(alpha=0.1, lambda_max=1.0),
    r"beta, $\alpha' = 0.01$, $\lambda_{max} = 20$": BetaPrior(alpha=0.01, lambda_max=20.0),
}
"""Priors whose profiles are compared: the defaults, and a beta prior for sliding."""

STYLES = (("#7f7f7f", "-"), (PALETTE[2], "-"), (PALETTE[3], "-"), (PALETTE[1], "-"), (PALETTE[1], "--"))


def profiles_figure() -> Figure:
    """Draw the penalty that each prior leaves on the gradient, and the stiffness λ = r·w* that comes with it."""
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    penalty, stiffness = figure.subplots(1, 2)
    for (label, prior), (color, dashes) in zip(PROFILES.items(), STYLES, strict=True):
        even = torch.linspace(0.0, 1.0, 2001, dtype=torch.float64)
        value = prior.profile(even.square())
        penalty.plot(even, value - value[0], dashes, color=color, label=label)
        root = torch.logspace(-3.0, 1.0, 2001, dtype=torch.float64)
        stiffness.loglog(root, prior.scale * prior.map_weight(root.square()), dashes, color=color)
    penalty.set_title(r"penalty $\rho(s) - \rho(0)$", fontsize=10)
    penalty.set_ylim(0.0, 0.8)
    penalty.set_xlim(0.0, 1.0)
    stiffness.set_title(r"stiffness $\lambda = r\,w^*(s)$", fontsize=10)
    stiffness.set_ylim(1e-3, 100.0)
    stiffness.set_xlim(1e-3, 10.0)
    for panel in (penalty, stiffness):
        panel.set_xlabel(r"$\sqrt{s}$: root mean square of the nine derivatives", fontsize=9)
        quiet(panel)
    stiffness.grid(axis="x", color="#dddddd", linewidth=0.6)
    _name_the_slopes(stiffness)
    figure.legend(*penalty.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _name_the_slopes(panel: Axes) -> None:
    """Say what the straight parts of the stiffness mean."""
    for text, place, color, turn, side in (
        (r"falls as $1/\sqrt{s}$", (1.6, 0.115), PALETTE[3], -33, "left"),
        (r"falls as $1/s$", (2.3, 0.022), PALETTE[1], -52, "left"),
        ("free beyond", (0.63, 0.002), PALETTE[2], 0, "right"),
    ):
        looks = {"color": color, "fontsize": 8, "rotation": turn, "rotation_mode": "anchor"}
        panel.text(*place, text, ha=side, va="bottom", **looks)


def main() -> None:
    """Write both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    out: Path = parser.parse_args().out
    save_figure(densities_figure(DENSITIES), out / "priors-densities.png")
    save_figure(profiles_figure(), out / "priors-profiles.png")


if __name__ == "__main__":
    main()

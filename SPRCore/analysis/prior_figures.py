"""Figure of priors on the weight: densities and their logarithms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from SPRCore.analysis.figures import DPI
from SPRCore.analysis.plots import PALETTE, quiet
from SPRCore.analysis.rows import BenchmarkRow
from SPRCore.analysis.surfaces import SYMBOLS
from SPRCore.regularization import GaussianPrior, Prior, UniformPrior
from SPRCore.regularization.priors import PRIORS, hyperparameters, make_prior

_TITLES = {
    "beta": r"beta, $w = \lambda / \lambda_{max}$",
    "gaussian": r"Gaussian, $w = \lambda / \lambda_{mean}$",
    "tv": r"total variation, $w = \lambda / \lambda_{max}$",
}
_SHAPES = {"beta": ("alpha",), "gaussian": ("sigma",), "tv": ("tv", "lambda_max")}
"""Hyperparameters on which the density of w depends."""

_WIDEST = 2.0  # weights of the Gaussian prior that are shown
_HIGHEST, _LOWEST_LOG = 5.0, -6.0  # of the density and its logarithm, which can be unbounded
_LOWEST = 1e-4  # the logarithm of the density ends at 0


def densities_figure(panels: Mapping[str, Mapping[str, Prior]]) -> Figure:
    """Draw densities of the weight and their logarithms, as Figure 3 of the paper.

    Args:
        panels: Priors of one kind by label, by title of the panel.
    """
    figure = Figure(figsize=(3.0 * max(len(panels), 2), 6.0), dpi=DPI, layout="constrained")
    axes = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    for place, (title, priors) in enumerate(panels.items()):
        top = _WIDEST if any(isinstance(prior, GaussianPrior) for prior in priors.values()) else 1.0
        weight = torch.linspace(_LOWEST, top, 2000, dtype=torch.float64)
        for number, (label, prior) in enumerate(priors.items()):
            log_density, color = prior.log_density(weight), PALETTE[number % len(PALETTE)]
            axes[0, place].plot(weight, log_density.exp(), color=color, label=label)
            axes[1, place].plot(weight, log_density, color=color)
        axes[0, place].set_title(title, fontsize=10)
        axes[1, place].set_xlabel("weight $w$", fontsize=9)
        axes[1, place].set_xlim(0.0, top)
    _fit(axes)
    axes[0, 0].set_ylabel("density $p(w)$", fontsize=9)
    axes[1, 0].set_ylabel(r"$\log\,p(w)$", fontsize=9)
    for panel in axes.flat:
        quiet(panel)
    return figure


def _fit(axes: np.ndarray) -> None:
    """Choose the scales of the density and its logarithm, and place the legends below the panels."""
    values = np.concatenate([line.get_ydata() for panel in axes[0] for line in panel.lines])
    highest = min(_HIGHEST, float(values.max()))
    lowest = max(_LOWEST_LOG, float(np.log(values.clip(min=1e-300)).min()))
    axes[0, 0].set_ylim(0.0, 1.1 * highest)
    axes[1, 0].set_ylim(lowest - 0.3, float(np.log(highest)) + 0.3)
    for density, log_density in axes.T:
        known = density.get_legend_handles_labels()
        log_density.legend(*known, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def rows_prior_figure(rows: Sequence[BenchmarkRow]) -> Figure | None:
    """Draw the priors of the methods of rows, each density once with the methods that have it; None without any."""
    methods: dict[Prior, list[str]] = {}
    for row in rows:
        name = row.setting.get("prior")
        if name in PRIORS and name != UniformPrior.name:
            prior = make_prior(name, {key: row.setting[key] for key in _SHAPES[name] if key in row.setting})
            methods.setdefault(prior, [])
            if row.method not in methods[prior]:
                methods[prior].append(row.method)
    panels: dict[str, dict[str, Prior]] = {}
    for prior, names in methods.items():
        setting = ", ".join(f"{SYMBOLS[key]} {hyperparameters(prior)[key]:.3g}" for key in _SHAPES[prior.name])
        panels.setdefault(_TITLES[prior.name], {})["\n".join([setting, *names])] = prior
    return densities_figure(panels) if panels else None

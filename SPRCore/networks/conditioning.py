r"""Conditioning on hyperparameters: a code c in [0, 1.2]ᴷ enters the layers by FiLM, LoRA or generated weights.

* ``film`` (default): scale and shift of the channels, after their normalization; Perez et al. 2018,
  doi:10.1609/aaai.v32i1.11671; for registration Mok & Chung 2021, doi:10.1007/978-3-030-87202-1_4.
* ``lora``: low-rank factors of a convolution, gated by the code; Hu et al. 2022, arXiv:2106.09685.
* ``full``: every scalar weight is a linear function of the embedded code, the hypernetwork of the paper's Sect. 6.1.3
  and of HyperMorph (Hoopes et al. 2022, doi:10.59275/j.melba.2022-74f1). It has ``hidden`` times the parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.networks.config import NetworkConfig
from SPRCore.typing import Images, Tensor


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Conditioning of a layer: "film", "lora" or "full", units of the embedded code, rank of the factors of "lora"."""

    kind: str
    hidden: int
    rank: int

    @classmethod
    def of(cls, config: NetworkConfig, *, early: bool) -> Condition | None:
        """Return the conditioning of the encoding (`early`, only "full") or of the decoding layers, None without."""
        if config.conditioning is None or (early and config.conditioning != "full"):
            return None
        return cls(kind=config.conditioning, hidden=config.hidden, rank=config.rank)


class CodeEmbedding(nn.Module):
    r"""Embed a code: :math:`(\cos \tfrac{\pi}{2} c, \sin \tfrac{\pi}{2} c)` and four layers.

    The encoding has the same norm for every code, and differs for all codes up to 2. Otherwise the size of a code would
    scale all activations, which makes the training of hypernetworks unstable: Ortiz et al., arXiv:2304.07645.

    Args:
        codes: Number K of hyperparameters.
        hidden: Units of each layer and of the embedding.
    """

    def __init__(self, codes: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2 * codes if i == 0 else hidden, hidden) for i in range(4))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)  # keeps the embedding near unit mean square
            nn.init.zeros_(layer.bias)

    def forward(self, code: Tensor) -> Tensor:
        """Embed codes, hyperparameters over their maxima, shape (B, K), in [0, 1.2], to shape (B, hidden)."""
        angle = 0.5 * math.pi * code
        style = torch.cat([angle.cos(), angle.sin()], dim=1)
        for layer in self.layers:
            style = F.leaky_relu(layer(style), 0.2)
        return style


class _Film(nn.Module):
    r"""Feature-wise linear modulation :math:`(1 + \gamma(h))\,x + \beta(h)`, initialized near the identity.

    Args:
        channels: Channels to modulate.
        hidden: Units of the embedded code h.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * channels)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, image: Images, style: Tensor) -> Images:
        """Modulate features, shape (B, C, X, Y, Z), by the embedded code, shape (B, hidden)."""
        scale, shift = self.linear(style)[:, :, None, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, image, 1.0 + scale)


def film(channels: int, condition: Condition | None) -> _Film | None:
    """Return the modulation of a layer's channels for ``"film"``, otherwise None."""
    return _Film(channels, condition.hidden) if condition is not None and condition.kind == "film" else None

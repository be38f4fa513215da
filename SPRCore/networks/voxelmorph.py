"""VoxelMorph: a U-Net on the concatenated images; Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from SPRCore.networks.blocks import ConvBlock, FlowHead
from SPRCore.networks.conditioning import Condition
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.network import RegistrationNetwork
from SPRCore.networks.registry import register
from SPRCore.networks.weight_head import WeightHead
from SPRCore.typing import Images, Scalars, Tensor, Vectors

SLOPE = 0.2


@register("voxelmorph")
class VoxelMorph(RegistrationNetwork):
    """U-Net with one convolution per level and skips at every level; the code enters its decoder.

    The filters are the enlarged ones of the paper (Sect. 4.2, after Jian et al. 2024): five encoder levels, the first
    at the resolution of the grid, and four decoder levels back to it.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.multiple = 2 ** len(config.decoder)
        early, late = Condition.of(config, early=True), Condition.of(config, early=False)
        inputs = (2 * config.channels, *config.encoder[:-1])
        self.encoder = nn.ModuleList(
            ConvBlock(before, after, early, stride=1 if level == 0 else 2, slope=SLOPE)
            for level, (before, after) in enumerate(zip(inputs, config.encoder, strict=True))
        )
        skips = config.encoder[-2::-1]
        inputs = (config.encoder[-1], *config.decoder[:-1])
        self.decoder = nn.ModuleList(
            ConvBlock(before + skip, after, late, slope=SLOPE)
            for before, skip, after in zip(inputs, skips, config.decoder, strict=True)
        )
        self.flow = FlowHead(config.decoder[-1], late)
        self.weight = WeightHead(config.decoder[-1], config, late) if config.weight else None

    def extract(self, moving: Images, fixed: Images, style: Tensor | None) -> tuple[Tensor, ...]:
        """Features of every encoder level, finest first."""
        features = torch.cat([moving, fixed], dim=1)
        levels = []
        for block in self.encoder:
            features = block(features, style)
            levels.append(features)
        return tuple(levels)

    def predict(self, tensors: tuple[Tensor, ...], style: Tensor | None) -> tuple[Vectors, Scalars | None]:
        """Decode coarse to fine."""
        *skips, features = tensors
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([features, skip], dim=1), style)
        return self.flow(features, style), None if self.weight is None else self.weight(features, style)

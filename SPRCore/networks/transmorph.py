"""TransMorph and its time-varying form: a Swin encoder, a convolutional decoder, and one or several flows.

Chen et al. 2022, doi:10.1016/j.media.2022.102615 (TransMorph); Chen, Frey & Du 2022,
doi:10.1007/978-3-031-11203-4_11 (TVF); with the weight head TM-SPR, Chen et al., MedIA 2025, arXiv:2412.17982.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from SPRCore.networks.blocks import ConvBlock, FlowHead, upsample
from SPRCore.networks.conditioning import Condition, film
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.layers import convolution
from SPRCore.networks.network import RegistrationNetwork
from SPRCore.networks.registry import register
from SPRCore.networks.sampling import sample_at
from SPRCore.networks.swin import PATCH, SwinEncoder
from SPRCore.networks.weight_head import WeightHead
from SPRCore.typing import Images, Scalars, Tensor, Vectors

SLOPE = 0.01


class _UpBlock(nn.Module):
    """Upsampling by two, concatenation of a skip, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int, condition: Condition | None) -> None:
        super().__init__()
        self.first = ConvBlock(inputs + skip, outputs, condition, norm="instance", slope=SLOPE)
        self.second = ConvBlock(outputs, outputs, condition, norm="instance", slope=SLOPE)

    def forward(self, features: Images, skip: Images, style: Tensor | None) -> Images:
        """Apply the block to coarse features and a skip of twice their resolution."""
        return self.second(self.first(torch.cat([upsample(features), skip], dim=1), style), style)


class _TimeStep(nn.Module):
    """One flow from the trunk of the decoder and the images aligned by the previous flows.

    The reference concatenates the trunk and the features of the images before a convolution. A convolution is linear,
    so the trunk's part of it is computed once for all steps (``TransMorph.trunk``) and only added here. `early` and
    `late` condition the encoding and the decoding layers.
    """

    def __init__(self, config: NetworkConfig, skip: int, early: Condition | None, late: Condition | None) -> None:
        super().__init__()
        width = config.features
        self.skip = ConvBlock(2 * config.channels, skip, early, norm=config.norm, slope=SLOPE)
        self.join = convolution(skip, width, early, bias=False)
        self.norm = nn.InstanceNorm3d(width)
        self.film = film(width, late)
        self.refine = ConvBlock(width, width, late, norm="instance", slope=SLOPE)
        self.head = FlowHead(width, late)

    def joined(self, moving: Images, fixed: Images, trunk: Images, style: Tensor | None) -> Images:
        """Add the features of the images to the trunk's part; conditioned only if all weights are generated."""
        skip = self.skip(torch.cat([moving, fixed], dim=1), style)
        return self.norm(trunk + self.join(skip, style))

    def read(self, joined: Images, style: Tensor | None) -> tuple[Images, Vectors]:
        """Compute features and a flow."""
        joined = joined if self.film is None else self.film(joined, style)
        features = self.refine(F.leaky_relu(joined, SLOPE), style)
        return features, self.head(features, style)

    def forward(self, moving: Images, fixed: Images, trunk: Images, style: Tensor | None) -> tuple[Images, Vectors]:
        """Compute features and a flow from the images."""
        return self.read(self.joined(moving, fixed, trunk, style), style)


@register("transmorph")
@register("transmorph_tvf")
class TransMorph(RegistrationNetwork):
    """TransMorph with one flow, or with one per time step.

    With FiLM and LoRA only the time steps and the weight head depend on the code, so that a change of the code costs
    less than half a forward pass: most of the arithmetic is at the finest resolution.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        early, late = Condition.of(config, early=True), Condition.of(config, early=False)
        several = config.architecture == "transmorph_tvf"
        steps, half = config.time_steps if several else 1, config.embed // 2
        self.multiple = PATCH * 2 ** (len(config.depths) - 1)
        self.encoder = SwinEncoder(config, early)
        self.skip = ConvBlock(2 * config.channels, half, early, norm=config.norm, slope=SLOPE)
        widths = [*(config.embed * 2**level for level in reversed(range(len(config.depths)))), half]
        self.up = nn.ModuleList(_UpBlock(before, after, after, early) for before, after in itertools.pairwise(widths))
        self.trunk = convolution(half, steps * config.features, early, bias=False)
        self.steps = nn.ModuleList(
            _TimeStep(config, half if several else config.features, early, late) for _ in range(steps)
        )
        self.weight = WeightHead(config.features, config, late) if config.weight else None

    def extract(self, moving: Images, fixed: Images, style: Tensor | None) -> tuple[Tensor, ...]:
        """Return the images, the joined features of the first step, and the trunk's part of the further steps."""
        pair = torch.cat([moving, fixed], dim=1)
        *skips, features = self.encoder(pair, style)
        skips = [self.skip(F.avg_pool3d(pair, 3, stride=2, padding=1), style), *skips]
        for block, skip in zip(self.up, reversed(skips), strict=True):
            features = block(features, skip, style)
        trunk = self.trunk(upsample(features), style)
        first, rest = trunk[:, : self.config.features], trunk[:, self.config.features :]
        return moving, fixed, self._recomputed(self.steps[0].joined, moving, fixed, first, style), rest

    def predict(self, tensors: tuple[Tensor, ...], style: Tensor | None) -> tuple[Vectors, Scalars | None]:
        """Compute the flows in sequence, each from the images aligned by the previous ones."""
        moving, fixed, first, rest = tensors
        total, update = self._recomputed(self.steps[0].read, first, style)
        flow = self._joined(torch.zeros_like(update), update)
        parts = rest.split(self.config.features, dim=1) if len(self.steps) > 1 else ()
        for step, part in zip(self.steps[1:], parts, strict=True):
            warped = sample_at(moving, flow, self.config.sampling)
            features, update = self._recomputed(step, warped, fixed, part, style)
            flow, total = self._joined(flow, update), total + features
        return flow, None if self.weight is None else self.weight(total, style)

    def _joined(self, flow: Vectors, update: Vectors) -> Vectors:
        at = flow if self.config.composition == "composition" else update
        return flow + sample_at(update, at, self.config.sampling)

    def _recomputed(self, function: Callable[..., Any], *arguments: Tensor | None) -> Any:
        """Call a part of a time step; in training its activations are recomputed in the backward pass."""
        # A recomputed batch normalization would update its statistics twice.
        recomputed = self.config.checkpoint and self.training and self.config.norm == "instance"
        if not (recomputed and torch.is_grad_enabled()):
            return function(*arguments)
        return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)

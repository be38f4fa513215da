"""Base class of the networks: padding, pooling, integration, encoding and decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn
from torch.nn import functional as F

from SPRCore.errors import InputError
from SPRCore.networks.blocks import at_least_float32, full_precision, upsample
from SPRCore.networks.conditioning import CodeEmbedding
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.output import RegistrationOutput
from SPRCore.networks.sampling import integrate_by, true_displacement
from SPRCore.networks.weight_head import activate_weight
from SPRCore.regularization.hyperparameters import BEYOND_TRAINING
from SPRCore.typing import Images, Scalars, Tensor, Vectors

MIN_SIZE = 16
"""Least voxels along an axis; otherwise the coarsest features are one voxel of mostly padding."""


@dataclass(frozen=True)
class Features:
    """Features of a pair that do not depend on the code, first axis the batch, and sizes (X, Y, Z) of the images."""

    tensors: tuple[Tensor, ...]
    shape: tuple[int, int, int]

    def expanded(self, batch: int) -> Features:
        """Repeat the features of one pair without a copy, to decode a batch of codes at once."""
        return replace(self, tensors=tuple(tensor.expand(batch, *tensor.shape[1:]) for tensor in self.tensors))


class RegistrationNetwork(nn.Module, ABC):
    """A network that predicts the deformation of one image onto another.

    Subclasses implement ``extract``, independent of the code, and ``predict``, on images whose sizes are multiples of
    ``multiple``.

    Args:
        config: Configuration of the network.

    Attributes:
        multiple: Divisor of the sizes of the images in ``extract``.
    """

    multiple: int

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = CodeEmbedding(config.codes, config.hidden) if config.codes else None

    @abstractmethod
    def extract(self, moving: Images, fixed: Images, style: Tensor | None) -> tuple[Tensor, ...]:
        """Compute the features that do not depend on the code; ``style`` is None unless weights are generated."""

    @abstractmethod
    def predict(self, tensors: tuple[Tensor, ...], style: Tensor | None) -> tuple[Vectors, Scalars | None]:
        """Compute the flow on the network's grid, and the weight before its activation or None."""

    def forward(
        self, moving: Images, fixed: Images, code: Tensor | None = None, *, inverse: bool = True
    ) -> RegistrationOutput:
        """Register pairs of images.

        Args:
            moving: Moving images, shape (B, C, X, Y, Z), intensities in [0, 1], 16 voxels or more along each axis.
            fixed: Fixed images on the same grid.
            code: Hyperparameters over the maxima of the training, shape (B, codes), in [0, 1.2], above 1 beyond the
                training; None for a network without.
            inverse: Whether to integrate the inverse, too, if the network integrates.

        Returns:
            Fields on the grid of the images, in its voxels.

        Raises:
            InputError: Images of wrong or different shapes, or too small; a code that is missing, not expected, of the
                wrong shape or outside [0, 1.2].
        """
        return self.decode(self.encode(moving, fixed), code, inverse=inverse)

    def encode(self, moving: Images, fixed: Images) -> Features:
        """Compute the features that do not depend on the code, once per pair; arguments as for ``forward``."""
        self._check_images(moving, fixed)
        shape = tuple(moving.shape[2:])
        pair = self._prepared(moving), self._prepared(fixed)
        return Features(pair if self._generated else self.extract(*pair, None), shape)

    def decode(
        self, features: Features, code: Tensor | None = None, *, inverse: bool = True, velocity: bool = True
    ) -> RegistrationOutput:
        """Compute the fields of encoded pairs for a code, on the grid of the images, in its voxels.

        Features of one pair suit any number of codes. The velocity is returned on request, if the network integrates.

        Raises:
            InputError: As for ``forward``.
        """
        flow, logits = self._predicted(features, code)
        with full_precision(flow):
            fields = [*self._integrated(flow, inverse), flow if self.config.integrate and velocity else None]
            return self._output(fields, logits, features.shape)

    def decode_velocity(self, features: Features, code: Tensor | None = None) -> tuple[Vectors, Scalars | None]:
        """Compute velocity and weight (or None) of encoded pairs for a code: ``decode`` without the integrations.

        Raises:
            InputError: As for ``decode``; the network has no velocity.
        """
        if not self.config.integrate:
            raise InputError("velocity", got="a network that predicts a displacement", expected="one that integrates")
        flow, logits = self._predicted(features, code)
        with full_precision(flow):
            return self._restored(flow, features.shape), self._weight(logits, features.shape)

    def _predicted(self, features: Features, code: Tensor | None) -> tuple[Vectors, Scalars | None]:
        style = self._style(code, len(features.tensors[0]))
        if style is not None:
            features = features.expanded(len(style))
        # The published hypernetwork generates every weight, so that no feature is independent of the code.
        tensors = self.extract(*features.tensors, style) if self._generated else features.tensors
        return self.predict(tensors, style)

    @property
    def _generated(self) -> bool:
        return self.config.conditioning == "full"

    @property
    def _pooling(self) -> int:
        return 2 if self.config.half_resolution else 1

    def _prepared(self, image: Images) -> Images:
        """Pad to a multiple by repeating the border, and pool."""
        multiple = self.multiple * self._pooling
        padding = [side for size in reversed(image.shape[2:]) for side in (0, -size % multiple)]
        image = F.pad(image, padding, mode="replicate") if any(padding) else image
        return F.avg_pool3d(image, 2) if self.config.half_resolution else image

    def _integrated(self, flow: Vectors, inverse: bool) -> tuple[Vectors, Vectors | None]:
        config = self.config
        if not config.integrate:
            return flow, None
        backward = integrate_by(-flow, config.squarings, config.sampling) if inverse else None
        return integrate_by(flow, config.squarings, config.sampling), backward

    def _output(
        self, fields: Sequence[Vectors | None], logits: Scalars | None, shape: Sequence[int]
    ) -> RegistrationOutput:
        config = self.config
        fields = [None if field is None else self._restored(field, shape) for field in fields]
        if config.half_resolution and config.sampling == "half_voxel":
            # The author's pipeline ends with its own sampler on the full grid, which these displacements reproduce.
            fields[:2] = [None if field is None else true_displacement(field) for field in fields[:2]]
        weight = self._weight(logits, shape)
        return RegistrationOutput(
            displacement=fields[0], inverse_displacement=fields[1], velocity=fields[2], weight=weight
        )

    def _weight(self, logits: Scalars | None, shape: Sequence[int]) -> Scalars | None:
        if logits is None:
            return None
        logits = enlarged(logits, self.config.weight_stride * self._pooling, shape)
        return activate_weight(logits, self.config.weight)

    def _restored(self, field: Vectors, shape: Sequence[int]) -> Vectors:
        return enlarged(field * self._pooling, self._pooling, shape)

    def _style(self, code: Tensor | None, pairs: int) -> Tensor | None:
        if self.embedding is None:
            if code is not None:
                raise InputError("code", got=f"shape {tuple(code.shape)}", expected="none: the network has no codes")
            return None
        numbers = f"numbers in [0, {BEYOND_TRAINING:g}]: hyperparameters over the maxima of the training"
        expected = f"shape ({pairs}, {self.config.codes}) of {numbers}"
        if code is None:
            raise InputError("code", got="none", expected=expected)
        if code.ndim != 2 or code.shape[1] != self.config.codes or pairs not in (1, len(code)):
            raise InputError("code", got=f"shape {tuple(code.shape)}", expected=expected)
        if not code.is_meta and not bool(((code >= -1e-6) & (code <= BEYOND_TRAINING + 1e-6)).all()):
            raise InputError("code", got=f"{code.min():g} to {code.max():g}", expected=expected)
        return self.embedding(at_least_float32(code))

    def _check_images(self, moving: Images, fixed: Images) -> None:
        for name, image in (("moving image", moving), ("fixed image", fixed)):
            good = image.ndim == 5 and image.shape[1] == self.config.channels and min(image.shape[2:]) >= MIN_SIZE
            if not (good and image.is_floating_point()):
                expected = f"(B, {self.config.channels}, X, Y, Z) real numbers, {MIN_SIZE} or more along each axis"
                raise InputError(name, got=f"shape {tuple(image.shape)} of {image.dtype}", expected=expected)
        if moving.shape != fixed.shape:
            raise InputError(
                "moving image", got=f"shape {tuple(moving.shape)}", expected=f"that of the fixed: {tuple(fixed.shape)}"
            )


def enlarged(image: Images, factor: int, shape: Sequence[int]) -> Images:
    """Upsample the needed part of a padded image and crop it; the last voxels depend on one more voxel."""
    needed = _cropped(image, [-(-size // factor) + 1 for size in shape])
    return _cropped(upsample(needed, factor), shape).contiguous()


def _cropped(image: Images, shape: Sequence[int]) -> Images:
    return image[:, :, : shape[0], : shape[1], : shape[2]]

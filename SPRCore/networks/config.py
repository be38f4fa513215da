"""Configuration of a network: a frozen, validated, JSON-serializable dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from SPRCore.config import check_name
from SPRCore.errors import InputError

# Bounds are larger than every published size and smaller than sizes that would exhaust a machine.
_INTEGERS = {
    "channels": (1, 16),
    "embed": (8, 384),
    "features": (2, 256),
    "time_steps": (1, 32),
    "squarings": (0, 12),
    "weight_width": (1, 256),
    "weight_stride": (1, 4),
    "codes": (0, 2),
    "hidden": (4, 256),
    "rank": (1, 64),
}
_TUPLES = {  # (shortest, longest), (least, largest)
    "encoder": ((2, 6), (1, 512)),
    "decoder": ((1, 5), (1, 512)),
    "depths": ((2, 4), (1, 24)),
    "heads": ((2, 4), (1, 64)),
    "window": ((3, 3), (1, 16)),
}
_CHOICES = {
    "architecture": ("voxelmorph", "transmorph", "transmorph_tvf"),
    "composition": ("composition", "addition"),
    "norm": ("instance", "batch"),
    "sampling": ("border", "zeros", "half_voxel"),
    "weight": (None, "beta", "gaussian", "tv"),
    "conditioning": (None, "film", "lora", "full"),
}
_FLAGS = ("integrate", "half_resolution", "checkpoint")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Architecture and sizes of a registration network; plain values only.

    Attributes:
        architecture: ``"voxelmorph"``, ``"transmorph"`` (one head) or ``"transmorph_tvf"`` (one head per time step).
        channels: Channels of each of the two images.
        encoder: VoxelMorph: filters of the encoder; the first at the grid's resolution, each further one at half of
            the previous one. Defaults here and below are the sizes of the paper, Sect. 4.2–4.3.
        decoder: VoxelMorph: filters of the decoder, coarsest first, one fewer than the encoder has.
        embed: TransMorph: channels of a 4³ patch, even; doubled at each level.
        depths: TransMorph: Swin blocks per level; their number is the number of levels.
        heads: TransMorph: attention heads per level.
        window: TransMorph: attention window in patches; the reference takes the full image size over 32.
        drop_path: TransMorph: rate of stochastic depth at the last block, in [0, 1), rising linearly from 0.
        features: TransMorph: channels of the finest features, the input of the flow and weight heads.
        time_steps: TransMorph-TVF: number of flows.
        composition: Combination of these flows: ``"composition"`` (default), or ``"addition"`` as in the paper's
            repository.
        norm: Normalization of skip convolutions and weight head: ``"instance"`` (default: training has batches of
            one) or ``"batch"`` as in the paper's repository.
        integrate: Whether the flow is a stationary velocity to be integrated, or the displacement.
        squarings: Squaring steps of the integration, paper Eq. 20.
        half_resolution: Whether images are pooled by two and the field is upsampled to the grid of the input.
        sampling: Sampling of images and fields: ``"border"`` (as everywhere in SPRCore), or that of imported
            checkpoints: ``"zeros"`` outside the grid, or ``"half_voxel"``, see ``sampling.py``.
        weight: Prior of the weight head, or None for no weight head.
        weight_width: Channels inside the weight head.
        weight_stride: The weight is predicted on a grid coarser than the network's by this factor and upsampled, which
            makes it smooth: with pooled images, 2 is the quarter resolution of the paper's Sect. 3.5.
        conditioning: Kind of conditioning on a code of hyperparameters, or None; see ``conditioning.py``.
        codes: Number of hyperparameters in a code: 1 or 2 with ``conditioning``, else 0.
        hidden: Units of the embedding of a code; the published hypernetwork has 96.
        rank: Rank of the low-rank factors of ``"lora"``.
        checkpoint: Whether training recomputes the features of a time step in the backward pass.

    Raises:
        InputError: A value is of the wrong type, outside its bounds, or does not fit the others.
    """

    architecture: str = "voxelmorph"
    channels: int = 1
    encoder: tuple[int, ...] = (16, 32, 64, 96, 128)
    decoder: tuple[int, ...] = (128, 96, 64, 32)
    embed: int = 96
    depths: tuple[int, ...] = (4, 4, 5)
    heads: tuple[int, ...] = (8, 8, 8)
    window: tuple[int, int, int] = (5, 6, 7)
    drop_path: float = 0.3
    features: int = 16
    time_steps: int = 7
    composition: str = "composition"
    norm: str = "instance"
    integrate: bool = True
    squarings: int = 7
    half_resolution: bool = False
    sampling: str = "border"
    weight: str | None = None
    weight_width: int = 48
    weight_stride: int = 2
    conditioning: str | None = None
    codes: int = 0
    hidden: int = 64
    rank: int = 4
    checkpoint: bool = True

    def __post_init__(self) -> None:
        for name, bounds in _INTEGERS.items():
            _check_integer(name, getattr(self, name), bounds)
        for name, (lengths, bounds) in _TUPLES.items():
            _check_tuple(name, getattr(self, name), lengths, bounds)
        for name, choices in _CHOICES.items():
            _require(getattr(self, name) in choices, name, repr(getattr(self, name)), " | ".join(map(str, choices)))
        for name in _FLAGS:
            _require(isinstance(getattr(self, name), bool), name, repr(getattr(self, name)), "true or false")
        rate = self.drop_path
        _require(isinstance(rate, (int, float)) and 0 <= rate < 1, "drop_path", repr(rate), "a number in [0, 1)")
        self._check_consistency()

    def _check_consistency(self) -> None:
        fits = len(self.decoder) == len(self.encoder) - 1
        _require(
            fits, "decoder", f"{len(self.decoder)} filters", f"{len(self.encoder) - 1}, one fewer than the encoder"
        )
        _require(self.embed % 2 == 0, "embed", str(self.embed), "an even number")
        _require(len(self.heads) == len(self.depths), "heads", f"{len(self.heads)}", f"{len(self.depths)} as in depths")
        for level, heads in enumerate(self.heads):
            width = self.embed * 2**level
            _require(width % heads == 0, "heads", f"{heads} on {width} channels", "a divisor of the channels")
        conditioned = self.conditioning is not None
        _require(conditioned == (self.codes > 0), "codes", str(self.codes), "1 or 2 with conditioning, 0 without")

    def to_dict(self) -> dict[str, object]:
        """Return name and value of every attribute as plain values for JSON, sizes as lists."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> NetworkConfig:
        """Make a configuration of (part of) the result of ``to_dict``, perhaps read back from JSON.

        Raises:
            InputError: An unknown name, or a value that the constructor refuses.
        """
        if not isinstance(values, Mapping):
            raise InputError("network configuration", got=type(values).__name__, expected="a mapping")
        for name in values:
            check_name(str(name), _NAMES, "network configuration")
        return cls(**{str(key): tuple(value) if isinstance(value, list) else value for key, value in values.items()})


_NAMES = tuple(field.name for field in dataclasses.fields(NetworkConfig))


def _require(good: bool, name: str, got: str, expected: str) -> None:
    if not good:
        raise InputError(f"network configuration, {name}", got=got[:64], expected=expected)


def _check_integer(name: str, value: object, bounds: tuple[int, int]) -> None:
    low, high = bounds
    good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _require(good, name, repr(value), f"an integer of {low} to {high}")


def _check_tuple(name: str, value: object, lengths: tuple[int, int], bounds: tuple[int, int]) -> None:
    shortest, longest = lengths
    good = isinstance(value, tuple) and shortest <= len(value) <= longest
    count = str(shortest) if shortest == longest else f"{shortest} to {longest}"
    _require(good, name, repr(value), f"{count} integers")
    for item in value:
        _check_integer(name, item, bounds)

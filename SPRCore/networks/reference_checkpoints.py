"""Import of the checkpoints released by the paper's author, from their tensors alone.

Two repositories of the same author write them: the paper's (Spatially-Varying-Regularization-ImgReg) and the toolkit
MIR. Both save a pickle with the key ``state_dict``, of TransMorph-TVF or TM-SPR, MIR of TransMorph, too. All sizes are
those of the tensors. The normalization of the first skip identifies the repository: with a weight the paper's has batch
normalization and MIR instance normalization, without one it is the reverse. The remaining options have defaults:

===========  ============  ==============================================
             paper         MIR
===========  ============  ==============================================
composition  addition      composition
integrate    if the file holds the grid of an integration; without any grid:
             yes           yes, but not for TVF without weight
sampling     zeros         half_voxel, its own sampler (``sampling.py``)
===========  ============  ==============================================

The weight is a sigmoid in both, also where it was trained under the Gaussian prior.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.networks.config import NetworkConfig
from SPRCore.networks.registry import build
from SPRCore.networks.windows import relative_index
from SPRCore.typing import Tensor

# From our names to the author's, one after the other.
_RULES = (
    (r"^encoder\.patches", "transformer.patch_embed.proj"),
    (r"^encoder\.patch_norm", "transformer.patch_embed.norm"),
    (r"^encoder\.levels\.(\d+)\.merge", lambda found: f"transformer.layers.{int(found[1]) - 1}.downsample"),
    (r"^encoder\.levels\.(\d+)\.norm", r"transformer.norm\1"),
    (r"^encoder\.levels", "transformer.layers"),
    (r"attention\.table$", "attn.relative_position_bias_table"),
    (r"attention", "attn"),
    (r"expand", "mlp.fc1"),
    (r"contract", "mlp.fc2"),
    (r"^up\.(\d+)\.first\.conv", r"up\1.conv1.0"),
    (r"^up\.(\d+)\.second\.conv", r"up\1.conv2.0"),
    (r"^skip\.conv", "c1.0"),
    (r"^skip\.norm", "c1.1"),
    (r"^steps\.(\d+)\.skip\.conv", r"cs.\1.0"),
    (r"^steps\.(\d+)\.skip\.norm", r"cs.\1.1"),
    (r"^steps\.(\d+)\.join", r"up3s.\1.conv1.0"),
    (r"^steps\.(\d+)\.refine\.conv", r"up3s.\1.conv2.0"),
    (r"^steps\.(\d+)\.head\.conv", r"reg_heads.\1.0"),
    (r"^weight\.first\.conv", "sigma_0.0"),
    (r"^weight\.first\.norm", "sigma_0.1"),
    (r"^weight\.second\.conv", "sigma_1.0"),
    (r"^weight\.second\.norm", "sigma_1.1"),
    (r"^weight\.last", "sigma_2"),
)
_RULES_OF_ONE_FLOW = ((r"^cs\.0", "c2"), (r"^up3s\.0", "up3"), (r"^reg_heads\.0", "reg_head"))
_UNUSED = re.compile(r"(relative_position_index|\.grid|^reg_head\.0\.(weight|bias))$")
"""Unused tensors: indices and grids are computed, and ``reg_head`` is not used with several heads."""


def import_checkpoint(
    path: str | Path, composition: str | None = None, integrate: bool | None = None, half_resolution: bool = False
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Convert a checkpoint of the author to configuration and tensors of this package.

    Args:
        path: The ``.pth.tar`` file. Nothing in it is executed.
        composition: ``"composition"`` or ``"addition"`` of the flows; the default of its repository if None.
        integrate: Whether the flow is a velocity; None for that of the file, or the default of its repository.
        half_resolution: False for the author's module, on images already pooled by two. True for the author's scripts,
            with pooling before and upsampling after; the fields of MIR are then converted to those of its sampler.

    Returns:
        Configuration, and tensors that ``build(config).load_state_dict`` takes.

    Raises:
        InputError: The file cannot be read safely, or has another format; the message names the first tensor that does
            not fit.
    """
    tensors = _read(Path(path))
    config = _infer(tensors, composition, integrate, half_resolution)
    return config, _renamed(tensors, config)


def _read(path: Path) -> dict[str, Tensor]:
    wanted = "a .pth.tar file with the key 'state_dict'"
    try:
        with _numpy_numbers():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"checkpoint {path}", got=str(error.strerror or error), expected=wanted) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = str(error).partition("\n")[0][:160]
        raise InputError(
            f"checkpoint {path}", got=f"a file that cannot be read safely: {reason}", expected=wanted
        ) from error
    tensors = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(tensors, Mapping) or not tensors:
        raise InputError(f"checkpoint {path}", got="no state_dict", expected=wanted)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise InputError(f"checkpoint {path}", got=f"{name!r}, which is no tensor", expected="tensors by name")
    return dict(tensors)


def _numpy_numbers() -> contextlib.AbstractContextManager:
    """Allow numbers of numpy, the type of the best Dice in these files: plain bytes, no code."""
    if torch.__version__ < (2, 6):  # does not support the name used by an older numpy
        return contextlib.nullcontext()
    number = np.float64(0).__reduce__()[0]
    names = [(number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return torch.serialization.safe_globals([*names, np.dtype, *(type(np.dtype(kind)) for kind in "dfl")])


def _infer(
    tensors: Mapping[str, Tensor], composition: str | None, integrate: bool | None, half_resolution: bool
) -> NetworkConfig:
    several, weighted = "reg_heads.0.0.weight" in tensors, "sigma_2.weight" in tensors
    batch = "c1.1.running_mean" in tensors
    paper = several and weighted == batch
    width, channels, *_ = _shape(tensors, "transformer.patch_embed.proj.weight", 5)
    blocks = "transformer.layers.{}.blocks.{}.attn.relative_position_bias_table"
    levels = _counted(tensors, lambda level: blocks.format(level, 0))
    return NetworkConfig(
        architecture="transmorph_tvf" if several else "transmorph",
        channels=channels // 2,
        embed=width,
        depths=tuple(_counted(tensors, lambda block, i=level: blocks.format(i, block)) for level in range(levels)),
        heads=tuple(_shape(tensors, blocks.format(level, 0), 2)[1] for level in range(levels)),
        window=_window(tensors, blocks.format(0, 0)),
        features=_shape(tensors, "reg_heads.0.0.weight" if several else "reg_head.0.weight", 5)[1],
        time_steps=_counted(tensors, "reg_heads.{}.0.weight".format) if several else 1,
        composition=composition or ("addition" if paper else "composition"),
        norm="batch" if batch else "instance",
        integrate=_integrates(tensors, otherwise=paper or weighted or not several) if integrate is None else integrate,
        half_resolution=half_resolution,
        sampling="zeros" if paper else "half_voxel",
        weight="beta" if weighted else None,
        weight_width=_shape(tensors, "sigma_0.0.weight", 5)[0] if weighted else 1,
        weight_stride=1,
    )


def _shape(tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    if name not in tensors:
        raise InputError(f"checkpoint, tensor {name}", got="none in the file", expected="that of TransMorph or TM-SPR")
    if tensors[name].ndim != axes:
        raise InputError(f"checkpoint, tensor {name}", got=f"{tensors[name].ndim} axes", expected=str(axes))
    return tuple(tensors[name].shape)


def _counted(tensors: Mapping[str, Tensor], name: Callable[[int], str]) -> int:
    return next(number for number in itertools.count() if name(number) not in tensors)


def _integrates(tensors: Mapping[str, Tensor], *, otherwise: bool) -> bool:
    grids = [name for name in tensors if name.endswith(".grid")]
    return any(name.startswith(("vec_int.", "integrate.")) for name in grids) if grids else otherwise


def _window(tensors: Mapping[str, Tensor], table: str) -> tuple[int, int, int]:
    """Return the window whose pairs of tokens have the table indices of the file."""
    rows, name = _shape(tensors, table, 2)[0], table.replace("bias_table", "index")
    tokens = _shape(tensors, name, 2)[0]
    fitting = [
        window
        for window in itertools.product(range(1, 17), repeat=3)
        if math.prod(window) == tokens and math.prod(2 * size - 1 for size in window) == rows
        if torch.equal(relative_index(window, window), tensors[name])
    ]
    if len(fitting) > 1 and "spatial_trans.grid" in tensors:
        # A window of one token along an axis is ambiguous; the author uses the full image size over 32.
        full = _shape(tensors, "spatial_trans.grid", 5)[2:]
        fitting = [window for window in fitting if window == tuple(size // 32 for size in full)]
    if len(fitting) != 1:
        expected = "the pairs of one window, or spatial_trans.grid for a unique one"
        raise InputError(f"checkpoint, tensor {name}", got=f"{tokens} tokens for {rows} rows", expected=expected)
    return fitting[0]


def _renamed(tensors: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        wanted = build(config).state_dict()
    trunk = wanted.pop("trunk.weight")
    renamed, parts, used = {}, [], set()
    for ours, expected in wanted.items():
        name = author_name(ours, config)
        shape = list(expected.shape)
        joins = ours.endswith(".join.weight")
        shape[1:2] = [shape[1] + trunk.shape[1]] if joins else shape[1:2]
        tensor = _taken(tensors, name, shape)
        if joins:  # the trunk's part of the convolution is computed once for all steps
            parts.append(tensor[:, : trunk.shape[1]])
            tensor = tensor[:, trunk.shape[1] :]
        renamed[ours] = tensor.to(expected.dtype, copy=True).contiguous()
        used.add(name)
    left = [name for name in tensors if name not in used and not _UNUSED.search(name)]
    if left:
        raise InputError(
            f"checkpoint, tensor {left[0]}", got="one more than the model has", expected="none of this name"
        )
    return {"trunk.weight": torch.cat(parts).to(trunk.dtype), **renamed}


def author_name(name: str, config: NetworkConfig) -> str:
    """Return the name of a tensor in the author's checkpoint of a network."""
    for pattern, replacement in (*_RULES, *(_RULES_OF_ONE_FLOW if config.architecture == "transmorph" else ())):
        name = re.sub(pattern, replacement, name)
    return name


def _taken(tensors: Mapping[str, Tensor], name: str, shape: list[int]) -> Tensor:
    if name not in tensors or list(tensors[name].shape) != shape:
        got = f"shape {tuple(tensors[name].shape)}" if name in tensors else "none in the file"
        raise InputError(f"checkpoint, tensor {name}", got=got, expected=f"shape {tuple(shape)}")
    return tensors[name]

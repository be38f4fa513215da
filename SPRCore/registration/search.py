"""Discrete search over displacements of blocks: a start for large motion that differs between neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from SPRCore.functional import logarithm, mirrored_box_mean, resize, warp
from SPRCore.registration.level import Pausing
from SPRCore.registration.newton import conjugate_gradients
from SPRCore.registration.pyramid import Level, make_level
from SPRCore.regularization import (
    TotalVariationPrior,
    edge_weights,
    laplacian_diagonal,
    squared_gradient,
    weighted_laplacian,
)
from SPRCore.regularization.diffusion import TERMS
from SPRCore.similarity.mind import mind_ssc
from SPRCore.typing import Images, Scalars, Tensor, Vectors

_SEARCH_PRIOR = TotalVariationPrior(tv=0.3, lambda_max=30.0)
"""Prior of the search, independent of that of the registration, so that one start serves all settings of a pair. Total
variation lets neighboring blocks move differently at little cost."""

_DESCRIPTOR_SCALE = 100.0
"""Energy of one unit of mean squared difference of descriptors, which is small compared to 1 - squared correlation."""

_FALL = 1.0 / 3.0
"""Factor of the coupling length squared from one round to the next."""


@dataclass(frozen=True, kw_only=True)
class _SearchStage:
    """One stage of the search; lengths in voxels of the finest axis.

    Attributes:
        voxels: Voxel size at which descriptors are computed.
        block: Size of a block, which is also the step between displacements.
        reach: Largest displacement tried, relative to the result of earlier stages.
        dilation: Distance of the patches that the descriptor compares, in voxels of ``voxels``.
        coupling: Squared length, in blocks, over which field and best displacement may differ by one unit of energy, in
            the first round.
        rounds: Rounds of best displacement and smoothing.
    """

    voxels: float
    block: float
    reach: float
    dilation: int
    coupling: float
    rounds: int


STAGES = (
    _SearchStage(voxels=2.0, block=6.0, reach=20.0, dilation=2, coupling=150.0, rounds=6),
    _SearchStage(voxels=1.0, block=3.0, reach=6.0, dilation=1, coupling=6.0, rounds=4),
    _SearchStage(voxels=1.0, block=2.0, reach=2.0, dilation=1, coupling=10.0, rounds=2),
)
"""Stages of the search: 7³ displacements of up to 18 voxels, then 5³ of up to 6 around them, then 3³ of up to 2. Chosen
on the breathing livers of benchmarks/livers.py (docs/adr/0018-discrete-search.md)."""

MOST_VOXELS = 1_500_000
"""A larger image is searched at half its resolution."""


def searched_velocity(
    fixed: Images,
    moving: Images,
    spacing: Sequence[float],
    masks: tuple[Scalars | None, Scalars | None] = (None, None),
    stages: Sequence[_SearchStage] = STAGES,
) -> Pausing[Vectors]:
    r"""Find displacements of blocks by a coupled search, and the velocity whose flow they are.

    Per stage, the cost :math:`C(x, d)` is the mean squared difference of the MIND descriptors of block x of one image
    and block x + d of the other. The energy

    .. math:: \sum_x \gamma C(x, v(x)) + \tfrac{1}{2\theta} |u(x) - v(x)|^2 + \rho(|\nabla u|^2)

    is lowered in turn over v (exhaustively, block by block) and over u (a weighted Laplacian, the weight in closed
    form), while θ falls. Both directions are searched and made inverse to each other.

    Args:
        fixed: Fixed image, shape (1, C, X, Y, Z), intensities about [0, 1].
        moving: Moving image, same shape.
        spacing: Voxel size along each axis, in mm.
        masks: Voxels of the fixed and of the moving image that hold data (1, else 0), or None for all.
        stages: Stages, coarsest first.

    Returns:
        Velocity in mm, shape (1, 3, x, y, z), on the blocks of the last stage.

    References:
        Heinrich, Papież, Schnabel, Handels, WBIR 2014, doi:10.1007/978-3-319-08554-8_18 (coupled convex search);
        Heinrich et al., IEEE TMI 2013, doi:10.1109/TMI.2013.2246577 (dense displacement sampling).
    """
    images, shape = ((fixed, masks[0]), (moving, masks[1])), fixed.shape[2:]
    finest = min(step for step, size in zip(spacing, shape, strict=True) if size > 1)
    unit = finest * (2.0 if fixed[:, 0].numel() > MOST_VOXELS else 1.0)
    found: tuple[Vectors, Vectors] | None = None
    for stage in stages:
        level = make_level(shape, spacing, stage.voxels * unit)
        blocks = make_level(shape, spacing, stage.block * unit)
        pair = [_at(image, mask, level) for image, mask in images]
        yield
        forward = yield from _direction(*pair, level, blocks, stage, unit, None if found is None else found[0])
        backward = yield from _direction(*pair[::-1], level, blocks, stage, unit, None if found is None else found[1])
        found = _inverse_consistent(forward, backward, blocks)
        yield
    steps = _steps(blocks, fixed)
    velocity, _ = logarithm(found[0] / steps)
    return velocity * steps


def _at(image: Tensor, mask: Tensor | None, level: Level) -> tuple[Tensor, Tensor | None]:
    return resize(image, level.shape), None if mask is None else resize(mask.float(), level.shape)


def _direction(
    fixed: tuple[Tensor, Tensor | None],
    moving: tuple[Tensor, Tensor | None],
    level: Level,
    blocks: Level,
    stage: _SearchStage,
    unit: float,
    found: Vectors | None,
) -> Pausing[Vectors]:
    """Return the displacement of the blocks of one image onto the other, in mm, starting from an earlier one."""
    image, valid = moving
    base = fixed[0].new_zeros((1, 3, *blocks.shape))
    if found is not None:
        base, carried = _to(found, blocks.shape), _to(found, level.shape) / _steps(level, image)
        image, valid = warp(image, carried), None if valid is None else warp(valid, carried)
    described = [F.adaptive_avg_pool3d(mind_ssc(part, 1, stage.dilation), blocks.shape) for part in (fixed[0], image)]
    shares = [None if part is None else F.adaptive_avg_pool3d(part, blocks.shape) for part in (fixed[1], valid)]
    yield
    reach = [
        min(max(1, round(stage.reach * unit / step)), max(size // 2 - 1, 0)) if size > 1 else 0
        for step, size in zip(blocks.spacing, blocks.shape, strict=True)
    ]
    costs = block_costs(*described, reach, *shares).mul_(_DESCRIPTOR_SCALE)
    yield
    field, coupling = base, stage.coupling * (stage.block * unit) ** 2
    for _ in range(stage.rounds):
        best = best_displacement(costs, field - base, blocks.spacing, coupling)
        field = smoothed(base + best, field, blocks.spacing, coupling)
        coupling *= _FALL
        yield
    return field


def block_costs(
    fixed: Images,
    moving: Images,
    reach: Sequence[int],
    fixed_share: Scalars | None = None,
    moving_share: Scalars | None = None,
) -> Tensor:
    """Mean squared difference of the descriptors of every block and of the blocks around it in the other image.

    Args:
        fixed: Descriptors, shape (1, C, x, y, z).
        moving: Descriptors of the other image, same shape; border blocks are repeated outside.
        reach: Largest displacement along each axis, in blocks.
        fixed_share: Fraction of each block that holds data, shape (1, 1, x, y, z), or None for 1.
        moving_share: The same of the other image; a block without data has the mean cost, so that it has no effect.

    Returns:
        Costs, shape (2·reach + 1 along each axis, x, y, z).
    """
    shape, around = fixed.shape[2:], [half for half in reversed(reach) for _ in range(2)]
    padded = F.pad(moving, around, mode="replicate")
    costs = fixed.new_empty((*(2 * half + 1 for half in reach), *shape))
    offsets = list(itertools.product(*(range(2 * half + 1) for half in reach)))
    for offset in offsets:
        torch.mean((fixed - _shifted(padded, offset, shape)).square_()[0], dim=0, out=costs[offset])
    if moving_share is not None:
        padded, typical = F.pad(moving_share, around), costs.mean(dim=(0, 1, 2))
        for offset in offsets:
            costs[offset] = torch.lerp(typical, costs[offset], _shifted(padded, offset, shape)[0, 0])
    return costs if fixed_share is None else costs.mul_(fixed_share[0, 0])


def _shifted(padded: Tensor, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
    for axis, (start, size) in enumerate(zip(offset, shape, strict=True)):
        padded = padded.narrow(axis + 2, start, size)
    return padded


def best_displacement(costs: Tensor, field: Vectors, spacing: Sequence[float], coupling: float) -> Vectors:
    r"""Displacement in mm of each block of least :math:`C(x, d) + |d - u(x)|^2 / (2\theta)`.

    Args:
        costs: Costs, shape (kx, ky, kz, x, y, z), all k odd.
        field: Displacement u of the coupling term, shape (1, 3, x, y, z), in mm.
        spacing: Step between displacements along each axis, in mm.
        coupling: θ, in mm².
    """
    kx, ky, kz = costs.shape[:3]
    values = [(torch.arange(k).to(field) - k // 2) * step for k, step in zip((kx, ky, kz), spacing, strict=True)]
    away = [
        (line.view(-1, 1, 1, 1) - field[0, axis]).square_().mul_(0.5 / coupling) for axis, line in enumerate(values)
    ]
    plane = (away[1][:, None] + away[2][None]).flatten(0, 1)
    least = torch.full_like(field[0, 0], float("inf"))
    index = torch.zeros_like(least, dtype=torch.long)
    for i in range(kx):
        value, offset = (costs[i].flatten(0, 1) + plane).min(dim=0)
        value += away[0][i]
        lower = value < least
        least = torch.where(lower, value, least)
        index = torch.where(lower, offset + i * ky * kz, index)
    parts = (index // (ky * kz), index // kz % ky, index % kz)
    return torch.stack([line[part] for line, part in zip(values, parts, strict=True)]).unsqueeze(0)


def smoothed(target: Vectors, start: Vectors, spacing: Sequence[float], coupling: float) -> Vectors:
    r"""Field u of least :math:`|u - v|^2 / (2\theta) + \rho(|\nabla u|^2)`, ρ the penalty of ``_SEARCH_PRIOR``.

    The target v and the field of the initial weights are in mm, θ (the coupling) in mm². The weight is updated twice.
    """
    field = start
    for _ in range(2):
        local = mirrored_box_mean(squared_gradient(field, spacing), (1, 1, 1))
        weight = mirrored_box_mean(_SEARCH_PRIOR.map_weight(local), (1, 1, 1))
        edges = edge_weights(weight * (coupling * 2.0 * _SEARCH_PRIOR.scale / TERMS), spacing)
        diagonal = 1.0 + laplacian_diagonal(edges, target.shape[2:])

        def apply(part: Tensor, edges: list[Tensor] = edges) -> Tensor:
            return weighted_laplacian(part, edges).add_(part)

        rest = target - apply(target)
        field = target + conjugate_gradients(apply, lambda part, d=diagonal: part / d, rest, iterations=10)
    return field


def _inverse_consistent(forward: Tensor, backward: Tensor, blocks: Level, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Make two displacements in mm approximately inverse: average each with the inverse of the other."""
    steps = _steps(blocks, forward)
    a, b = forward / steps, backward / steps
    for _ in range(rounds):
        a, b = 0.5 * (a - warp(b, a)), 0.5 * (b - warp(a, b))
    return a * steps, b * steps


def _to(field: Tensor, shape: Sequence[int]) -> Tensor:
    return F.interpolate(field, size=tuple(shape), mode="trilinear", align_corners=True)


def _steps(level: Level, like: Tensor) -> Tensor:
    return like.new_tensor(level.spacing).view(1, 3, 1, 1, 1)

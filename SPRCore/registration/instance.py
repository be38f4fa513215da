"""Registration of one pair without training: half-quadratic, coarse-to-fine minimisation of the paper's energy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from SPRCore.errors import InputError
from SPRCore.functional import kept_memory, resize
from SPRCore.geometry import intensity_fence
from SPRCore.registration.level import LevelImages, Pausing
from SPRCore.registration.pyramid import Level, make_level, pyramid_steps
from SPRCore.registration.result import Deformation
from SPRCore.registration.search import searched_velocity
from SPRCore.registration.solver import Course, InstanceConfig
from SPRCore.regularization import Prior
from SPRCore.similarity import common_floor, features, fixed_side
from SPRCore.typing import Images, Scalars, Tensor, Vectors

__all__ = ["Deformation", "InstanceConfig", "InstanceProblem", "register_instance"]


def register_instance(
    fixed: Images,
    moving: Images,
    spacing: Sequence[float],
    prior: Prior,
    config: InstanceConfig | None = None,
    *,
    mask: Scalars | None = None,
    moving_mask: Scalars | None = None,
    stiffness: Scalars | None = None,
) -> Deformation:
    r"""Register one pair by minimising the paper's energy over a stationary velocity and its weight.

    .. math:: E(v, w) = 1 - S(f, m \circ \exp v) + \overline{r\,q\,w\,s(v)} - \overline{\log p(w)}

    with the similarity S of the settings (LNCC by default), every term a mean (paper Eq. 19, reference convention) and
    q the stiffness, 1 if none is painted. On each level, coarse to fine: refresh w in closed form, take a
    Gauss–Newton step of v with w held fixed, halve it while the energy rises, stop when it no longer falls. At the end
    the velocity is smoothed around the remaining folds (``unfold``), and the log says how much.
    ``InstanceProblem.course`` also takes a start and reports progress.

    Args:
        fixed: Fixed image, shape (1, C, X, Y, Z), any intensities; every channel has the same part in the similarity.
        moving: Moving image on the same grid.
        spacing: Voxel size along each axis, in mm.
        prior: Prior on the weight; ``UniformPrior`` gives conventional diffusion by the same code.
        config: Settings; the defaults if None.
        mask: Voxels of the fixed image that hold data and count in the similarity (nonzero), or None for all.
        moving_mask: The same of the moving image. Where one of the two has no data, and where the deformation leaves
            the grid, the data term is 0 and the field is continued smoothly.
        stiffness: Factor q > 0 of the weight of each voxel of the fixed image, or None for 1: the weight λ of a voxel
            is r·q·w, at most q times what the prior allows elsewhere.

    Raises:
        InputError: The images, the mask or the stiffness do not share a shape, an image has one value only, or a
            stiffness is not above 0.
        ConvergenceError: The energy became NaN or infinite.
    """
    with kept_memory():
        masks = {"mask": mask, "moving_mask": moving_mask}
        problem = InstanceProblem.of(fixed, moving, spacing, config, **masks, stiffness=stiffness)
        return problem.course(prior).completed()


@dataclass(frozen=True, kw_only=True)
class InstanceProblem:
    """A pair prepared for the instance solver: all that does not depend on the prior.

    Attributes:
        levels: Images of all levels, coarsest first.
        spacing: Voxel size of the fixed grid, in mm.
        config: Settings.
        images: Both images on the finest level, scaled to [0, 1].
        found: The velocity of the discrete search once it has run; it depends on the images alone.
    """

    levels: tuple[LevelImages, ...]
    spacing: tuple[float, ...]
    config: InstanceConfig
    images: tuple[Images, Images]
    found: list[Vectors] = dataclasses.field(default_factory=list, repr=False)

    @classmethod
    def of(
        cls,
        fixed: Scalars,
        moving: Scalars,
        spacing: Sequence[float],
        config: InstanceConfig | None = None,
        *,
        mask: Scalars | None = None,
        moving_mask: Scalars | None = None,
        stiffness: Scalars | None = None,
    ) -> InstanceProblem:
        """Prepare a pair; arguments and errors as for ``register_instance``."""
        _check_shape("moving image", moving, fixed)
        for name, part in (("mask", mask), ("moving mask", moving_mask)):
            if part is not None:
                _check_shape(name, part, fixed[:, :1])
        config = config or InstanceConfig()
        images = normalized(fixed, "fixed", mask), normalized(moving, "moving", moving_mask)
        levels = tuple(_levels(*images, spacing, config, mask, moving_mask))
        return cls(levels=levels, spacing=tuple(spacing), config=config, images=images).stiffened(stiffness)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of the fixed grid."""
        return self.levels[-1].level.shape

    def stiffened(self, stiffness: Scalars | None) -> InstanceProblem:
        """Return the same pair with another stiffness q > 0 on the fixed grid, None for 1; its logarithms are averaged.

        Raises:
            InputError: A factor is not a finite number above 0, or the shape differs.
        """
        logs = None
        if stiffness is not None:
            _check_shape("stiffness", stiffness, self.levels[-1].moving[:, :1])
            if not bool(((stiffness > 0) & stiffness.isfinite()).all()):
                got = f"factors of {float(stiffness.min()):g} to {float(stiffness.max()):g}"
                raise InputError("stiffness", got=got, expected="finite factors above 0, 1 where nothing is painted")
            logs = stiffness.to(self.levels[-1].moving).log()
        levels = []
        for images in reversed(self.levels):  # each level from the next finer one, as the images
            logs = None if logs is None else resize(logs, images.grid.shape)
            levels.append(dataclasses.replace(images, stiffness=None if logs is None else logs.exp()))
        return dataclasses.replace(self, levels=tuple(reversed(levels)))

    def course(self, prior: Prior, start: Vectors | None = None) -> Course:
        """Begin a registration.

        Args:
            prior: Prior on the weight.
            start: Initial velocity in mm, shape (1, 3, x, y, z) over the same field of view at any resolution: that of
                a network or of a neighboring setting. Coarse levels correct it and keep its detail. None for rest, or
                for the velocity of the discrete search where the settings ask for one.

        Raises:
            InputError: The start is not a finite field.
        """
        if start is not None and (start.dim() != 5 or start.shape[:2] != (1, 3) or not torch.isfinite(start).all()):
            expected = "finite velocities, shape (1, 3, X, Y, Z)"
            raise InputError("start", got=f"shape {tuple(start.shape)}", expected=expected)
        steps = self.config.steps[len(self.config.steps) - len(self.levels) :]
        begin = self.searched() if start is None and self.config.search else start
        return Course(self.levels, steps, self.shape, prior, self.config, begin)

    def searched(self) -> Pausing[Vectors]:
        """Return the velocity of the discrete search, in mm; it runs once."""
        if not self.found:
            finest = self.levels[-1]
            masks, (fixed, moving) = (finest.fixed.mask, finest.moving_valid), self.images
            fixed = fixed - fixed.mean(dim=(2, 3, 4), keepdim=True)
            fixed = fixed if masks[0] is None else fixed * masks[0]
            self.found.append((yield from searched_velocity(fixed, moving, self.spacing, masks)))
        return self.found[0]


def _check_shape(name: str, image: Tensor, fixed: Tensor) -> None:
    if image.shape != fixed.shape:
        wanted = f"{tuple(fixed.shape)} of the fixed image"
        raise InputError(name, got=f"shape {tuple(image.shape)}", expected=wanted)


def _levels(
    fixed: Tensor,
    moving: Tensor,
    spacing: Sequence[float],
    config: InstanceConfig,
    mask: Tensor | None,
    moving_mask: Tensor | None,
) -> Iterator[LevelImages]:
    shape = tuple(fixed.shape[2:])
    steps = pyramid_steps(shape, spacing, len(config.steps))
    levels = [make_level(shape, spacing, step) for step in steps]
    floor = common_floor(fixed, moving)
    masks = [None if part is None else (part != 0).to(fixed.dtype) for part in (mask, moving_mask)]
    described = [features(config.similarity, image, spacing) for image in (fixed, moving)]
    pyramid = [(*described, *masks)]
    for level in reversed(levels[:-1]):  # each level from the next finer one: cheaper than from the full images
        pyramid.append(tuple(None if image is None else resize(image.float(), level.shape) for image in pyramid[-1]))
    for level, step, (f, m, k, n) in zip(levels, steps, reversed(pyramid), strict=True):
        coarse = f[:, 0].numel() > config.velocity_voxels
        grid: Level = make_level(shape, spacing, config.velocity_step * step) if coarse else level
        where = None if k is None else (k > 0.5).to(f.dtype)
        side = fixed_side(config.similarity, f, level.spacing, config.window, where, floor)
        yield LevelImages(level=level, grid=grid, fixed=side, moving=m, moving_valid=n)


def normalized(image: Images, name: str, valid: Scalars | None = None) -> Images:
    """Scale intensities of each channel to [0, 1] by their robust extremes, the brightest thousandth saturated.

    Spikes and metal do not change the scale, see ``intensity_fence``; values beyond it are saturated. Only voxels with
    data (nonzero in `valid`) determine it.

    Raises:
        InputError: The image, named "fixed" or "moving" in the message, is constant.
    """
    if image.shape[1] > 1:
        return torch.cat([normalized(channel, name, valid) for channel in image.split(1, dim=1)], dim=1)
    image = image.float()
    data = image.flatten() if valid is None else image[valid != 0]
    # A strided sample gives the quantile of a large image to well within what the scale needs.
    sample = data[:: max(1, data.numel() // 1_000_000)]
    bottom, top = intensity_fence(sample.cpu().numpy()) if sample.numel() else (0.0, 0.0)
    kept = data[(data >= bottom) & (data <= top)]
    if not kept.numel() or kept.amin() == kept.amax():
        value = float(kept[0]) if kept.numel() else float("nan")
        raise InputError(f"{name} image", got=f"one value everywhere ({value:g})", expected="something to align")
    low, high = kept.amin(), torch.quantile(sample, 0.999).clamp(max=kept.amax())
    high = high if high > low else kept.amax()
    return ((image - low) / (high - low)).clamp(0.0, 1.0)

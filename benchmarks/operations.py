"""The operations that are measured: inputs, ours, and the plain reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import references
import torch

from SPRCore import functional as fn
from SPRCore.regularization import weighted_diffusion
from SPRCore.similarity import lncc, mind_ssc


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation; ``scale`` shrinks the size where the operation runs smaller in use or its reference is too slow.

    ``exact`` is the exact function where the reference has another definition at the border; ``package`` is the package
    that the reference needs.
    """

    title: str
    inputs: Callable
    differentiated: tuple[int, ...]
    ours: Callable
    reference: Callable
    against: str
    scale: float = 1.0
    exact: Callable | None = None
    package: str | None = None

    def size(self, full):
        """Size at which it is measured."""
        return tuple(max(12, round(n * self.scale)) for n in full)

    def leaves(self, size, dtype=torch.float32):
        """Inputs, those with respect to which it is differentiated marked so."""
        made = [part.to(dtype) for part in self.inputs(size)]
        return [part.requires_grad_(i in self.differentiated) for i, part in enumerate(made)]


def image(size, seed):
    noise = torch.rand((1, 1, *size), generator=torch.Generator().manual_seed(seed))
    return fn.gaussian_smooth(noise, (1.5, 1.5, 1.5)) * 3.0 - 1.0


def field(size, seed, length=5.0):
    coarse = tuple(max(3, n // 12) for n in size)
    noise = torch.randn((1, 3, *coarse), generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, size=size, mode="trilinear", align_corners=True)
    return smooth * (length / smooth.norm(dim=1).amax())


def image_and_field(size):
    return image(size, 0), field(size, 1)


def two_images(size):
    return image(size, 0), 0.5 * image(size, 0) + 0.5 * image(size, 1)


def correlation(reference, against, **more):
    """Local correlation compared with a plain implementation."""
    return Operation(
        title="LNCC, window 9",
        inputs=two_images,
        differentiated=(1,),
        ours=lncc,
        reference=reference,
        against=against,
        **more,
    )


def warping(reference, against, **more):
    """The warp of an image compared with a plain implementation."""
    return Operation(
        title="warp",
        inputs=image_and_field,
        differentiated=(1,),
        ours=fn.warp,
        reference=reference,
        against=against,
        **more,
    )


def integration(reference, against, **more):
    """The integration of a velocity, at half resolution, compared with a plain implementation."""
    same = {"inputs": lambda size: (field(size, 1),), "differentiated": (0,), "scale": 0.5}
    return Operation(
        title="integrate, 7 squarings", ours=fn.integrate, reference=reference, against=against, **same, **more
    )


OPERATIONS = {
    "warp": warping(references.warp, "meshgrid + grid_sample"),
    "compose": Operation(
        title="compose",
        inputs=lambda size: (field(size, 1), field(size, 2)),
        differentiated=(0, 1),
        ours=fn.compose,
        reference=references.compose,
        against="meshgrid + grid_sample",
    ),
    "integrate": integration(references.integrate, "loop of compositions in one graph"),
    "lncc": correlation(references.lncc_separable, "separable average pools"),
    "lncc_dense": correlation(references.lncc_dense, "dense 9³ convolutions", scale=0.5),
    "lncc_monai": correlation(
        references.lncc_monai, "MONAI, rectangular kernel", exact=references.lncc_separable, package="monai"
    ),
    "warp_monai": warping(references.warp_monai, "MONAI Warp", package="monai"),
    "integrate_monai": integration(references.integrate_monai, "MONAI DVF2DDF", package="monai"),
    "weighted_diffusion": Operation(
        title="weighted diffusion",
        inputs=lambda size: (field(size, 1), image(size, 0).abs() + 0.1),
        differentiated=(0, 1),
        ours=weighted_diffusion,
        reference=references.weighted_diffusion,
        against="differences in one graph",
    ),
    "mind_ssc": Operation(
        title="MIND-SSC",
        inputs=lambda size: (image(size, 0),),
        differentiated=(0,),
        ours=mind_ssc,
        reference=references.mind_ssc,
        against="twelve differences in one graph",
        scale=0.5,
    ),
}

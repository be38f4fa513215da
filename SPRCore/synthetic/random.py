"""Random smooth deformations and random shapes, seeded and of any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from SPRCore.errors import InputError
from SPRCore.functional import gaussian_smooth, integrate, sufficient_steps, warp
from SPRCore.geometry import Field, Volume
from SPRCore.synthetic.phantom import Phantom, add_noise, centered_affine, voxel_points
from SPRCore.synthetic.shapes import grid_noise
from SPRCore.typing import Images, Tensor

Seed = int | torch.Generator


def random_diffeomorphism(
    *,
    shape: Sequence[int] = (64, 64, 64),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    scale_mm: float = 30.0,
    amplitude_mm: float = 8.0,
    seed: Seed = 0,
) -> tuple[Field, Field]:
    """Return a smooth random diffeomorphism of the box and its inverse, the integrals of a stationary velocity.

    The velocity is 0 at the border of the box, so that no point leaves it.

    Args:
        shape: Voxels along R, A, S, at least 8 each.
        spacing: Voxel size in mm.
        scale_mm: Distance of the knots of the velocity in mm; below about 4 voxels it is not smooth.
        amplitude_mm: Largest speed in mm, approximately the largest displacement.
        seed: A number, or a generator whose state advances.

    Returns:
        The displacement and its inverse, RAS mm, on one grid that is centered at the origin.

    Raises:
        InputError: Shape, spacing, scale or amplitude out of range.
    """
    affine = centered_affine(shape, spacing)
    if scale_mm <= 0 or amplitude_mm < 0:
        raise InputError(
            "random deformation", got=f"scale {scale_mm:g} mm, amplitude {amplitude_mm:g} mm", expected="both positive"
        )
    velocity = grid_noise(shape, spacing, scale_mm, 3, _generator(seed))
    for axis, n in enumerate(shape):
        t = (torch.arange(n) + 0.5) * 2 / n - 1
        # Flat inside, 0 at the border with slope 0.
        velocity *= (1 - t**8).square().view([-1 if a == axis else 1 for a in range(3)])
    speed = velocity.square().sum(dim=0).max().sqrt().clamp(min=1e-12)
    to_vox = amplitude_mm / speed / torch.tensor([float(s) for s in spacing])
    velocity_vox = (velocity * to_vox.view(3, 1, 1, 1))[None]
    steps = sufficient_steps(velocity_vox)
    forward, backward = (integrate(sign * velocity_vox, steps=steps) for sign in (1.0, -1.0))
    return Field.from_tensor_vox(forward, affine), Field.from_tensor_vox(backward, affine)


def shape_pair(
    *,
    shape: Sequence[int] = (64, 64, 64),
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    labels: int = 8,
    scale_mm: float = 30.0,
    amplitude_mm: float = 8.0,
    same_contrast: bool = True,
    noise: float = 0.02,
    seed: int = 0,
) -> Phantom:
    """Return a pair of images of random shapes in random contrast with a known random diffeomorphism between them.

    The largest of `labels` smooth noise images decides the label of a voxel; the fixed side is the same noise pulled by
    the true displacement. Every label has a random gray value; each image has its own blur, bias field and noise.
    The idea is that of SynthMorph; the implementation is independent.

    Args:
        shape: Voxels along R, A, S, at least 8 each.
        spacing: Voxel size in mm.
        labels: Number of labels, background (0) included; at least 2.
        scale_mm: Size of the shapes and of the deformation in mm.
        amplitude_mm: Approximate largest displacement in mm.
        same_contrast: Whether both images of a pair share the gray values; False makes the pair multi-modal.
        noise: Standard deviation of the Gaussian noise.
        seed: Seed of all random numbers.

    Returns:
        The phantom without a sliding boundary, images in [0, 1] before noise; landmarks are up to 100 voxel centers of
        the foreground.

    Raises:
        InputError: Numbers out of range.

    References:
        Hoffmann et al., IEEE TMI 2022, doi:10.1109/TMI.2021.3116879.
    """
    if not 2 <= labels <= 255:
        raise InputError("random shapes", got=f"labels={labels}", expected="2 to 255 labels")
    affine = centered_affine(shape, spacing)
    generator = torch.Generator().manual_seed(_generator_seed(seed))
    rng = np.random.default_rng([seed, 0])
    field, _ = random_diffeomorphism(
        shape=shape, spacing=spacing, scale_mm=scale_mm, amplitude_mm=amplitude_mm, seed=generator
    )
    scores = grid_noise(shape, spacing, scale_mm, labels, generator)[None]
    moving_map = scores.argmax(dim=1)[0]
    fixed_map = warp(scores, field.to_tensor_vox()).argmax(dim=1)[0]
    gray = rng.random((2, labels), dtype=np.float32)
    images = []
    for part, label_map in enumerate((fixed_map, moving_map)):
        clean = _image(label_map, gray[0 if same_contrast else part], spacing, generator)
        images.append(Volume(add_noise(clean, noise, rng), affine))
    points = rng.permutation(np.argwhere(fixed_map.numpy() > 0))[:100]
    fixed_points = voxel_points(points, affine)
    return Phantom(
        fixed=images[0],
        moving=images[1],
        fixed_labels=Volume(fixed_map.numpy().astype(np.uint8), affine),
        moving_labels=Volume(moving_map.numpy().astype(np.uint8), affine),
        displacement=field,
        fixed_points=fixed_points,
        moving_points=fixed_points + field.array[tuple(points.T)],
    )


def _image(label_map: Tensor, gray: np.ndarray, spacing: Sequence[float], generator: torch.Generator) -> np.ndarray:
    """Return the gray values of the labels, blurred by up to one voxel and shaded by up to about 10 %, in [0, 1]."""
    image: Images = torch.from_numpy(gray)[label_map][None, None]
    blur = 0.3 + 0.7 * float(torch.rand((), generator=generator))
    extent = max(n * s for n, s in zip(label_map.shape, spacing, strict=True))
    bias = 1 + 0.05 * grid_noise(label_map.shape, spacing, extent / 2, 1, generator)[0].clamp(-2, 2)
    return (gaussian_smooth(image, [blur] * 3)[0, 0] * bias).clamp(0, 1).numpy()


def _generator(seed: Seed) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def _generator_seed(seed: int) -> int:
    """Return a 63-bit seed for torch."""
    return int(np.random.SeedSequence([seed, 0]).generate_state(1, np.uint64)[0] >> np.uint64(1))

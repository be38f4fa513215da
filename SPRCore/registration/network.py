"""Registration of one pair by a trained network, from images in the world to fields in the world."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from SPRCore.errors import ConvergenceError, InputError
from SPRCore.functional import invert
from SPRCore.geometry import Field, Grid, MaskedVolume, Volume, fill, on_host, resample, resample_displacement
from SPRCore.io.cards import ModelCard
from SPRCore.networks import RegistrationNetwork, RegistrationOutput
from SPRCore.networks.network import MIN_SIZE
from SPRCore.registration.result import DeformationFields
from SPRCore.registration.working import onto, prepared, working_grid
from SPRCore.regularization import Prior, most_probable_weight
from SPRCore.regularization.gradient_units import MM, VOXEL, is_isotropic, spacing_in
from SPRCore.regularization.hyperparameters import BEYOND_TRAINING, HYPERMORPH_WEIGHTING, share_of, usable_range
from SPRCore.regularization.priors import hyperparameters, make_prior
from SPRCore.typing import Affine, Images, Scalars, Tensor

logger = logging.getLogger("SPRCore")


def model_prior(card: ModelCard, prior: Prior | None = None) -> Prior:
    """Check a prior against a model card; None gives the prior of the card with its defaults.

    Raises:
        InputError: The prior is not that of the model, a hyperparameter is outside its range, which ends at
            `BEYOND_TRAINING` times the maximum of the training, or one that is no input of the network differs from
            its default.
    """
    usual = make_prior(card.prior, card.defaults)
    if prior is None:
        return usual
    if prior.name != card.prior:
        raise InputError(
            "prior", got=prior.name, expected=f"{card.prior}, which the model {card.name} was trained with"
        )
    fixed = hyperparameters(usual)
    for name, value in hyperparameters(prior).items():
        if name in card.ranges:
            low, high = usable_range(card.ranges[name])
            if not low <= value <= high * (1 + 1e-9):
                trained = f"the model {card.name} was trained up to {card.ranges[name][1]:g}"
                expected = f"{low:g} to {high:g}: {trained} and is used up to {BEYOND_TRAINING:g} times as much"
                raise InputError(name, got=f"{value:g}", expected=expected)
        elif value != fixed[name]:
            expected = f"{fixed[name]:g}: the model {card.name} was trained at this value and cannot change it"
            raise InputError(name, got=f"{value:g}", expected=expected, remedy="leave it out")
    return prior


def code_of(card: ModelCard, prior: Prior) -> Tensor | None:
    """Return the conditioning input of a network: hyperparameters divided by the upper ends of their ranges.

    HyperMorph: the share of the regularization, λ/(1 + λ) for the strength λ of the prior. Shape (1, codes),
    in [0, 1.2], above 1 beyond the training; None for a network without conditioning.
    """
    values = hyperparameters(prior)
    if card.weighting == HYPERMORPH_WEIGHTING:
        return torch.tensor([[share_of(values["lambda"])]], dtype=torch.float32)
    code = [values[name] / card.ranges[name][1] for name in card.conditioning]
    return torch.tensor([code], dtype=torch.float32) if code else None


def beyond_training(card: ModelCard, prior: Prior) -> dict[str, float]:
    """Return the hyperparameters that exceed the training of a model, each with the maximum of the training."""
    values = hyperparameters(prior)
    ends = {name: card.ranges[name][1] for name in card.conditioning}
    return {name: end for name, end in ends.items() if values[name] > end * (1 + 1e-9)}


def check_refinable(card: ModelCard, fixed: Grid) -> None:
    """Refuse to refine a model that was trained in voxels if its working grid for a fixed image is not isotropic.

    There its regularization weighs each derivative of each component by another factor, which no setting of the solver
    does.
    """
    spacing = working_grid(fixed, card.grid).spacing
    if card.units == VOXEL and not is_isotropic(spacing):
        got = "the model {} trained with gradients in voxels, here of {:.3g} x {:.3g} x {:.3g} mm"
        expected = "a model trained with gradients in mm, or voxels of equal size along all axes"
        remedy = "use the model alone, or the instance optimization with a setting of its own"
        raise InputError("refine", got=got.format(card.name, *spacing), expected=expected, remedy=remedy)


def check_channels(fixed: MaskedVolume, moving: MaskedVolume, network: RegistrationNetwork, card: ModelCard) -> None:
    """Refuse a pair whose images have not as many channels as those of the training of a model.

    Raises:
        InputError: A second channel too many or missing; a card that lacks the preprocessing of a channel.
    """
    channels = network.config.channels
    if channels != len(card.intensities):
        got = f"a network of {channels} channels and a card with the preprocessing of {len(card.intensities)}"
        remedy = "give second_channel in its card: spr models import --card"
        raise InputError(f"model {card.name}", got=got, expected="1 or 2, and as many in its card", remedy=remedy)
    for image in (fixed, moving):
        if image.channel is not None and channels == 1:
            expected, remedy = "images of one channel", "leave it out, or use the method instance"
            raise InputError("second channel", got=f"one with the model {card.name}", expected=expected, remedy=remedy)
        if image.channel is None and channels == 2:
            got, remedy = f"none with the model {card.name}", "give the second channel of both images"
            raise InputError("second channel", got=got, expected="images of two channels", remedy=remedy)


def register_network(
    fixed: MaskedVolume,
    moving: MaskedVolume,
    network: RegistrationNetwork,
    card: ModelCard,
    *,
    prior: Prior | None = None,
    affine_ras: Affine | None = None,
    inverse: bool = True,
) -> DeformationFields:
    """Register one pair by a network.

    Both images are resampled on the working grid and scaled as the card says; the moving image is sampled once, with
    the alignment. The fields are interpolated linearly on the fixed grid; outside the working grid the displacement is
    that of its border and the weight is 1. Where one of the images has no data, both images and the displacement are
    filled smoothly, and the weight is 1. If the network has no inverse, it is computed by iteration; if it has no
    weight, the most probable weight of its field under the prior is returned.

    Args:
        fixed: Fixed image with its data.
        moving: Moving image with its data, on any grid.
        network: Network in evaluation mode, on its device.
        card: Its card.
        prior: Prior within the ranges of the card; None for the defaults.
        affine_ras: Affine pre-alignment, pull map from fixed to moving world points, shape (4, 4); None for none.
        inverse: Whether to compute the inverse.

    Returns:
        Fields on the fixed grid.

    Raises:
        InputError: An image or the prior does not suit the model.
        ConvergenceError: The output of the network is NaN or infinite.
    """
    prior = model_prior(card, prior)
    pair = NetworkInput.of(fixed, moving, network, card, affine_ras)
    code = code_of(card, prior)
    with torch.no_grad():
        output = network(pair.moving, pair.fixed, code=None if code is None else code.to(pair.moving.device))
    return pair.to_world(output, prior, inverse=inverse)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkInput:
    """A pair prepared for a network.

    Attributes:
        network: The network.
        moving: Moving image on the working grid and the device of the network, shape (1, C, X, Y, Z), in [0, 1];
            short axes are padded.
        fixed: Fixed image, the same.
        grid: The working grid, without the padding.
        fixed_grid: Grid of the fixed image.
        known: Mask of the voxels where both images have data on the working grid, shape (1, 1, x, y, z); None for all.
        units: Unit of the squared gradient in the training of the network.
    """

    network: RegistrationNetwork
    moving: Images
    fixed: Images
    grid: Grid
    fixed_grid: Grid
    known: Scalars | None = None
    units: str = MM

    @classmethod
    def of(
        cls,
        fixed: MaskedVolume,
        moving: MaskedVolume,
        network: RegistrationNetwork,
        card: ModelCard,
        affine_ras: Affine | None = None,
    ) -> NetworkInput:
        """Prepare a pair; arguments and errors as for `register_network`."""
        check_channels(fixed, moving, network, card)
        grid = working_grid(fixed.grid, card.grid)
        device = next(network.parameters()).device
        sides = ((moving, "moving image", affine_ras), (fixed, "fixed image", None))
        images = [
            torch.cat([onto(part, grid, affine).to_tensor() for part in prepared(image, card.intensities, what)], dim=1)
            for image, what, affine in sides
        ]
        known = _known(fixed, moving, grid, affine_ras)
        if known is not None:
            images, known = [fill(image, known) for image in images], known.to(device)
        moved, still = (_lengthened(image).to(device) for image in images)
        grids = {"grid": grid, "fixed_grid": fixed.grid, "known": known}
        return cls(network=network, moving=moved, fixed=still, **grids, units=card.units)

    @torch.no_grad()
    def to_world(self, output: RegistrationOutput, prior: Prior, *, inverse: bool = True) -> DeformationFields:
        """Convert an output of the network to fields on the fixed grid; a missing weight is computed.

        Raises:
            ConvergenceError: The output is NaN or infinite.
        """
        check_output(output)
        output = self.continued(output)
        velocity = output.velocity if has_velocity(self.network) else None
        padded = dataclasses.replace(output, velocity=velocity)
        cropped = RegistrationOutput(**{name: shortened(part, self.grid.shape) for name, part in vars(padded).items()})
        weight = _likely_weight(cropped, self.step, prior) if cropped.weight is None else cropped.weight
        weights = Volume(on_host(weight[0, 0]), self.grid.affine)
        same = self.grid.matches(self.fixed_grid)
        return DeformationFields(
            displacement=self._on_fixed(cropped.displacement),
            inverse=self._inverse(output) if inverse else None,
            weight=weights if same else resample(weights, self.fixed_grid, outside=1.0),
            velocity=None if velocity is None else self._on_fixed(cropped.velocity),
        )

    @property
    def step(self) -> tuple[float, ...]:
        """Spacing of the working grid in the unit of the squared gradient."""
        return spacing_in(self.units, self.grid.spacing)

    @torch.no_grad()
    def inverse(self, output: RegistrationOutput) -> Field:
        """Return the inverse of an output on the fixed grid in RAS mm, computed by iteration if it has none."""
        return self._inverse(self.continued(output))

    def continued(self, output: RegistrationOutput) -> RegistrationOutput:
        """Fill the displacement of an output smoothly where an image has no data, and the weight with 1.

        The result has neither inverse nor velocity, which would not match the filled displacement. If both images have
        data everywhere, the output is returned unchanged.
        """
        if self.known is None:
            return output
        known = _lengthened(self.known.float()) > 0.5
        weight = None if output.weight is None else torch.where(known, output.weight, 1.0)
        return RegistrationOutput(displacement=fill(output.displacement, known), weight=weight)

    def _inverse(self, output: RegistrationOutput) -> Field:
        inverse = output.inverse_displacement
        if inverse is None:
            inverse, residual_vox = invert(output.displacement)
            logger.info("The model predicts no inverse: computed by iteration, residual %.2g voxels.", residual_vox)
        return self._on_fixed(shortened(inverse, self.grid.shape))

    def _on_fixed(self, field_vox: Tensor) -> Field:
        field = Field.from_tensor_vox(field_vox, self.grid.affine)
        if self.grid.matches(self.fixed_grid):
            return field
        return resample_displacement(field, self.fixed_grid, continued=True)


def _lengthened(image: Images) -> Images:
    """Pad an image with its border voxels to the least size that networks take."""
    short = [max(0, MIN_SIZE - size) for size in image.shape[2:]]
    padding = [side for extra in reversed(short) for side in (0, extra)]
    return F.pad(image, padding, mode="replicate")


def shortened(field: Images | None, shape: Sequence[int]) -> Images | None:
    """Remove the padding of `_lengthened`; None for None."""
    return None if field is None else field[:, :, : shape[0], : shape[1], : shape[2]]


def _known(fixed: MaskedVolume, moving: MaskedVolume, grid: Grid, affine_ras: Affine | None) -> Scalars | None:
    """Return the voxels of the working grid where both images have data, and those outside the fixed image."""
    beyond = MaskedVolume.whole(fixed.volume).on(grid)[1]
    known = np.ones(grid.shape, dtype=bool)
    for valid in (fixed.on(grid)[1], moving.on(grid, affine_ras)[1]):
        known &= True if valid is None else valid
    known |= False if beyond is None else ~beyond
    if known.all():
        return None
    if not known.any():
        got = "no voxel where both images have data"
        raise InputError("fixed and moving image", got=got, expected="images that overlap", remedy="align them first")
    return torch.from_numpy(known)[None, None]


def has_velocity(network: RegistrationNetwork) -> bool:
    """Whether the integral of the network's velocity is its displacement.

    With the half-voxel sampler it is not, since that displacement has been corrected.
    """
    return network.config.integrate and network.config.sampling != "half_voxel"


def check_output(output: RegistrationOutput) -> None:
    """Refuse an output with NaN or infinite values."""
    # The extremes are NaN or infinite if any value is, and are faster than a mask of all voxels.
    if not all(torch.stack(field.aminmax()).isfinite().all() for field in vars(output).values() if field is not None):
        raise ConvergenceError("registration", got="NaN or infinity from the model", remedy="check the model")


def _likely_weight(output: RegistrationOutput, step: Sequence[float], prior: Prior) -> Scalars:
    """Return the most probable weight under the prior for the field of a network without weights."""
    field_vox = output.displacement if output.velocity is None else output.velocity
    spacing = field_vox.new_tensor(step).view(1, 3, 1, 1, 1)
    return most_probable_weight(field_vox * spacing, step, prior)

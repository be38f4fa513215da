"""Training loss: paper Eq. 19, labels and landmarks, both directions, and the most probable weight.

Every term is a mean, as in the paper's reference code. As written in the paper, the displacement is regularized (the
integral of the velocity where a network predicts one). `LossConfig.units` is "mm", so that a setting has the same
meaning on anisotropic grids, or "voxel" as in the reference code; on isotropic grids both are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from SPRCore.errors import InputError
from SPRCore.functional import sample, warp
from SPRCore.networks import RegistrationOutput
from SPRCore.regularization import Prior, most_probable_weight, weighted_diffusion
from SPRCore.regularization.gradient_units import spacing_in
from SPRCore.similarity import dissimilarity
from SPRCore.training.batches import Batch
from SPRCore.training.config import LossConfig, TeacherConfig
from SPRCore.training.hyper import LossSetting
from SPRCore.typing import Scalars, Tensor, Vectors

_LABELS_AT_ONCE = 8
_SMALLEST_ERROR_MM = 1e-3  # smooths the length of a landmark error at 0
_TEACHER_BEND_MM = 1.0
"""Distance from the teacher below which its square counts, above which its length does: where images have no contrast,
the solver's motion is far from any that can be learned, and squares of it would outweigh the rest."""


def batch_loss(
    output: RegistrationOutput, batch: Batch, settings: Sequence[LossSetting], config: LossConfig
) -> dict[str, Tensor]:
    r"""Compute the mean loss of a batch, paper Eq. 19, and its parts.

    .. math:: d\,D(f, m \circ \varphi) + r\,\mathrm{mean}(w |\nabla u|^2) - \log p(w) + \text{labels} + \ldots

    Pairs of one spacing are computed together, which on a GPU takes as long as one of them alone; others one after the
    other. Both give the same.

    Args:
        output: Output of the network.
        batch: The pairs.
        settings: Hyperparameters of each pair, which may differ from those of the recipe.
        config: Terms and their factors.

    Returns:
        Scalars by name: ``"loss"``, the sum; its parts with their factors: ``"similarity"``, ``"smoothness"``,
        ``"prior"``, ``"dice_loss"``, ``"landmark_loss"``, ``"map_pull"``, ``"teacher"``, ``"teacher_change"``; and,
        where the most probable weight was computed, its mean distance from the predicted one, ``"map_gap"``, which is
        no part of the sum.

    Raises:
        InputError: A term needs labels, landmarks, an inverse map or a weight that are missing.
    """
    parts = _similarity_and_priors(output, batch, settings, config)
    if config.teacher is not None:
        taught = _teacher_losses(output.displacement, batch, config.teacher)
        parts |= taught | {"loss": parts["loss"] + torch.stack(list(taught.values())).sum()}
    return parts


def _teacher_losses(displacement_vox: Vectors, batch: Batch, config: TeacherConfig) -> dict[str, Tensor]:
    """Mean distances in mm from the displacements of the solver, and of the change between two settings."""
    if batch.teacher_vox is None:
        raise InputError("teacher", got="a pair without the solver's displacement", expected="one for every pair")
    spacing = displacement_vox.new_tensor(batch.spacings).view(-1, 3, 1, 1, 1)
    error_mm = (displacement_vox - batch.teacher_vox) * spacing
    parts = {"teacher": config.weight * _mean_length(error_mm)}
    if config.change_weight:
        parts["teacher_change"] = config.change_weight * _mean_length(error_mm[1::2] - error_mm[::2])
    return parts


def _mean_length(field_mm: Vectors) -> Tensor:
    """Mean length of vectors in mm, reduced by a constant and with a square around 0 (pseudo-Huber)."""
    return (field_mm.square().sum(dim=1) + _TEACHER_BEND_MM**2).sqrt().mean() - _TEACHER_BEND_MM


def _similarity_and_priors(
    output: RegistrationOutput, batch: Batch, settings: Sequence[LossSetting], config: LossConfig
) -> dict[str, Tensor]:
    """Loss of a batch without the teacher."""
    data_weights = {setting.data_weight for setting in settings}
    alike = len(set(batch.spacings)) == len(data_weights) == 1 and not config.tre_weight
    if len(batch) == 1 or alike:
        return _terms(output, batch, [setting.prior for setting in settings], config, data_weights.pop())
    parts = [
        _similarity_and_priors(_one(output, number), pair, [setting], config)
        for number, (pair, setting) in enumerate(zip(batch.split(), settings, strict=True))
    ]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}


def _terms(
    output: RegistrationOutput, batch: Batch, priors: Sequence[Prior], config: LossConfig, data_weight: float
) -> dict[str, Tensor]:
    """Loss of a batch and its parts, under a prior for each of its pairs."""
    weight, spacing = _weight(output, priors[0]), spacing_in(config.units, batch.spacing)
    parts = {"similarity": data_weight * _both_ways(_dissimilarity, output, batch, config)}
    parts["smoothness"] = _smoothness(in_mm(output.displacement, spacing), weight, priors, spacing)
    if output.weight is not None:
        penalties = [prior.penalty(one).mean() for prior, one in zip(priors, weight.split(1), strict=True)]
        parts["prior"] = torch.stack(penalties).mean()
    if config.dice_weight:
        parts["dice_loss"] = config.dice_weight * _both_ways(_overlap_loss, output, batch, config)
    if config.tre_weight:
        parts["landmark_loss"] = config.tre_weight * _landmark_error(output, batch)
    gap = {}
    if config.map_weight_pull and output.weight is not None:
        fields = output.displacement.detach().split(1)
        likely = [map_weight(field, spacing, prior) for field, prior in zip(fields, priors, strict=True)]
        distance = weight - torch.cat(likely)
        parts["map_pull"] = config.map_weight_pull * distance.square().mean()
        gap = {"map_gap": distance.detach().abs().mean()}
    return {"loss": torch.stack(list(parts.values())).sum(), **parts, **gap}


def _smoothness(field_mm: Vectors, weight: Scalars, priors: Sequence[Prior], spacing: Sequence[float]) -> Tensor:
    if len(priors) == 1:  # no scaled copy of the weight in memory
        return priors[0].scale * weighted_diffusion(field_mm, weight, spacing)
    scales = weight.new_tensor([prior.scale for prior in priors]).view(-1, 1, 1, 1, 1)
    return weighted_diffusion(field_mm, scales * weight, spacing)


def _one(output: RegistrationOutput, number: int) -> RegistrationOutput:
    """Output for one pair of a batch."""
    parts = vars(output).items()
    return RegistrationOutput(**{name: None if part is None else part[number : number + 1] for name, part in parts})


def in_mm(displacement_vox: Vectors, spacing: Sequence[float]) -> Vectors:
    """Convert a displacement (B, 3, X, Y, Z) from voxels to millimeters along the axes of its grid."""
    return displacement_vox * displacement_vox.new_tensor(spacing).view(1, 3, 1, 1, 1)


def map_weight(displacement_vox: Vectors, spacing: Sequence[float], prior: Prior) -> Scalars:
    """Return the most probable weight (B, 1, X, Y, Z) of a displacement in voxels, in closed form, without gradient."""
    return most_probable_weight(in_mm(displacement_vox, spacing), spacing, prior)


def map_gap(output: RegistrationOutput, spacing: Sequence[float], prior: Prior) -> float | None:
    """Return the mean absolute difference of a predicted weight from the most probable one; None without a weight."""
    if output.weight is None:
        return None
    return float((output.weight.detach() - map_weight(output.displacement, spacing, prior)).abs().mean())


def dice_loss(fixed_labels: Tensor, moving_labels: Tensor, displacement_vox: Vectors, labels: Sequence[int]) -> Tensor:
    r"""One minus the soft Dice overlap, mean over the labels that either image has.

    The indicator of each moving label is warped linearly, a few labels at a time. Value and gradient come from one
    pass over the labels, so that memory does not grow with their number.

    Args:
        fixed_labels: Integers, shape (B, 1, X, Y, Z).
        moving_labels: Same shape.
        displacement_vox: Pull map, shape (B, 3, X, Y, Z), in voxels.
        labels: Labels that count, the background 0 only if listed.

    Returns:
        Scalar in [0, 1], the mean over the batch; 0 for a pair without any of the labels.
    """
    present = _present(fixed_labels, moving_labels, labels)
    somewhere = [label for label, there in zip(labels, present.any(dim=0).tolist(), strict=True) if there]
    if not somewhere:
        return displacement_vox.sum() * 0.0
    present = present[:, present.any(dim=0)]
    shares = present / (present.sum(dim=1, keepdim=True).clamp(min=1) * len(present))
    return _DiceLoss.apply(displacement_vox, fixed_labels, moving_labels, tuple(somewhere), shares)


def _present(fixed: Tensor, moving: Tensor, labels: Sequence[int]) -> Tensor:
    """Whether each pair has each label in either image, shape (B, labels)."""
    return torch.stack([((fixed == label) | (moving == label)).flatten(1).any(dim=1) for label in labels], dim=1)


class _DiceLoss(torch.autograd.Function):
    """Saves only the gradient for the backward pass, for any number of labels."""

    @staticmethod
    def forward(
        ctx: Any, displacement_vox: Tensor, fixed: Tensor, moving: Tensor, labels: tuple[int, ...], shares: Tensor
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        leaf = displacement_vox.detach().requires_grad_(wanted)
        total, gradient = displacement_vox.new_zeros(()), torch.zeros_like(displacement_vox)
        for first in range(0, len(labels), _LABELS_AT_ONCE):
            chosen = torch.tensor(labels[first : first + _LABELS_AT_ONCE], device=fixed.device).view(1, -1, 1, 1, 1)
            with torch.set_grad_enabled(wanted):
                missed = _missed_overlap((fixed == chosen).to(leaf.dtype), (moving == chosen).to(leaf.dtype), leaf)
                missed = (missed * shares[:, first : first + _LABELS_AT_ONCE]).sum()
            if wanted:
                gradient += torch.autograd.grad(missed, leaf)[0]
            total += missed.detach()
        if wanted:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None, None, None


def _missed_overlap(fixed: Tensor, moving: Tensor, displacement_vox: Tensor) -> Tensor:
    """One minus the Dice overlap of each pair and label, shape (B, labels)."""
    warped = warp(moving, displacement_vox)
    common = (fixed * warped).sum(dim=(2, 3, 4))
    sizes = (fixed + warped).sum(dim=(2, 3, 4))
    return 1.0 - 2.0 * common / sizes.clamp(min=1e-5)


def landmark_loss(
    fixed_points_vox: Tensor, moving_points_vox: Tensor, displacement_vox: Vectors, spacing: Sequence[float]
) -> Tensor:
    r"""Mean landmark error :math:`|p + u(p) - q|` in mm; paper Sect. 6.2.2, in place of Dice.

    Landmarks p and q, shape (N, 3), and the pull map u, shape (1, 3, X, Y, Z), are in voxels; the spacing is in mm.
    """
    found = fixed_points_vox + sample(displacement_vox, fixed_points_vox).T
    error_mm = (found - moving_points_vox) * displacement_vox.new_tensor(spacing)
    return (error_mm.square().sum(dim=1) + _SMALLEST_ERROR_MM**2).sqrt().mean()


def _weight(output: RegistrationOutput, prior: Prior) -> Scalars:
    """Predicted weight, 1 everywhere under the uniform prior."""
    if (output.weight is None) != (prior.name == "uniform"):
        got = f"the {prior.name} prior for a network {'without' if output.weight is None else 'with'} a weight"
        raise InputError("loss", got=got, expected="the uniform prior without a weight, another one with it")
    if output.weight is not None:
        return output.weight
    return output.displacement.new_ones(()).expand_as(output.displacement[:, :1])  # expanded, without memory


def _both_ways(term: Any, output: RegistrationOutput, batch: Batch, config: LossConfig) -> Tensor:
    """A term in the fixed space, or its mean over the fixed and the moving space."""
    forward = term(batch, output.displacement, config)
    if not config.symmetric:
        return forward
    if output.inverse_displacement is None:
        raise InputError("symmetric loss", got="a network without an inverse map", expected="one that integrates")
    return 0.5 * (forward + term(batch.swapped(), output.inverse_displacement, config))


def _dissimilarity(batch: Batch, displacement_vox: Vectors, config: LossConfig) -> Tensor:
    warped = warp(batch.moving, displacement_vox)
    spacing = spacing_in(config.units, batch.spacing)
    return dissimilarity(config.similarity, batch.fixed, warped, spacing, config.window)


def _overlap_loss(batch: Batch, displacement_vox: Vectors, config: LossConfig) -> Tensor:
    if batch.fixed_labels is None or batch.moving_labels is None:
        raise InputError("dice_weight", got="a pair without labels", expected="labels of both images")
    return dice_loss(batch.fixed_labels, batch.moving_labels, displacement_vox, batch.labels)


def _landmark_error(output: RegistrationOutput, batch: Batch) -> Tensor:
    if batch.fixed_points is None or batch.moving_points is None:
        raise InputError("tre_weight", got="a pair without landmarks", expected="landmarks of both images")
    return landmark_loss(batch.fixed_points[0], batch.moving_points[0], output.displacement, batch.spacing)

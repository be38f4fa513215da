"""Pairs, models and cold runs for the benchmark of live registration.

They are computed in child processes.
"""

from __future__ import annotations

import numpy as np
from measure import run_isolated

SIZES = {"tiny": (24, 20, 16), "heart": (128, 128, 32), "brain": (160, 192, 224)}
METHODS = ("instance", "hyper-vxm-spr-small", "hyper-vxm-spr", "hyper-tm-spr-small", "hyper-tm-spr")


def write_pair(size, folder):
    """Fixed and moving array and their affine: the beating heart, or shapes with a random deformation."""
    path = folder / f"{size}.npz"
    _checked(run_isolated(_write_pair, size, path))
    with np.load(path) as arrays:
        return dict(arrays)


def _write_pair(size, path):
    from SPRCore.synthetic import beating_heart, shape_pair

    if size == "heart":
        phantom = beating_heart(shape=SIZES[size])
    else:
        spacing = (1.0, 1.0, 1.0) if size == "brain" else (2.0, 2.0, 2.0)
        phantom = shape_pair(shape=SIZES[size], spacing=spacing, labels=16, scale_mm=24.0, amplitude_mm=6)
    np.savez(path, fixed=phantom.fixed.array, moving=phantom.moving.array, affine=phantom.fixed.affine)


def write_bundle_of(preset, folder):
    """Path of a model of a preset, with random weights that give fields of a few voxels."""
    path = folder / f"{preset}.sprmodel.safetensors"
    _checked(run_isolated(_write_bundle, preset, path))
    return path


def _write_bundle(preset, path):
    import torch

    from SPRCore.io import Bundle, ModelCard, write_bundle
    from SPRCore.networks import build

    torch.manual_seed(0)
    network = build(preset).eval()
    with torch.no_grad():
        last = [p for p in network.parameters() if 0 < p.abs().max() < 1e-3]  # layers initialized near 0
        for parameter in last:
            parameter.normal_(std=0.1)
        longest = float(network(*torch.rand(2, 1, 1, 64, 64, 64), torch.full((1, 2), 0.5)).displacement.abs().max())
        for parameter in last:
            parameter.mul_(2.0 / longest)
    card = ModelCard(
        name=preset,
        architecture=network.config.to_dict(),
        prior="beta",
        conditioning=("alpha", "lambda_max"),
        ranges={"alpha": (0.01, 0.6), "lambda_max": (0.5, 5.0)},
        defaults={"alpha": 0.1, "lambda_max": 1.0},
    )
    write_bundle(Bundle(card=card, tensors=network.state_dict()), path)


def cold_difference_vox(pair, method, prior, setting, field, device):
    """Longest difference of a displacement in RAS mm from that of `SPRCore.register` at a setting, in voxels."""
    return _checked(run_isolated(_cold_difference, pair, str(method), prior, setting, field, device))


def _cold_difference(pair, method, prior, setting, field, device):
    import SPRCore
    from SPRCore.regularization.priors import make_prior

    fixed, moving = (SPRCore.Volume(pair[name], pair["affine"]) for name in ("fixed", "moving"))
    prior = make_prior(prior, setting)
    result = SPRCore.register(fixed, moving, method=method, prior=prior, init="none", device=device)
    spacing = np.array(fixed.spacing)
    rotation = pair["affine"][:3, :3] / spacing
    difference_vox = (field - result.displacement.array) @ rotation / spacing
    return float(np.linalg.norm(difference_vox, axis=-1).max())


def _checked(result):
    if isinstance(result, dict) and "failed" in result:
        raise RuntimeError(f"{result['failed']}\n{result.get('trace', '')}")
    return result

"""Registration in one call: what most users of the package import."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from SPRCore.analysis.annotations import Annotations
from SPRCore.analysis.provenance import peak_memory_mb, versions
from SPRCore.errors import InputError
from SPRCore.geometry import (
    Field,
    Grid,
    Volume,
    affine_field,
    check_image,
    compose_affine,
    resample,
    resample_displacement,
)
from SPRCore.metrics import evaluate
from SPRCore.registration import InstanceConfig, InstanceResult, RegistrationResult, prealign, register_instance
from SPRCore.regularization import BetaPrior, GaussianPrior, UniformPrior

METHODS = ("instance",)
DEVICES = ("auto", "cpu", "cuda", "mps")
SCHEMA_VERSION = 1

_LOG = logging.getLogger("SPRCore")

Prior = BetaPrior | GaussianPrior | UniformPrior


@runtime_checkable
class Progress(Protocol):
    """Called with a stage in words and how much of it is done, 0 to 1 (None where nobody can tell)."""

    def __call__(self, stage: str, fraction: float | None = None) -> None:
        """Take note of the progress; an exception raised here stops the registration."""
        ...


def register(
    fixed: Volume,
    moving: Volume,
    *,
    method: str = "instance",
    prior: Prior | None = None,
    init: str = "auto",
    fixed_labels: Volume | None = None,
    moving_labels: Volume | None = None,
    fixed_points: np.ndarray | None = None,
    moving_points: np.ndarray | None = None,
    fixed_mask: Volume | None = None,
    device: str = "auto",
    seed: int = 0,
    config: InstanceConfig | None = None,
    progress: Progress | None = None,
) -> RegistrationResult:
    """Deform a moving image onto a fixed one and show how stiff the deformation was where.

    Labels and landmarks are never used to register: they measure the result.

    Args:
        fixed: Fixed image.
        moving: Moving image, on any grid.
        method: "instance": minimize the energy for this pair, without any training.
        prior: Prior on the weight of the regularization; `BetaPrior()` if None, the prior that the paper recommends.
        init: Alignment beforehand: "none", "center" (of mass), "rigid", "affine", or "auto", which looks at the pair.
        fixed_labels: Label map of the fixed image; on another grid it is resampled.
        moving_labels: Label map of the moving image, on any grid.
        fixed_points: Landmarks of the fixed image in RAS mm, shape (N, 3).
        moving_points: Their partners in the moving image in RAS mm, shape (N, 3).
        fixed_mask: Voxels of the fixed image that count (not 0); on another grid it is resampled.
        device: "auto" (CUDA if there is one, otherwise the CPU), "cpu", "cuda" or "mps".
        seed: Seed of every random choice; the same seed and machine give the same result.
        config: Settings of the solver; its defaults if None.
        progress: Told about stages of the work.

    Returns:
        Warped image, total displacement (the alignment included) and its inverse in RAS mm, weight map and report.

    Raises:
        InputError: An image cannot be registered, the two do not overlap, an option is unknown, the device is absent.
        ConvergenceError: The computation left the numbers.
    """
    _check_choice("method", method, METHODS)
    check_image(fixed, "fixed image")
    check_image(moving, "moving image")
    target, prior = pick_device(device), prior or BetaPrior()
    given = Annotations(
        fixed_labels=fixed_labels, moving_labels=moving_labels, fixed_points=fixed_points, moving_points=moving_points
    ).on(fixed.grid)
    mask = None if fixed_mask is None else _mask_on(fixed_mask, fixed.grid)
    watch = _Stages(progress)
    with _seeded(seed, target):
        result = _run(fixed, moving, init, prior, config or InstanceConfig(), mask, target, watch)
    watch.tell("measuring")
    moves = {"displacement": result.displacement, "inverse": result.inverse}
    metrics = evaluate(**moves, fixed=fixed, moving=moving, warped=result.warped, **vars(given), mask=mask)
    settings = {"method": method, "model": None, "device": str(target), "seed": seed}
    return dataclasses.replace(result, report=_report(fixed, moving, settings, prior, watch, target, metrics))


def pick_device(name: str) -> torch.device:
    """Turn the name of a device into one that is there.

    Args:
        name: "auto", "cpu", "cuda" or "mps".

    Returns:
        The device; "auto" gives CUDA where there is one and the CPU otherwise.

    Raises:
        InputError: The name is unknown, or this machine or this build of PyTorch has no such device.
    """
    _check_choice("device", name, DEVICES)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present[name]:
        found = ", ".join(device for device, there in present.items() if there)
        raise InputError("device", got=name, expected=f"one that this machine has: {found}", remedy="use --device auto")
    return torch.device(name)


def hyperparameters(prior: Prior) -> dict[str, Any]:
    """Return the name of a prior and its hyperparameters as a report names them."""
    if isinstance(prior, BetaPrior):
        return {"prior": prior.name, "alpha": prior.alpha, "lambda_max": prior.lambda_max}
    if isinstance(prior, GaussianPrior):
        return {"prior": prior.name, "sigma": prior.sigma, "lambda_mean": prior.lambda_mean}
    return {"prior": prior.name, "lambda": prior.strength}


class _Stages:
    """Times the stages of the work and tells about them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._start = progress, time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, key: str, words: str) -> Iterator[None]:
        self.tell(words)
        start = time.perf_counter()
        yield
        self.seconds[key] = time.perf_counter() - start

    def tell(self, words: str, fraction: float | None = None) -> None:
        if self._progress is not None:
            self._progress(words, fraction)

    def elapsed(self) -> float:
        return time.perf_counter() - self._start


def _check_choice(what: str, got: str, choices: tuple[str, ...]) -> None:
    if got not in choices:
        raise InputError(what, got=repr(got), expected=f"one of: {', '.join(choices)}")


def _mask_on(mask: Volume, grid: Grid) -> Volume:
    if not mask.grid.matches(grid):
        _LOG.info("The mask is on a grid of its own: resampled to that of the fixed image.")
        mask = resample(mask.with_array((mask.array != 0).astype(np.uint8)), grid, labels=True)
    if not (mask.array != 0).any():
        raise InputError("fixed mask", got="no voxel set inside the fixed image", expected="a region to register")
    return mask.with_array((mask.array != 0).astype(np.uint8))


def _describe(volume: Volume) -> dict[str, Any]:
    return {"shape": list(volume.shape), "spacing_mm": list(volume.spacing)}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all random choices of the block and leave the generators of the caller as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _run(
    fixed: Volume,
    moving: Volume,
    init: str,
    prior: Prior,
    config: InstanceConfig,
    mask: Volume | None,
    device: torch.device,
    watch: _Stages,
) -> RegistrationResult:
    """Align as a whole, bring the moving image onto the fixed grid and run the solver on the device."""
    with watch.stage("prealign", "aligning"):
        affine_ras = prealign(fixed, moving, init).affine_ras
    with watch.stage("register", "registering"):
        aligned = resample(moving, fixed.grid, affine_ras=affine_ras)
        solved = register_instance(
            fixed.to_tensor().to(device),
            aligned.to_tensor().to(device),
            fixed.spacing,
            prior,
            config,
            mask=None if mask is None else mask.to_tensor().to(device),
            callback=lambda fraction: watch.tell("registering", fraction),
        )
        return _assemble(fixed, moving, affine_ras, solved)


def _assemble(
    fixed: Volume, moving: Volume, affine_ras: np.ndarray | None, solved: InstanceResult
) -> RegistrationResult:
    """Put the alignment behind the deformation and sample the original moving image once."""
    displacement = Field.from_tensor_vox(solved.displacement_vox, fixed.affine)
    inverse = Field.from_tensor_vox(solved.inverse_vox, fixed.affine)
    if affine_ras is not None:
        displacement = compose_affine(displacement, affine_ras)
    return RegistrationResult(
        warped=resample(moving, fixed.grid, displacement=displacement),
        displacement=displacement,
        inverse=_total_inverse(inverse, moving.grid, affine_ras),
        weight=fixed.with_array(solved.weight[0, 0].cpu().numpy()),
        affine_ras=affine_ras,
        report={},
    )


def _total_inverse(inverse: Field, grid: Grid, affine_ras: np.ndarray | None) -> Field:
    """Write the inverse of the total map on the moving grid: `w(q) = A q + v(A q) - q`, A the inverse alignment.

    Args:
        inverse: Inverse displacement v of the deformation alone, on the fixed grid, RAS mm.
        grid: Grid of the moving image, where the inverse is wanted: it pulls the fixed image onto the moving one.
        affine_ras: Alignment from fixed to moving world points, or None.

    Returns:
        The displacement w in RAS mm on `grid`.
    """
    back = np.eye(4) if affine_ras is None else np.linalg.inv(affine_ras)
    if affine_ras is None and inverse.grid.matches(grid):
        return inverse
    # A grid may stand anywhere: moved by A, the voxels of the moving grid lie where v has to be read.
    moved = resample_displacement(inverse, Grid(grid.shape, back @ grid.affine))
    return Field(affine_field(grid, back).array + moved.array, grid.affine)


def _report(
    fixed: Volume,
    moving: Volume,
    settings: dict[str, Any],
    prior: Prior,
    watch: _Stages,
    device: torch.device,
    metrics: dict[str, Any],
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "inputs": {"fixed": _describe(fixed), "moving": _describe(moving)},
        **settings,
        "hyperparameters": hyperparameters(prior),
        "seconds": watch.seconds | {"total": watch.elapsed()},
        "peak_memory_mb": peak_memory_mb(device),
        "metrics": metrics,
    }

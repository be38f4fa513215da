"""A pair that stays open while its hyperparameters change."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from SPRCore.analysis.annotations import Annotations
from SPRCore.errors import InputError
from SPRCore.functional import jacobian_determinant
from SPRCore.geometry import Field, Volume, check_image, compose_affine, resample
from SPRCore.live.reply import Quality, Reply, Setting, ShouldStop, Superseded, SweepPoint
from SPRCore.metrics import evaluate
from SPRCore.registration import InstanceConfig, Job, prealign, register_instance, register_pair
from SPRCore.regularization import BetaPrior, Prior
from SPRCore.regularization.naming import hyperparameters, make_prior

INSTANCE = "instance"
SWEPT = {
    "alpha": (0.01, 0.6),
    "lambda_max": (0.5, 5.0),
    "sigma": (0.1, 4.0),
    "lambda_mean": (0.5, 5.0),
    "lambda": (0.1, 10.0),
}
"""Ranges of the hyperparameters for the sliders of the instance method, from the tables of the paper."""


class LiveSession:
    """One pair and one method, answering for one setting after the other.

    A call either completes or leaves the session as it was. Not for several threads at once.
    """

    def __init__(self, fixed: Volume, moving: Volume, affine_ras: np.ndarray | None, prior: Prior) -> None:
        self._fixed, self._moving, self._affine_ras, self._prior = fixed, moving, affine_ras, prior
        self._setting: dict[str, float] = hyperparameters(prior)
        self._exact: Reply | None = None
        self._given = Annotations()
        self._points: list[SweepPoint] = []

    @classmethod
    def open(
        cls,
        fixed: Volume,
        moving: Volume,
        *,
        method: str | Path = INSTANCE,
        prior: Prior | None = None,
        refine: int = 0,
        init: str = "none",
        fixed_labels: Volume | None = None,
        moving_labels: Volume | None = None,
        fixed_points: np.ndarray | None = None,
        moving_points: np.ndarray | None = None,
        fixed_mask: Volume | None = None,
        stiffness: Volume | None = None,
        device: str = "auto",
        budget_ms: float | None = None,
        cache_mb: float = 1024.0,
    ) -> LiveSession:
        """Open a pair.

        Args:
            fixed: Fixed image.
            moving: Moving image, on any grid.
            method: "instance", or the name of a model or the path of its bundle.
            prior: Prior on the weight and where to start; None for the default of the method.
            refine: Most steps of the instance solver that go on from what a model gave, for exact replies; 0 for none.
            init: Alignment beforehand: "none", "center", "rigid", "affine" or "auto".
            fixed_labels: Label map of the fixed image; labels and landmarks measure and never register.
            moving_labels: Label map of the moving image.
            fixed_points: Landmarks of the fixed image in RAS mm, shape (N, 3).
            moving_points: Their partners in the moving image.
            fixed_mask: Voxels of the fixed image that count (not 0).
            stiffness: Factor > 0 of the weight of each voxel, painted on any grid; outside it is 1.
            device: "auto", "cpu", "cuda" or "mps".
            budget_ms: Time that a preview may take; None for 100 ms, 250 ms for large images.
            cache_mb: Most memory for what settings were visited, in MiB.

        Returns:
            The session.

        Raises:
            InputError: As `SPRCore.register`.
        """
        check_image(fixed, "fixed image")
        check_image(moving, "moving image")
        if method != INSTANCE:
            raise InputError("method", got=str(method), expected=INSTANCE)
        session = cls(fixed, moving, prealign(fixed, moving, init).affine_ras, prior or BetaPrior())
        session._given = Annotations(
            fixed_labels=fixed_labels,
            moving_labels=moving_labels,
            fixed_points=fixed_points,
            moving_points=moving_points,
        ).on(fixed.grid)
        return session

    def __enter__(self) -> LiveSession:
        """Return the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()

    def close(self) -> None:
        """Free what the session holds."""
        self._exact, self._points = None, []

    @property
    def setting(self) -> Setting:
        """The last setting asked for."""
        return dict(self._setting)

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest value of each hyperparameter that may be changed, for sliders and the sweep."""
        return {name: SWEPT[name] for name in self._setting}

    def update(self, *, should_stop: ShouldStop | None = None, **changes: float) -> Reply:
        """Answer for a setting within the budget.

        Args:
            should_stop: Asked between steps; true gives the computation up.
            changes: Hyperparameters to change, by their names.

        Returns:
            A preview, or the exact reply where it is known.

        Raises:
            InputError: A hyperparameter that there is not, or a value out of range.
            Superseded: `should_stop` said so.
        """
        prior = make_prior(self._prior.name, self._setting | changes)
        config = InstanceConfig(steps=(6, 4, 0, 0))
        start = time.perf_counter()
        fixed, moving = self._fixed.to_tensor(), resample(self._moving, self._fixed.grid, affine_ras=self._affine_ras)
        solved = register_instance(
            fixed, moving.to_tensor(), self._fixed.spacing, prior, config, callback=_asking(should_stop)
        )
        displacement = Field.from_tensor_vox(solved.displacement_vox, self._fixed.affine)
        reply = self._reply(
            displacement, self._fixed.with_array(solved.weight[0, 0].numpy()), solved.similarity, prior, start
        )
        self._setting, self._exact = hyperparameters(prior), None
        return reply

    def improve(self, *, should_stop: ShouldStop | None = None) -> Reply | None:
        """Give the next better reply for the last setting.

        Args:
            should_stop: Asked between steps; true gives the computation up.

        Returns:
            A reply, the exact one at last; None once it has been given.

        Raises:
            Superseded: `should_stop` said so.
        """
        return None if self._exact is not None else self.commit(should_stop=should_stop)

    def commit(self, *, should_stop: ShouldStop | None = None) -> Reply:
        """Give the exact reply for the last setting, with the inverse, the warped image and all metrics.

        Args:
            should_stop: Asked between steps; true gives the computation up.

        Returns:
            The exact reply.

        Raises:
            Superseded: `should_stop` said so.
        """
        if self._exact is not None:
            return self._exact
        start = time.perf_counter()
        prior = make_prior(self._prior.name, self._setting)
        job = Job(prior=prior, model=None, refine=0, config=InstanceConfig(), mask=None, device=torch.device("cpu"))
        result = register_pair(self._fixed, self._moving, self._affine_ras, job, _asking(should_stop))
        moves = {"displacement": result.displacement, "inverse": result.inverse}
        metrics = evaluate(**moves, fixed=self._fixed, moving=self._moving, warped=result.warped, **vars(self._given))
        after = metrics["after"]
        quality = Quality(
            folding_percent=after["folding_percent"],
            min_jacobian=after["jacobian"]["min"],
            max_displacement_mm=after["displacement_mm"]["max"],
            lncc=after["lncc"],
            weight_gap=0.0,
        )
        self._exact = Reply(
            displacement=result.displacement,
            weight=result.weight,
            quality=quality,
            setting=hyperparameters(prior),
            exact=True,
            milliseconds=1e3 * (time.perf_counter() - start),
            stage="exact",
            inverse=result.inverse,
            warped=result.warped,
            metrics=metrics,
        )
        return self._exact

    def sweep_step(self, *, should_stop: ShouldStop | None = None) -> SweepPoint | None:
        """Compute one more point of the settings map.

        Args:
            should_stop: Asked between steps; true gives the computation up.

        Returns:
            The point; None once the map is full.

        Raises:
            Superseded: `should_stop` said so.
        """
        return None

    def settings_map(self) -> tuple[SweepPoint, ...]:
        """Return the points of the settings map so far, in the order in which they were computed."""
        return tuple(self._points)

    def set_stiffness(self, stiffness: Volume | None) -> None:
        """Paint the stiffness anew.

        Args:
            stiffness: Factor > 0 of the weight of each voxel, on any grid; None for 1 everywhere.

        Raises:
            InputError: A factor that is not above 0, or a method that cannot use it.
        """

    def _reply(self, displacement: Field, weight: Volume, lncc: float, prior: Prior, start: float) -> Reply:
        determinant = jacobian_determinant(displacement.to_tensor_vox())[..., 1:-1, 1:-1, 1:-1]
        if self._affine_ras is not None:
            displacement = compose_affine(displacement, self._affine_ras)
        quality = Quality(
            folding_percent=100.0 * float((determinant <= 0).float().mean()),
            min_jacobian=float(determinant.min()),
            max_displacement_mm=math.sqrt(float((displacement.array**2).sum(axis=-1).max())),
            lncc=lncc,
            weight_gap=0.0,
        )
        return Reply(
            displacement=displacement,
            weight=weight,
            quality=quality,
            setting=hyperparameters(prior),
            exact=False,
            milliseconds=1e3 * (time.perf_counter() - start),
            stage="preview",
        )


def _asking(should_stop: ShouldStop | None) -> object:
    def callback(fraction: float) -> None:
        if should_stop is not None and should_stop():
            raise Superseded("registration", got="a newer request")

    return callback

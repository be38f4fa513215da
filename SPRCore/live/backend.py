"""Live sessions for the worker; the one part of it that loads torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import SPRCore
from SPRCore.analysis.annotations import Annotations
from SPRCore.errors import InputError
from SPRCore.geometry import Volume
from SPRCore.live.events import Arrays
from SPRCore.live.protocol import Open
from SPRCore.live.reply import Superseded
from SPRCore.live.session import LiveSession
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
from SPRCore.regularization.priors import make_prior

_VOLUMES = ("fixed", "moving", "fixed_labels", "moving_labels", "fixed_mask", "moving_mask", "stiffness")
_POINTS = ("fixed_points", "moving_points")
_LABELS = ("fixed_labels", "moving_labels")


class TorchBackend:
    """Opens `LiveSession`."""

    superseded = Superseded

    def describe(self) -> dict[str, Any]:
        """Return versions, device and threads, as `protocol.Ready` has them."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        versions = {"version": SPRCore.__version__, "torch": str(torch.__version__)}
        return versions | {"device": device, "threads": torch.get_num_threads()}

    def open(self, request: Open, arrays: Arrays) -> LiveSession:
        """Open a session.

        Args:
            request: What to open.
            arrays: Its arrays, by name.

        Returns:
            The session.

        Raises:
            InputError: As `LiveSession.open`; an image is missing, or there is an array that nobody knows.
        """
        unknown = sorted(set(arrays) - {*_VOLUMES, *_POINTS})
        if unknown or not {"fixed", "moving"} <= set(arrays):
            got, expected = ", ".join(sorted(arrays)), f"fixed and moving, and of {', '.join(_VOLUMES[2:] + _POINTS)}"
            raise InputError("arrays", got=got, expected=expected)
        if request.setting and request.prior is None:
            raise InputError("setting", got="no prior that it belongs to", expected="both or none")
        given = {name: self.volume(arrays, name) for name in _VOLUMES} | _points(arrays)
        return LiveSession.open(
            **given,
            method=request.method,
            prior=None if request.prior is None else make_prior(request.prior, request.setting),
            refine=request.refine,
            start=request.start,
            init=request.init,
            device=request.device,
            budget_ms=request.budget_ms,
        )

    def prior(self, session: LiveSession) -> str:
        """Return the name of the prior of a session."""
        return next(name for name, keys in HYPERPARAMETERS.items() if set(keys) == set(session.setting))

    def volume(self, arrays: Arrays, name: str) -> Volume | None:
        """Return an array as a volume.

        Args:
            arrays: Arrays by name.
            name: Which of them.

        Returns:
            The volume; None if it is not there.

        Raises:
            InputError: It is no volume.
        """
        if name not in arrays:
            return None
        array, affine = arrays[name]
        if affine is None:
            raise InputError(name, got="no affine", expected="where its voxels lie")
        return Volume(array, affine)

    def annotations(self, arrays: Arrays) -> Annotations:
        """Return labels and landmarks.

        Args:
            arrays: Arrays by name, nothing else among them.

        Returns:
            What there is of them.

        Raises:
            InputError: An array of another name, or as `Annotations`.
        """
        unknown = sorted(set(arrays) - {*_LABELS, *_POINTS})
        if unknown:
            raise InputError("arrays", got=", ".join(unknown), expected=", ".join(_LABELS + _POINTS))
        return Annotations(**{name: self.volume(arrays, name) for name in _LABELS}, **_points(arrays))


def _points(arrays: Arrays) -> dict[str, np.ndarray | None]:
    return {name: arrays[name][0] if name in arrays else None for name in _POINTS}

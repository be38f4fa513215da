"""Live sessions for the worker; the only part of it that loads torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import SPRCore
from SPRCore.errors import InputError
from SPRCore.geometry import Annotations, Volume
from SPRCore.live.events import Arrays
from SPRCore.live.options import LiveOptions
from SPRCore.live.protocol import Open
from SPRCore.live.reply import ComputationStopped
from SPRCore.live.session import LiveSession
from SPRCore.regularization.hyperparameters import HYPERPARAMETERS
from SPRCore.regularization.priors import make_prior

_LABELS = ("fixed_labels", "moving_labels")
_MASKS = ("fixed_mask", "moving_mask")
_CHANNELS = ("fixed_channel", "moving_channel")
_POINTS = ("fixed_points", "moving_points")
_OPTIONAL = (*_LABELS, *_MASKS, *_CHANNELS, "stiffness", *_POINTS)


class TorchBackend:
    """Opens `LiveSession`."""

    stopped = ComputationStopped

    def describe(self) -> dict[str, Any]:
        """Return versions, device and threads for `protocol.Ready`."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        versions = {"version": SPRCore.__version__, "torch": str(torch.__version__)}
        return versions | {"device": device, "threads": torch.get_num_threads()}

    def open(self, request: Open, arrays: Arrays) -> LiveSession:
        """Open a session for a request and its arrays by name.

        Raises:
            InputError: As `LiveSession.open`; a missing image or an unknown array.
        """
        if set(arrays) - {"fixed", "moving", *_OPTIONAL} or not {"fixed", "moving"} <= set(arrays):
            got, expected = ", ".join(sorted(arrays)), f"fixed and moving, and of {', '.join(_OPTIONAL)}"
            raise InputError("arrays", got=got, expected=expected)
        if request.setting and request.prior is None:
            raise InputError("setting", got="no prior that it belongs to", expected="both or none")
        names = ("start", "similarity", "refine", "budget_ms")
        given = request.init_affine
        return LiveSession.open(
            self.volume(arrays, "fixed"),
            self.volume(arrays, "moving"),
            method=request.method,
            prior=None if request.prior is None else make_prior(request.prior, request.setting),
            device=request.device,
            annotations={name: self._optional(arrays, name) for name in _OPTIONAL if name != "stiffness"},
            options=LiveOptions(
                init=request.init if given is None else np.array(given).reshape(4, 4),
                stiffness=self.volume(arrays, "stiffness"),
                **{name: getattr(request, name) for name in names},
            ),
        )

    def prior(self, session: LiveSession) -> str:
        """Return the name of the prior of a session."""
        return next(name for name, keys in HYPERPARAMETERS.items() if set(keys) == set(session.setting))

    def volume(self, arrays: Arrays, name: str) -> Volume | None:
        """Return an array as a volume; None if it is missing (`InputError` if it is not a volume)."""
        if name not in arrays:
            return None
        array, affine = arrays[name]
        if affine is None:
            raise InputError(name, got="no affine", expected="the position of its voxels")
        return Volume(array, affine)

    def annotations(self, arrays: Arrays) -> Annotations:
        """Return labels and landmarks (`InputError` for an array with another name, and as `Annotations`)."""
        unknown = sorted(set(arrays) - {*_LABELS, *_POINTS})
        if unknown:
            raise InputError("arrays", got=", ".join(unknown), expected=", ".join(_LABELS + _POINTS))
        return Annotations(**{name: self._optional(arrays, name) for name in _LABELS + _POINTS})

    def _optional(self, arrays: Arrays, name: str) -> Volume | np.ndarray | None:
        if name in _POINTS:
            return arrays[name][0] if name in arrays else None
        return self.volume(arrays, name)

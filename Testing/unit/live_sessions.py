"""Live sessions in process for the tests, and their comparison."""

from __future__ import annotations

import numpy as np

from SPRCore import Field
from SPRCore.geometry.annotations import Annotations
from SPRCore.live import LiveOptions, LiveSession

AFFINE = np.array([[-2.0, 0.0, 0.3, 5.0], [0.0, 2.5, 0.0, -7.0], [0.2, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (22, 20, 16)
WANTED = {"alpha": 0.3, "lambda_max": 2.0}


def opened(pair, method="instance", prior=None, annotations=None, **options):
    """A session on the CPU."""
    more = {"prior": prior, "annotations": annotations, "options": LiveOptions(**options)}
    return LiveSession.open(pair["fixed"], pair["moving"], method=method, device="cpu", **more)


def labels_of(pair):
    return Annotations(fixed_labels=pair["fixed_labels"], moving_labels=pair["moving_labels"])


def replies(live):
    """All improvements of the last setting."""
    return list(iter(live.improve, None))


def apart_vox(one: Field, other: Field):
    """Longest difference of two displacements on one grid, in voxels."""
    difference = (one.array - other.array) @ np.linalg.inv(one.affine[:3, :3]).T
    return float(np.linalg.norm(difference, axis=-1).max())

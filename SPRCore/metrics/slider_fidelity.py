"""Agreement between two methods on how a displacement changes with the hyperparameters."""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError


def slider_fidelity(fields_mm: np.ndarray, reference_mm: np.ndarray) -> dict[str, float]:
    r"""Compare the change of a displacement between settings with that of a reference, such as the instance solver.

    With the deviations :math:`d_k = u_k - \bar u` of K settings from their mean, whose squares sum to those of all
    differences between two settings over K:

    .. math:: \text{fidelity} = 1 - \frac{\sum_k |d_k - d_k^{ref}|^2}{\sum_k |d_k^{ref}|^2}

    Args:
        fields_mm: Displacements of a pair at K settings, shape (K, 3, X, Y, Z), in mm, K two or more.
        reference_mm: Those of the reference at the same settings, same shape.

    Returns:
        ``"slider_fidelity"``: 1 for the same changes, 0 for none, negative where the changes are farther from the
        reference than no change; ``"slider_correlation"``: cosine between the changes, -1 to 1; ``"slider_gain"``:
        length of the changes along those of the reference, over the length of the latter. All nan where the reference
        does not change.

    Raises:
        InputError: The shapes differ, or there are fewer than two settings.
    """
    if fields_mm.shape != reference_mm.shape or len(fields_mm) < 2:
        got = f"shapes {fields_mm.shape} and {reference_mm.shape}"
        raise InputError("slider fidelity", got=got, expected="the same shape, two settings or more")
    found, wanted = (
        part.astype(np.float64) - part.mean(axis=0, dtype=np.float64) for part in (fields_mm, reference_mm)
    )
    power, common, own = float((wanted**2).sum()), float((wanted * found).sum()), float((found**2).sum())
    if power == 0.0:
        return dict.fromkeys(("slider_fidelity", "slider_correlation", "slider_gain"), float("nan"))
    return {
        "slider_fidelity": 1.0 - float(((found - wanted) ** 2).sum()) / power,
        "slider_correlation": common / (own * power) ** 0.5 if own else 0.0,
        "slider_gain": common / power,
    }

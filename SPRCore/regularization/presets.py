"""Settings of the prior by the part of the body, each the best of a measured table."""

from __future__ import annotations

from types import MappingProxyType

from SPRCore.config import check_name
from SPRCore.regularization.priors import BetaPrior, Prior

ANATOMIES = MappingProxyType(
    {
        "brain": BetaPrior(alpha=0.03, lambda_max=1.0),
        "heart": BetaPrior(alpha=0.1, lambda_max=1.0),
        "lung": BetaPrior(alpha=0.05, lambda_max=5.0),
        "liver": BetaPrior(alpha=0.02, lambda_max=20.0),
        "pelvis": BetaPrior(alpha=0.1, lambda_max=1.0),
    }
)
"""Settings by the part of the body; docs/adr/0019-which-setting.md holds the tables that they come from."""

LARGE_MOTION = frozenset({"liver", "lung"})
"""Parts of the body whose motion is larger than a solver that starts from rest can follow: a discrete search begins."""


def anatomy_prior(anatomy: str) -> Prior:
    """Return the setting for a part of the body.

    Args:
        anatomy: "brain", "heart", "lung", "liver" or "pelvis".

    Returns:
        The prior.

    Raises:
        InputError: There is no setting for it.
    """
    check_name(str(anatomy), ANATOMIES, "anatomy")
    return ANATOMIES[anatomy]

"""Studies of a function in place of a registration: the target, a good function, and what is found."""

from __future__ import annotations

import dataclasses

from SPRCore.tuning.outcome import outcome
from SPRCore.tuning.space import SearchParameter
from SPRCore.tuning.worker import open_study

X = (SearchParameter(name="x", low=0.0, high=1.0),)


@dataclasses.dataclass(frozen=True)
class Simple:
    """A target that is a function of parameters."""

    improving = True

    function: object
    path: object = None

    def opened(self):
        return self.function

    def bundle(self, slot):
        return self.path


def good(slot, params, report):
    return {"dice": 1.0 - (params["x"] - 0.3) ** 2}


def found(config, **options):
    return outcome(config, open_study(config), target="t", **{"band": 0.01} | options)

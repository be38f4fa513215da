"""The choice of a setting for the pair of a session: in parts, so that sliders answer in between."""

from __future__ import annotations

import dataclasses

from SPRCore.errors import InputError
from SPRCore.live.known import Pair
from SPRCore.live.method import Check
from SPRCore.live.reply import ChosenSetting
from SPRCore.registration.choice import Choice, Choosing, choosing_for
from SPRCore.registration.job import INSTANCE, RegistrationJob
from SPRCore.regularization import BetaPrior
from SPRCore.regularization.priors import hyperparameters


class Chooser:
    """Chooses once, and goes on where it was left.

    Args:
        pair: The pair.
        job: How it is deformed, painted stiffness and start included; its setting has no influence.
    """

    def __init__(self, pair: Pair, job: RegistrationJob) -> None:
        self._pair, self._job = pair, job
        self._choosing: Choosing | None = None
        self._chosen: ChosenSetting | None = None

    def chosen(self, check: Check) -> ChosenSetting:
        """Return the choice that ``SPRCore.register(prior="auto")`` makes.

        Args:
            check: Called between the parts, with the fraction done; what it raises leaves the choice there.

        Raises:
            InputError: There is a model, which has settings of its own.
            ConvergenceError: The energy left the numbers.
        """
        model = self._job.model
        if model is not None:
            got, remedy = f"it with the model {model.card.name}", "a model has settings of its own"
            raise InputError("choice of a setting", got=got, expected=f"the method {INSTANCE}", remedy=remedy)
        if self._chosen is None:
            self._chosen = _reply(self._completed(check))
        return self._chosen

    def _completed(self, check: Check) -> Choice:
        choosing, self._choosing = self._choosing or self._begun(), None
        try:
            while True:
                fraction = next(choosing)  # what this raises ends the choice, what the check raises leaves it there
                self._choosing = choosing
                check(fraction)
                self._choosing = None
        except StopIteration as end:
            return end.value

    def _begun(self) -> Choosing:
        job = dataclasses.replace(self._job, prior=BetaPrior())  # what stands where nothing can be compared
        return choosing_for(self._pair.fixed, self._pair.moving, self._pair.affine_ras, job)


def _reply(choice: Choice) -> ChosenSetting:
    return ChosenSetting(
        prior=choice.prior.name,
        setting=hyperparameters(choice.prior),
        compared=bool(choice.scores),
        blocks=choice.blocks,
        warnings=tuple(choice.warnings),
    )

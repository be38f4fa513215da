"""Choice of a setting for the pair of a session, in parts, so that sliders respond in between."""

from __future__ import annotations

import dataclasses

from SPRCore.errors import InputError
from SPRCore.live.method import Check
from SPRCore.live.pair import LivePair
from SPRCore.live.parts import ChosenSetting
from SPRCore.registration.choice import Choice, Choosing, choosing_for
from SPRCore.registration.job import INSTANCE, RegistrationJob
from SPRCore.regularization import BetaPrior
from SPRCore.regularization.priors import hyperparameters


class SettingChooser:
    """Chooses a setting once; an interrupted choice is resumed.

    Args:
        pair: The pair.
        job: Painted stiffness and start are used, its setting is not.
    """

    def __init__(self, pair: LivePair, job: RegistrationJob) -> None:
        self._pair, self._job = pair, job
        self._choosing: Choosing | None = None
        self._chosen: ChosenSetting | None = None

    def chosen(self, check: Check) -> ChosenSetting:
        """Return the setting of ``SPRCore.register(prior="auto")``.

        Args:
            check: Called between the parts with the fraction done; an exception interrupts the choice.

        Raises:
            InputError: The session has a model, which has its own settings.
            ConvergenceError: The energy became NaN or infinite.
        """
        model = self._job.model
        if model is not None:
            got, remedy = f"it with the model {model.card.name}", "a model has settings of its own"
            raise InputError("choice of a setting", got=got, expected=f"the method {INSTANCE}", remedy=remedy)
        if self._chosen is None:
            choice = self._completed(check)
            self._chosen = ChosenSetting(
                prior=choice.prior.name,
                setting=dict(hyperparameters(choice.prior)),
                compared=bool(choice.scores),
                blocks=choice.blocks,
                warnings=tuple(choice.warnings),
            )
        return self._chosen

    def _completed(self, check: Check) -> Choice:
        choosing, self._choosing = self._choosing or self._started(), None
        try:
            while True:
                fraction = next(choosing)  # an error in it ends the choice, an error in the check does not
                self._choosing = choosing
                check(fraction)
                self._choosing = None
        except StopIteration as end:
            return end.value

    def _started(self) -> Choosing:
        job = dataclasses.replace(self._job, prior=BetaPrior())  # the default if nothing can be compared
        return choosing_for(self._pair.fixed, self._pair.moving, self._pair.affine_ras, job)

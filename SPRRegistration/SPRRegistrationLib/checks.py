"""The check of a pair: warnings, or what was checked, and the alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from SPRCore.errors import SPRError
from SPRRegistrationLib import messages
from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.parameters import Alignment
from SPRRegistrationLib.scene import dicom, inputs


@dataclass(frozen=True)
class PairCheck:
    """The check of a pair.

    Attributes:
        lines: Sentences.
        level: "check" for a warning, otherwise "plain": whether images match is unknown before registration.
        can_align: Whether an alignment would help, and none is chosen.
    """

    lines: tuple[str, ...]
    level: str
    can_align: bool


def pair_check(parameters: Any, modality: str, opened: Any) -> PairCheck:
    """Check a pair.

    Args:
        parameters: The parameters of a registration.
        modality: Kind of image that the task model is made for; empty if unknown.
        opened: The answer of the worker when it opened this pair, `protocol.Opened`; None before.
    """
    why_not = messages.why_not_apply(parameters)
    if why_not:
        return PairCheck((why_not,), "check", False)
    volumes = (parameters.fixedVolume, parameters.movingVolume)
    kinds = [dicom.tags_of(volume).get("Modality", "") for volume in volumes]
    try:
        facts = inputs.facts_of(parameters)
    except SPRError as error:
        return PairCheck((messages.refused(error),), "check", False)
    found, initial = messages.guard(facts, modality, kinds), parameters.initialTransform
    aligns = parameters.alignment is not Alignment.NONE
    lines = found or [messages.checked(facts)]
    if opened is not None:
        lines = [*lines, messages.aligned(opened.init, opened.init_reason, opened.covered)]
    elif initial is not None:
        lines = [*lines, messages.initial_alignment(initial.GetName())]
    elif aligns and messages.needs_alignment(facts):
        lines = [*lines, _("They are aligned before the deformation.")]
    elif parameters.alignment is Alignment.AUTO:
        lines = [*lines, _("Whether they are aligned first is decided when they are opened.")]
    can_align = messages.needs_alignment(facts) and not aligns and initial is None
    return PairCheck(tuple(lines), "check" if found else "plain", can_align)

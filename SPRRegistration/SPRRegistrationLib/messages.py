"""All sentences about the state and the quality of a registration, in words for a radiologist. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SPRRegistrationLib.i18n import tr as _

MARK = "◆"
"""Marks the suggested value on a slider and on the settings map."""


def no_pair() -> str:
    """No images are chosen."""
    return _("Choose the two images.")


def opening() -> str:
    """The pair is being opened."""
    return _("The images are being prepared. The first time this takes some seconds.")


def ready() -> str:
    """The pair is open."""
    return _("Ready. Move a slider to see the deformation.")


def previewing() -> str:
    """A preview is being computed."""
    return _("The deformation is being computed.")


def committing() -> str:
    """The exact result is being computed."""
    return _("The exact result is being computed. You can continue working.")


def done(milliseconds: float) -> str:
    """The exact result is shown."""
    return _("Done in {time}: the exact result is shown and can be saved.").format(time=duration(milliseconds))


def cancelled(has_result: bool) -> str:
    """The computation was cancelled; an earlier result may still be shown."""
    return _("Cancelled. The last deformation is still shown.") if has_result else _("Cancelled.")


def shown(exact: bool) -> str:
    """A result is shown after a slider has moved."""
    if exact:
        return _("The exact deformation is shown. Apply measures it and adds its inverse.")
    return _("A preview is shown. Apply computes the exact result.")


def latency(milliseconds: float, exact: bool, beyond: bool = False) -> str:
    """Return kind and time of a result, such as "preview (64 ms)", and whether its setting is beyond training."""
    text = f"{_('exact result') if exact else _('preview')} ({duration(milliseconds)})"
    return f"{text}, {_('beyond training')}" if beyond else text


def duration(milliseconds: float) -> str:
    """Return a time in words: "64 ms", "1.2 s", "2 min 5 s"."""
    seconds = milliseconds / 1e3
    if seconds < 0.9995:
        return f"{milliseconds:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    return _("{minutes} min {seconds} s").format(minutes=round(seconds) // 60, seconds=round(seconds) % 60)


def progress(seconds_left: float | None) -> str:
    """Return the text in a progress bar, in which %p is the part done in percent.

    Args:
        seconds_left: Time left; None for not known.
    """
    if seconds_left is None:
        return "%p %"
    if seconds_left < 10:
        return _("%p %, a few seconds left")
    if seconds_left < 55:
        return _("%p %, about {seconds} s left").format(seconds=10 * round(seconds_left / 10))
    return _("%p %, about {minutes} min left").format(minutes=max(round(seconds_left / 60), 1))


def refused(error: Any) -> str:
    """Return an `SPRError`, or an `Error` of the worker, as sentences."""
    parts = [f"{error.what}: {error.got}" if error.got else str(error.what)]
    parts += [_("expected {what}").format(what=error.expected)] if error.expected else []
    text = "; ".join(parts)
    if error.remedy:
        return f"{sentence(text)} {sentence(error.remedy)}"
    return sentence(text)


def failed(error: Any) -> str:
    """Return why the worker failed, and what can be done.

    Args:
        error: An `Error` of the worker.
    """
    leads = {
        "memory": _("There is not enough memory."),
        "computation": _("The computation did not converge; try a stiffer setting."),
        "fault": _("Internal error of the registration program. The log has the details; please report it."),
        "protocol": _("The versions of the two parts of the program do not match. Reinstall the extension."),
        "worker": _("The answer was lost. Move the slider or press Apply again."),
    }
    lead = leads.get(error.code)
    return refused(error) if lead is None else f"{lead} ({refused(error)})"


def no_output(name: str) -> str:
    """A node was chosen for a result that the registration reads."""
    text = _("“{name}” is an input or another result of this registration. The result goes into a node of its own.")
    return text.format(name=name)


def warped(name: str, is_preview: bool, uncertainty: str = "") -> str:
    """A deformed copy was made, whose uncertainty is given as a sentence if it is known."""
    parts = [_("“{name}” was made.").format(name=name), uncertainty]
    parts += [_("It belongs to a preview: press Apply, and make it again.")] if is_preview else []
    return " ".join(part for part in parts if part)


def initial_alignment(name: str) -> str:
    """An initial transform is chosen."""
    return _("The moving image is put onto the fixed one by the initial transform “{name}”.").format(name=name)


def left_out(names: Sequence[str]) -> str:
    """Parts of an address were ignored."""
    return _("Ignored in the address, unknown or out of range: {}.").format(", ".join(names))


def needs_alignment(facts: dict[str, float]) -> bool:
    """Return whether an alignment of the images would remove a warning of `guard`."""
    return facts["overlap"] < 0.5 or facts["angle_degrees"] > 20


def why_not_apply(parameters: Any) -> str:
    """Return why Apply is not possible, in one sentence; empty if it is."""
    fixed, moving = parameters.fixedVolume, parameters.movingVolume
    if fixed is None and moving is None:
        return _("Choose the two images.")
    if fixed is None:
        return _("Choose the fixed image.")
    if moving is None:
        return _("Choose the moving image.")
    if fixed is moving:
        return _("Both images are the same.")
    if fixed.GetImageData() is None or moving.GetImageData() is None:
        return _("One of the images is empty.")
    has_channel = (parameters.fixedChannel is not None, parameters.movingChannel is not None)
    if has_channel == (False, True):
        return _("Choose the second channel of the fixed image, too, or none.")
    if has_channel == (True, False):
        return _("Choose the second channel of the moving image, too, or none.")
    return ""


def cursor(weight: float | None, displacement_mm: float | None, uncertainty_mm: float | None = None) -> str:
    """Return relative stiffness (1 is stiff), and length and uncertainty of the displacement at a point."""
    parts = [] if weight is None else [_("stiffness {:.2f}").format(weight)]
    if displacement_mm is not None and uncertainty_mm is not None:
        parts.append(_("moved by {:.1f} ± {:.1f} mm").format(displacement_mm, uncertainty_mm))
    elif displacement_mm is not None:
        parts.append(_("moved by {:.1f} mm").format(displacement_mm))
    return ", ".join(parts)


def uncertainty(metrics: Mapping[str, float | None], exact: bool, calibrated: bool = True) -> str:
    """Return the uncertainty of a result in one line.

    Args:
        metrics: Its median and 95th percentile in mm, as `median` and `p95`.
        exact: Whether it is that of an exact result.
        calibrated: Whether it was calibrated with the similarity of the registration, the local correlation.
    """
    text = _("Median ± {median:.1f} mm, 95 % of the image below ± {p95:.1f} mm").format(**metrics)
    text = text if exact else _("{text} (preview)").format(text=text)
    return text if calibrated else _("{text}; not calibrated for this similarity").format(text=text)


def settings_point(setting: Mapping[str, float], measure: str, value: float | None) -> str:
    """Return one point of the settings map in words."""
    at = ", ".join(f"{setting_names().get(name, name)} {number:.3g}" for name, number in setting.items())
    shown = _("not known") if value is None else f"{value:.3g}"
    return f"{at}: {measure} {shown}"


def beyond_training(end: float | None) -> str:
    """Return what is added to the tooltip of a slider that ends above the largest value of the training, or ""."""
    text = _(" Beyond training above {end:g} (red mark): the task model was trained up to it. Check such results.")
    return "" if end is None else text.format(end=end)


def hypermorph_stiffness() -> str:
    """Return the label of the stiffness of a HyperMorph model."""
    return _("Stiffness (λ/(1 − λ) of HyperMorph)")  # noqa: RUF001


def about_hypermorph() -> str:
    """Return what the stiffness of a HyperMorph model is."""
    return _("The model was trained with (1 − λ) similarity + λ smoothness; the stiffness is λ/(1 − λ), as in the "  # noqa: RUF001
             "instance optimization: 1 is λ = 0.5, 3 is λ = 0.75.")  # fmt: skip


def is_beyond(setting: Mapping[str, float], trained: Mapping[str, float]) -> bool:
    """Return whether a setting exceeds the largest values of the training of a task model."""
    return any(value > trained.get(name, value) * (1 + 1e-9) for name, value in setting.items())


def trained_range(trained: Sequence[float], usable: float) -> str:
    """Return the range of a hyperparameter on the card of a task model."""
    return _("trained from {low:g} to {high:g}, usable to {usable:g}").format(
        low=trained[0], high=trained[1], usable=usable
    )


def choosing() -> str:
    """A setting is being chosen for the pair."""
    return _("A setting is being chosen for this pair. You can continue working; Cancel stops it.")


def suggested(prior: str, setting: Mapping[str, float], in_force: bool) -> str:
    """Return the suggested setting in words.

    Args:
        prior: Label of the prior; empty if it is the chosen one.
        setting: Its hyperparameters, by the worker's names.
        in_force: Whether the sliders have these values.
    """
    names = setting_names()
    values = ", ".join(f"{names.get(name, name)} {value:.3g}" for name, value in setting.items())
    if prior:
        text = _("Suggested for this pair is another kind of stiffness: {prior}, {values}.")
        return text.format(prior=prior, values=values)
    text = _("Suggested for this pair ({mark}): {values}.")
    if in_force:
        text = _("Suggested for this pair ({mark}), already set: {values}.")
    return text.format(mark=MARK, values=values)


def nothing_suggested() -> str:
    """No setting could be chosen."""
    return _(
        "No setting can be suggested: too little of these images can be compared. Start with the recommended values."
    )


def setting_names() -> dict[str, str]:
    """Return the labels of the hyperparameters by the worker's names."""
    return {
        "alpha": _("evenness (alpha)"),
        "lambda_max": _("largest stiffness (lambda)"),
        "sigma": _("spread (sigma)"),
        "lambda_mean": _("mean stiffness (lambda)"),
        "tv": _("cost of a jump (t)"),
        "lambda": _("stiffness (lambda)"),
    }


def checked(facts: Mapping[str, Any]) -> str:
    """Return what was checked of images without warnings of `guard`; whether they match is unknown before registration.

    Args:
        facts: As `inputs.facts_of` gives them.
    """
    text = _("Position and size are plausible: the moving image covers {:.0f} % of the fixed one.")
    return text.format(100 * facts["overlap"])


def aligned(mode: str, reason: str, covered: float) -> str:
    """Return the affine pre-alignment in words.

    Args:
        mode: "none", "center", "rigid", "affine", or "given" for an initial transform.
        reason: The reason of the worker; "requested" if the user chose it.
        covered: Part of the fixed image inside the aligned moving one, 0 to 1.
    """
    kinds = {"center": _("by their centers"), "rigid": _("rigidly"), "affine": _("affinely")}
    now = _("The moving image covers {:.0f} % of the fixed one now.").format(100 * covered)
    if mode == "given":
        return f"{_('The images were aligned by the initial transform.')} {now}"
    why = "" if reason == "requested" else f": {reason}"
    if mode not in kinds:
        return (
            _("The images were not aligned, as chosen.") if not why else _("The images were not aligned{}.").format(why)
        )
    done = _("The images were aligned {how} first{why}.").format(how=kinds[mode], why=why)
    return f"{done} {now}"


def segments(side: str, inside: float, covers: float | None, same_grid: bool) -> str:
    """Return a warning about the segments of an image; empty if they match its position.

    Args:
        side: "fixed" or "moving".
        inside: Part of the segments inside the image, 0 to 1.
        covers: Part of the image that they cover; None if unknown.
        same_grid: Whether they have the grid of the image.
    """
    image = {"fixed": _("the fixed image"), "moving": _("the moving image")}[side]
    if inside <= 0:
        text = _("The segments of {image} are outside of it: they belong to another image.")
        return text.format(image=image)
    if inside >= 0.9 and same_grid:
        return ""
    text = _("Only {part:.0f} % of the segments of {image} are inside of it")
    if not same_grid:
        text = _("The segments of {image} have another grid, {part:.0f} % of them are inside of it")
    found = text.format(image=image, part=100 * inside)
    part = "" if covers is None else _(", and they cover {:.1f} % of it").format(100 * covers)
    return f"{found}{part}. {_('Do they belong to it?')}"


def landmarks(side: str, outside: int, count: int) -> str:
    """Return a warning about the landmarks of an image; empty if all are inside of it."""
    image = {"fixed": _("the fixed image"), "moving": _("the moving image")}[side]
    text = _("{outside} of {count} landmarks are outside of {image}. Do they belong to it?")
    return text.format(outside=outside, count=count, image=image) if outside else ""


def guard(facts: Mapping[str, Any], modality: str = "", chosen_modalities: Sequence[str] = ()) -> list[str]:
    """Return warnings about a pair of images before it is registered; empty for none.

    Args:
        facts: As `inputs.facts_of` gives them.
        modality: Kind of image on the card of the task model; empty if unknown.
        chosen_modalities: DICOM modalities of the two images, where known, such as "MR" and "CT".
    """
    found = []
    overlap = facts["overlap"]
    if overlap < 0.05:
        found.append(_("The images do not overlap: align them first."))
    elif overlap < 0.5:
        found.append(_("Only {:.0f} % of the fixed image is covered by the moving one.").format(100 * overlap))
    if facts["angle_degrees"] > 20:
        text = _("The images are rotated against each other by {:.0f} degrees: align them first.")
        found.append(text.format(facts["angle_degrees"]))
    if facts["spacing_ratio"] > 3:
        text = _("The voxels of one image are {:.0f} times as large as those of the other: details may be lost.")
        found.append(text.format(facts["spacing_ratio"]))
    if facts["thickest_mm"] > 6:
        found.append(
            _("Slices are {:.0f} mm apart: motion across slices is hardly visible.").format(facts["thickest_mm"])
        )
    found += [text for text in (segments(*each) for each in facts.get("segments", ())) if text]
    found += [text for text in (landmarks(*each) for each in facts.get("landmarks", ())) if text]
    foreign = [kind for kind in chosen_modalities if kind and modality and not _same_kind(kind, modality)]
    if foreign:
        text = _("The task model is made for {model}, an image is {kind}.")
        found.append(text.format(model=modality, kind=foreign[0]))
    return found


def _same_kind(kind: str, modality: str) -> bool:
    """Return whether a DICOM modality (MR, CT) matches the modality of a card (T1-weighted MRI)."""
    names = {"MR": ("MR",), "CT": ("CT", "TOMOGRAPHY"), "PT": ("PET", "PT"), "US": ("US", "ULTRASOUND")}
    said = modality.upper().replace("MAGNETIC RESONANCE", "MR")
    return any(name in said for name in names.get(kind.upper(), (kind.upper(),)))


def sentence(text: str) -> str:
    """Return a text as a sentence: on one line, with a capital letter and a full stop."""
    text = " ".join(text.split())
    is_name = "." in text.split(":")[0].split(" ")[0]  # a file name keeps its spelling
    first = text[:1] if is_name else text[:1].upper()
    return first + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")

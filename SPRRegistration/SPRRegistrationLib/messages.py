"""All sentences that tell the user where a registration stands and how good it is.

Plain words for a radiologist, no abbreviation without its meaning. Pure functions: numbers in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from SPRRegistrationLib.i18n import tr as _

MARK = "◆"
"""Marks the suggested value on a slider and on the settings map."""


def no_pair() -> str:
    """Say that there is nothing to register yet."""
    return _("Choose a fixed and a moving image.")


def opening() -> str:
    """Say that the pair is being opened."""
    return _("The images are being prepared. The first time this takes some seconds.")


def ready() -> str:
    """Say that the sliders answer."""
    return _("Ready. Move a slider to see the deformation.")


def previewing() -> str:
    """Say that a preview is computed."""
    return _("The deformation is being computed.")


def committing() -> str:
    """Say that the exact result is computed."""
    return _("The exact result is being computed. You can go on working.")


def done(milliseconds: float) -> str:
    """Say that the exact result is there."""
    return _("Done in {time}: the exact result is shown and can be saved.").format(time=duration(milliseconds))


def cancelled(has_result: bool) -> str:
    """Say that it was cancelled, and whether an earlier result is still shown."""
    return _("Cancelled. The last deformation is still shown.") if has_result else _("Cancelled.")


def shown(exact: bool) -> str:
    """Say what is shown after a slider has moved."""
    if exact:
        return _("The exact deformation is shown. Apply measures it and adds its inverse.")
    return _("A preview is shown. Apply computes the exact result.")


def latency(milliseconds: float, exact: bool) -> str:
    """Say what an answer is and how long it took, such as "preview (64 ms)"."""
    return f"{_('exact result') if exact else _('preview')} ({duration(milliseconds)})"


def duration(milliseconds: float) -> str:
    """Return a time in words: "64 ms", "1.2 s", "2 min 5 s"."""
    seconds = milliseconds / 1e3
    if seconds < 0.9995:
        return f"{milliseconds:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    return _("{minutes} min {seconds} s").format(minutes=round(seconds) // 60, seconds=round(seconds) % 60)


def refused(error: Any) -> str:
    """Say what was wrong, of an `SPRError` or of an `Error` of the worker."""
    parts = [f"{error.what}: {error.got}" if error.got else str(error.what)]
    parts += [_("expected {what}").format(what=error.expected)] if error.expected else []
    text = "; ".join(parts)
    if error.remedy:
        return f"{sentence(text)} {sentence(error.remedy)}"
    return sentence(text)


def failed(error: Any) -> str:
    """Say why the worker could not answer, and what can be done.

    Args:
        error: An `Error` of the worker.
    """
    leads = {
        "memory": _("There is not enough memory."),
        "computation": _("The computation did not come to an end; try a stiffer setting."),
        "fault": _("The registration program has a fault. The log says more; please report it."),
        "protocol": _("The two parts of the program do not fit together. Install the extension again."),
        "worker": _("The answer was lost. Move the slider or press Apply again."),
    }
    lead = leads.get(error.code)
    return refused(error) if lead is None else f"{lead} ({refused(error)})"


def left_out(names: Sequence[str]) -> str:
    """Say which parts of an address were not taken."""
    return _("Not taken from the address, unknown or out of range: {}.").format(", ".join(names))


def needs_alignment(facts: dict[str, float]) -> bool:
    """Whether an alignment of the images would do away with something that `guard` says of these facts."""
    return facts["overlap"] < 0.5 or facts["angle_degrees"] > 20


def why_not_apply(parameters: Any) -> str:
    """Return why Apply is not possible, in one sentence; empty if it is."""
    fixed, moving = parameters.fixedVolume, parameters.movingVolume
    if fixed is None and moving is None:
        return _("Choose a fixed and a moving image.")
    if fixed is None:
        return _("Choose the fixed image.")
    if moving is None:
        return _("Choose the moving image.")
    if fixed is moving:
        return _("Fixed and moving image are the same; choose two different images.")
    if fixed.GetImageData() is None or moving.GetImageData() is None:
        return _("One of the images is empty.")
    return ""


def cursor(weight: float | None, displacement_mm: float | None) -> str:
    """Return what is at the mouse: relative stiffness (1 is stiff) and length of the displacement."""
    parts = [] if weight is None else [_("stiffness {:.2f}").format(weight)]
    parts += [] if displacement_mm is None else [_("moved by {:.1f} mm").format(displacement_mm)]
    return ", ".join(parts)


def settings_point(setting: Mapping[str, float], measure: str, value: float | None) -> str:
    """Return one point of the settings map in words."""
    at = ", ".join(f"{setting_names().get(name, name)} {number:.3g}" for name, number in setting.items())
    shown = _("not known") if value is None else f"{value:.3g}"
    return f"{at}: {measure} {shown}"


def choosing() -> str:
    """Say that a setting is being chosen for the pair."""
    return _("A setting is being chosen for this pair. You can go on working; Cancel gives it up.")


def suggested(prior: str, setting: Mapping[str, float], in_force: bool) -> str:
    """Say which setting suits the pair.

    Args:
        prior: What the prior is called; empty if it is the one that is chosen.
        setting: Its hyperparameters, by the worker's names.
        in_force: Whether the sliders stand there.
    """
    names = setting_names()
    values = ", ".join(f"{names.get(name, name)} {value:.3g}" for name, value in setting.items())
    if prior:
        text = _("Suggested for this pair is another kind of stiffness: {prior}, {values}.")
        return text.format(prior=prior, values=values)
    text = _("Suggested for this pair ({mark}): {values}.")
    if in_force:
        text = _("Suggested for this pair ({mark}), and in force: {values}.")
    return text.format(mark=MARK, values=values)


def nothing_suggested() -> str:
    """Say that no setting could be chosen."""
    return _(
        "No setting can be suggested: too little of these images can be compared. The recommended values are a start."
    )


def setting_names() -> dict[str, str]:
    """Return what the hyperparameters are called, by the worker's names."""
    return {
        "alpha": _("evenness (alpha)"),
        "lambda_max": _("largest stiffness (lambda)"),
        "sigma": _("spread (sigma)"),
        "lambda_mean": _("mean stiffness (lambda)"),
        "tv": _("cost of a jump (t)"),
        "lambda": _("stiffness (lambda)"),
    }


def checked(facts: Mapping[str, Any]) -> str:
    """Say what was checked of images of which `guard` says nothing; not that they fit, which nobody knows yet.

    Args:
        facts: As `inputs.facts_of` gives them.
    """
    text = _("Nothing unusual in position and size: the moving image covers {:.0f} % of the fixed one.")
    return text.format(100 * facts["overlap"])


def aligned(mode: str, reason: str, covered: float) -> str:
    """Say what was done before the deformation, and why.

    Args:
        mode: What the worker did: "none", "center", "rigid" or "affine".
        reason: Why, as the worker says it; "asked for" where the user chose it.
        covered: Part of the fixed image that lies inside the moving one after it.
    """
    kinds = {"center": _("by their centers"), "rigid": _("rigidly"), "affine": _("affinely")}
    why = "" if reason == "asked for" else f": {reason}"
    if mode not in kinds:
        return (
            _("The images were not aligned, as chosen.") if not why else _("The images were not aligned{}.").format(why)
        )
    done = _("The images were aligned {how} first{why}.").format(how=kinds[mode], why=why)
    now = _("The moving image covers {:.0f} % of the fixed one now.").format(100 * covered)
    return f"{done} {now}"


def segments(side: str, inside: float, covers: float | None, same_grid: bool) -> str:
    """Return what is doubtful about the segments of an image; nothing if they lie where it lies.

    Args:
        side: "fixed" or "moving".
        inside: Part of the segments that lies inside the image, 0 to 1.
        covers: Part of the image that they cover; None if unknown.
        same_grid: Whether they lie on its grid.
    """
    image = {"fixed": _("the fixed image"), "moving": _("the moving image")}[side]
    if inside <= 0:
        text = _("No part of the segments of {image} lies inside of it: they belong to another image.")
        return text.format(image=image)
    if inside >= 0.9 and same_grid:
        return ""
    text = _("Only {part:.0f} % of the segments of {image} lie inside of it")
    if not same_grid:
        text = _("The segments of {image} lie on another grid, {part:.0f} % of them inside of it")
    found = text.format(image=image, part=100 * inside)
    part = "" if covers is None else _(", and they cover {:.1f} % of it").format(100 * covers)
    return f"{found}{part}. {_('Do they belong to it?')}"


def landmarks(side: str, outside: int, count: int) -> str:
    """Return what is doubtful about the landmarks of an image; nothing if all lie inside of it."""
    image = {"fixed": _("the fixed image"), "moving": _("the moving image")}[side]
    text = _("{outside} of {count} landmarks lie outside of {image}. Do they belong to it?")
    return text.format(outside=outside, count=count, image=image) if outside else ""


def guard(facts: Mapping[str, Any], modality: str = "", chosen_modalities: Sequence[str] = ()) -> list[str]:
    """Return what about a pair of images should be looked at before it is registered; nothing if all is well.

    Args:
        facts: As `inputs.facts_of` gives them.
        modality: Kind of image that the task model was made for, of its card; empty if it says nothing.
        chosen_modalities: Kinds of the two images, where the files say so, such as "MR" and "CT".
    """
    found = []
    overlap = facts["overlap"]
    if overlap < 0.05:
        found.append(_("The images do not lie at the same place: align them first."))
    elif overlap < 0.5:
        found.append(_("Only {:.0f} % of the fixed image is covered by the moving one.").format(100 * overlap))
    if facts["angle_degrees"] > 20:
        text = _("The images are turned against each other by {:.0f} degrees: align them first.")
        found.append(text.format(facts["angle_degrees"]))
    if facts["spacing_ratio"] > 3:
        text = _("The voxels of one image are {:.0f} times as large as those of the other: details may be lost.")
        found.append(text.format(facts["spacing_ratio"]))
    if facts["thickest_mm"] > 6:
        found.append(
            _("Slices lie {:.0f} mm apart: motion across them cannot be seen well.").format(facts["thickest_mm"])
        )
    found += [text for text in (segments(*each) for each in facts.get("segments", ())) if text]
    found += [text for text in (landmarks(*each) for each in facts.get("landmarks", ())) if text]
    foreign = [kind for kind in chosen_modalities if kind and modality and not _same_kind(kind, modality)]
    if foreign:
        text = _("The task model was made for {model}, an image is {kind}.")
        found.append(text.format(model=modality, kind=foreign[0]))
    return found


def _same_kind(kind: str, modality: str) -> bool:
    """Whether a kind of image as files name it (MR, CT) belongs to what a card says in words (T1-weighted MRI)."""
    names = {"MR": ("MR",), "CT": ("CT", "TOMOGRAPHY"), "PT": ("PET", "PT"), "US": ("US", "ULTRASOUND")}
    said = modality.upper().replace("MAGNETIC RESONANCE", "MR")
    return any(name in said for name in names.get(kind.upper(), (kind.upper(),)))


def sentence(text: str) -> str:
    """Return a text as a sentence: on one line, with a capital letter and a full stop."""
    text = " ".join(text.split())
    is_name = "." in text.split(":")[0].split(" ")[0]  # of a file, which is written as it is
    first = text[:1] if is_name else text[:1].upper()
    return first + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")

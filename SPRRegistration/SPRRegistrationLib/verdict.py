"""Assessment of a deformation in words: a level, one line, warnings, and the measures.

Only a fully measured result without warnings can be good. Pure functions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from SPRRegistrationLib.i18n import tr as _
from SPRRegistrationLib.messages import sentence

FEW_FOLDS = 0.1
"""Highest percentage of folded voxels of a slight folding."""

LEAST_COVERED = 0.5
"""Part of the fixed image that has to be inside the moving one: the deformation outside is extrapolated."""

LEAST_SIMILARITY = 0.1
"""Mean squared local correlation below which images resemble each other little more than noise does."""

LONGEST_PART = 0.25
"""Part of the image's extent (the middle one of three) beyond which a displacement is hardly that of tissue."""

LEAST_VOLUME = 0.05
"""Factor of the change of volume below which it is hardly that of tissue."""

SIGNS = {"good": "✓", "preview": "…", "check": "⚠", "bad": "✕"}


@dataclass(frozen=True, kw_only=True)
class ResultFacts:
    """Facts about a result.

    Attributes:
        quality: Measures as `protocol.DeformationQuality` names them.
        exact: Whether it is an exact result; a preview otherwise.
        is_known: Whether a preview is close to an exact result, so that its map and its displacement are about right.
        metrics: "before" and "after" as in the report of `SPRCore.register`; empty until the result was measured.
        warnings: Warnings of the worker, in sentences.
        covered: Part of the fixed image inside the moving one, 0 to 1; None if unknown.
        aligned_mm: Largest displacement of the affine pre-alignment, which the displacement contains.
        extent_mm: The middle one of the three extents of the fixed image; None if unknown.
        similarity: Similarity that is measured on the coarse grid, by the worker's name.
    """

    quality: Mapping[str, float | None]
    exact: bool
    is_known: bool = True
    metrics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    covered: float | None = None
    aligned_mm: float = 0.0
    extent_mm: float | None = None
    similarity: str = "lncc"


@dataclass(frozen=True)
class Badge:
    """The verdict: a level ("good", "preview", "check" or "bad"), one line, warnings, and the measures."""

    level: str
    line: str
    doubts: tuple[str, ...]
    details: tuple[tuple[str, str], ...]


def badge(shown: ResultFacts) -> Badge:
    """Return the verdict on a deformation."""
    measured = bool(shown.metrics.get("after"))
    level, line = _folding(shown.quality.get("folding_percent"))
    doubts = tuple(doubts_of(shown)) if measured else shown.warnings
    if not measured and level == "good":
        level, line = "preview", _not_measured(shown)
    elif doubts and level == "good":
        level, line, doubts = "check", doubts[0], doubts[1:]
    return Badge(level, line, doubts, tuple(row for row in _details(shown, measured) if row))


def doubts_of(shown: ResultFacts) -> list[str]:
    """Return warnings about a measured result, except of folding; empty for none."""
    before, after = shown.metrics.get("before", {}), shown.metrics.get("after", {})
    found = [sentence(warning) for warning in shown.warnings]
    if shown.covered is not None and shown.covered < LEAST_COVERED:
        text = _("Only {:.0f} % of the fixed image is covered by the moving one.")
        found.append(text.format(100 * shown.covered))
    found += _about_similarity(before, after)
    found += _about_motion(shown)
    return found if shown.warnings else found + _declines(before, after)


def _declines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Warnings about measures that did not improve; the worker may have sent its own instead."""
    measure = measure_of(after)
    found, similarity = [], (before.get(measure), after.get(measure))
    if None not in similarity and similarity[1] <= similarity[0]:
        text = _("The images have not become more alike: {} {:.2f} → {:.2f}.")
        found.append(text.format(similarity_word(measure), *similarity))
    if _fell(before.get("dice_mean"), after.get("dice_mean"), 0.005):
        text = _("The overlap of the segments became worse: Dice {:.3f} → {:.3f}.")
        found.append(text.format(before["dice_mean"], after["dice_mean"]))
    errors = [(side.get("tre_mm") or {}).get("mean") for side in (after, before)]
    if _fell(*errors, 0.1):
        text = _("The landmarks are farther apart than before: {:.1f} → {:.1f} mm.")
        found.append(text.format(*reversed(errors)))
    return found


def measure_of(after: Mapping[str, Any]) -> str:
    """Return the key of the similarity that was maximized; the local correlation is measured in any case."""
    return next((name for name in ("mind", "mse") if name in after), "lncc")


def similarity_word(measure: str) -> str:
    """Return the name of a similarity, by the worker's name, within a sentence."""
    return {"lncc": _("local correlation"), "mind": _("MIND similarity"), "mse": _("mean-squares similarity")}[measure]


def _similarity_name(measure: str, pattern: str) -> str:
    word = similarity_word(measure)
    return pattern.format(word[0].upper() + word[1:])


def of_report(quality: str, report: str, extent_mm: float | None) -> ResultFacts | None:
    """Return the last exact result as saved with a scene; None for none.

    Args:
        quality: Its measures, as JSON; empty for none.
        report: Its report, as JSON, of `inputs.report_of`; earlier versions have fewer entries.
        extent_mm: As for `ResultFacts`.
    """
    if not quality:
        return None
    said = json.loads(report) if report else {}
    return ResultFacts(
        quality=json.loads(quality),
        exact=True,
        metrics=said.get("metrics", {}),
        similarity=said.get("similarity") or "lncc",
        warnings=tuple(said.get("warnings", ())),
        covered=said.get("covered"),
        aligned_mm=said.get("alignment", {}).get("longest_mm", 0.0),
        extent_mm=extent_mm,
    )


def of_result(result: Any, opened: Any, extent_mm: float | None) -> ResultFacts:
    """Return the facts about a `protocol.ReplyMessage` of the worker.

    Args:
        result: The result.
        opened: The answer of the worker when it opened the pair, `protocol.Opened`; None before.
        extent_mm: As for `ResultFacts`.
    """
    return ResultFacts(
        quality=vars(result.quality),
        exact=result.exact,
        is_known=result.weight_known,
        metrics=result.metrics,
        warnings=tuple(result.warnings),
        covered=None if opened is None else opened.covered,
        aligned_mm=0.0 if opened is None else opened.init_mm,
        similarity="lncc" if opened is None else opened.similarity,
        extent_mm=extent_mm,
    )


def _folding(percent: float | None) -> tuple[str, str]:
    if percent is None or not math.isfinite(percent):
        return "check", _("The folding is not known.")
    if percent == 0:
        return "good", _("No folding, the images have become more alike, and no warning.")
    if percent < FEW_FOLDS:
        shown = _("less than 0.001") if percent < 0.001 else f"{percent:.3f}"
        return "check", _("Slight folding: {} % of the voxels. Check the volume change map.").format(shown)
    return "bad", _("Folding: {:.2f} % of the voxels. Choose a stiffer setting.").format(percent)


def _not_measured(shown: ResultFacts) -> str:
    if shown.exact:
        return _("Exact, but not measured yet: Apply measures it.")
    if shown.is_known:
        return _("Preview: close to the exact result, which Apply computes and measures.")
    return _("Preview: a rough estimate, from which the exact result may differ.")


def _about_similarity(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    measure = measure_of(after)
    value = after.get(measure)
    if before.get(measure) is None or value is None:
        return [_("Whether the images have become more alike is not known.")]
    if measure == "lncc" and value < LEAST_SIMILARITY:  # the others have no value below which images are unrelated
        text = _("The images hardly resemble each other: local correlation {:.2f} of 1. Do they show the same anatomy?")
        return [text.format(value)]
    return []


def _about_motion(shown: ResultFacts) -> list[str]:
    longest, volume, found = shown.quality.get("max_displacement_mm"), shown.quality.get("min_jacobian"), []
    if longest is not None and shown.extent_mm and longest - shown.aligned_mm > LONGEST_PART * shown.extent_mm:
        text = _("The largest displacement, {:.0f} mm, is more than a quarter of the image: is that plausible?")
        found.append(text.format(longest))
    if volume is not None and 0 < volume < LEAST_VOLUME:
        text = _("Some tissue shrinks to {:.1f} % of its volume: check the volume change map.")
        found.append(text.format(100 * volume))
    return found


def _fell(before: float | None, after: float | None, by: float) -> bool:
    return before is not None and after is not None and after < before - by


def _details(shown: ResultFacts, measured: bool) -> list[tuple[str, str] | None]:
    quality = shown.quality
    volume, longest = quality.get("min_jacobian"), quality.get("max_displacement_mm")
    names = _("Smallest change of volume"), _("Largest displacement")
    about = "{}" if shown.exact else _("about {}")
    rows = [
        _row(names[0], volume, about.format(_("{:.2f} (1 is none, 0 or less is folded)"))),
        _row(names[1], longest, _("{:.1f} mm")),
    ]
    later = _("after the exact result")
    if not shown.exact:  # a coarse grid misses the largest one
        rows[1] = names[1], later
        rows[0] = rows[0] if shown.is_known else (names[0], later)
    if not measured:  # measured on a coarse grid, not comparable to the report
        return [
            *rows,
            _row(_similarity_name(shown.similarity, _("{} on the coarse grid")), quality.get("similarity"), "{:.2f}"),
        ]
    before, after = shown.metrics.get("before", {}), shown.metrics["after"]
    errors = [(side.get("tre_mm") or {}).get("mean") for side in (before, after)]
    measure = measure_of(after)
    return [
        *rows,
        _change(
            _similarity_name(measure, _("{} of the images")),
            before.get(measure),
            after.get(measure),
            _("{} (1 is alike)"),
            2,
        ),
        _change(
            _("Overlap of the segments (Dice)"),
            before.get("dice_mean"),
            after.get("dice_mean"),
            _("{} (1 is complete)"),
            3,
        ),
        _change(_("Distance of the landmarks"), *errors, _("{} mm on average"), 1),
        _uncertainty(after.get("uncertainty_mm") or {}),
    ]


def _uncertainty(summary: Mapping[str, Any]) -> tuple[str, str] | None:
    if summary.get("median") is None or summary.get("p95") is None:
        return None
    text = _("± {median:.1f} mm (median), 95 % below ± {p95:.1f} mm")
    return _("Uncertainty of the displacement"), text.format(median=summary["median"], p95=summary["p95"])


def _row(name: str, value: float | None, pattern: str) -> tuple[str, str] | None:
    return None if value is None or not math.isfinite(value) else (name, pattern.format(value))


def _change(name: str, before: float | None, after: float | None, pattern: str, digits: int) -> tuple[str, str] | None:
    """Return a measure before and after the deformation, or only after it."""
    if after is None or not math.isfinite(after):
        return None
    shown = f"{after:.{digits}f}" if before is None else f"{before:.{digits}f} → {after:.{digits}f}"
    return name, pattern.format(shown)

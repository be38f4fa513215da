"""Inputs of live sessions, panels and addresses."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
from SPRRegistrationLib import messages, verdict
from table import Row, refused

from SPRCore.geometry import Volume
from SPRCore.geometry.annotations import Annotations
from SPRCore.live import LiveSession
from SPRExplorer import links

SHAPE = (12, 11, 10)
LIVE, PAIR, RESULT, ADDRESS = "Live session", "Panels: pair", "Panels: verdict", "Explorer: address"
NEAR = {"overlap": 1.0, "angle_degrees": 0.0, "spacing_ratio": 1.0, "thickest_mm": 3.0}
QUALITY = {
    "folding_percent": 0.0,
    "min_jacobian": 0.4,
    "max_displacement_mm": 12.0,
    "similarity": 0.7,
    "weight_gap": 0.0,
}
ROSE = {"before": {"lncc": 0.3}, "after": {"lncc": 0.6}}


@cache
def image(seed: int) -> Volume:
    """A smooth image."""
    from scipy.ndimage import gaussian_filter

    array = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return Volume(array.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def check_update(words: tuple[str, ...], changes: dict, folder: Path) -> None:
    with LiveSession.open(image(0), image(1), device="cpu") as live:
        before = dict(live.setting)
        refused(lambda: live.update(**changes), *words)
        assert dict(live.setting) == before


def check_paint(folder: Path) -> None:
    with LiveSession.open(image(0), image(1), device="cpu") as live:
        painted = Volume(np.zeros(SHAPE, dtype=np.float32), image(0).affine)
        refused(lambda: live.set_stiffness(painted), "stiffness")


def check_marks(given: dict, words: tuple[str, ...], folder: Path) -> None:
    refused(lambda: Annotations(**given), *words)


def check_labels_elsewhere(folder: Path) -> None:
    far = np.diag([2.0, 2.0, 2.0, 1.0])
    far[0, 3] = 900.0
    labels = Volume(np.ones(SHAPE, dtype=np.uint8), far)
    with LiveSession.open(image(0), image(1), device="cpu") as live:
        annotations = live.pair.annotations
        refused(lambda: live.set_annotations(Annotations(fixed_labels=labels, moving_labels=labels)), "fixed labels")
        assert live.pair.annotations is annotations


def check_guard(facts: dict, said: str, folder: Path) -> None:
    (line,) = messages.guard(NEAR | facts)
    assert said in line


def check_fit(folder: Path) -> None:
    assert messages.guard(NEAR) == []
    assert "fit" not in messages.checked(NEAR)


def check_verdict(level: str, said: str, facts: dict, folder: Path) -> None:
    facts = {"exact": True, "covered": 0.98, "extent_mm": 280.0, "metrics": ROSE} | facts
    found = verdict.badge(verdict.ResultFacts(quality=QUALITY | facts.pop("quality", {}), **facts))
    assert (found.level, said in found.line) == (level, True), found


def check_address(text: str, taken: set[str], told: list[str], folder: Path) -> None:
    assert set(links.fields_in(text)) == taken
    assert links.unknown_in(text) == told


POINTS = np.zeros((3, 3))
NAN = float("nan")
UPDATES = [
    ("an unknown hyperparameter", {"alpah": 0.1}, ("alpah", "alpha")),
    ("a hyperparameter that is not a number", {"alpha": "much"}, ("alpha", "much")),
    ("a hyperparameter that is NaN", {"alpha": NAN}, ("alpha", "nan")),
    ("a negative hyperparameter", {"alpha": -1.0}, ("alpha", "-1")),
]
FACTS = [
    ("images at different places", {"overlap": 0.01}, "do not overlap"),
    ("an image that covers a third of the other one", {"overlap": 0.3}, "Only 30 %"),
    ("images turned by 45 degrees", {"angle_degrees": 45.0}, "by 45 degrees"),
    ("segments of another image", {"segments": [("fixed", 0.0, 0.0, False)]}, "belong to another image"),
    ("segments on another grid", {"segments": [("moving", 0.34, 0.02, False)]}, "another grid, 34 %"),
    ("landmarks outside of their image", {"landmarks": [("moving", 3, 7)]}, "3 of 7 landmarks"),
]
RESULTS = [
    (
        "a preview far from the exact result",
        "preview",
        "rough estimate",
        {"exact": False, "is_known": False, "metrics": {}},
    ),
    ("an exact result that was not measured", "preview", "not measured", {"metrics": {}}),
    ("a result with folding", "bad", "Folding: 2.00 %", {"quality": {"folding_percent": 2.0}}),
    ("a result without folding of images that hardly overlap", "check", "Only 8 %", {"covered": 0.08}),
    (
        "a result without folding of images of different things",
        "check",
        "hardly resemble",
        {"metrics": {"before": {"lncc": 0.03}, "after": {"lncc": 0.04}}},
    ),
    ("a displacement of 112 mm in a chest", "check", "112 mm", {"quality": {"max_displacement_mm": 112.0}}),
    ("tissue that shrinks to a hundredth", "check", "1.0 % of its volume", {"quality": {"min_jacobian": 0.01}}),
    ("a result with a warning of the worker", "check", "The overlap fell.", {"warnings": ("the overlap fell",)}),
]
ADDRESSES = [
    ("a misspelled name", "#alpha=0.02&alpah=0.3", {"alpha"}, ["alpah"]),
    ("a field that an address may not set", "fixedVolume=/etc/passwd", set(), ["fixedVolume"]),
    ("bytes that are not an address", "%%%", set(), ["%%%"]),
]

ROWS = [
    *(
        Row(LIVE, what, "refused, and the setting is unchanged", partial(check_update, said, change))
        for what, change, said in UPDATES
    ),
    Row(LIVE, "a painted stiffness of 0", "refused", check_paint),
    Row(
        LIVE,
        "landmarks of the fixed image only",
        "refused",
        partial(check_marks, {"fixed_points": POINTS}, ("landmarks", "one image only")),
    ),
    Row(
        LIVE,
        "other labels of an open pair, all outside of the fixed image",
        "refused, and the previous labels are kept",
        check_labels_elsewhere,
    ),
    *(
        Row(PAIR, what, f"reported before the registration: “… {said} …”", partial(check_guard, f, said))
        for what, f, said in FACTS
    ),
    Row(
        PAIR, "images without anything unusual", "the checks are listed, without a claim that the images fit", check_fit
    ),
    *(
        Row(RESULT, what, f"never green: level “{level}”, “… {said} …”", partial(check_verdict, level, said, facts))
        for what, level, said, facts in RESULTS
    ),
    Row(
        RESULT,
        "a result without folding, warning or loss, of images that overlap and have become more alike",
        "green",
        partial(check_verdict, "good", "No folding", {}),
    ),
    *(
        Row(ADDRESS, what, "ignored and named, the rest is used", partial(check_address, text, taken, told))
        for what, text, taken, told in ADDRESSES
    ),
]

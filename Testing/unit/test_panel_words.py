"""The sentences of the panel: plain words, right numbers, nothing that only a programmer understands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from SPRCore.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "SPRRegistration"))
from SPRRegistrationLib import words

GOOD = {"folding_percent": 0.0, "min_jacobian": 0.42, "max_displacement_mm": 12.34, "lncc": 0.715, "weight_gap": 0.0}
NEAR = {"overlap": 1.0, "angle_degrees": 0.0, "spacing_ratio": 1.0, "thickest_mm": 3.0}


@pytest.mark.parametrize(
    ("folding", "level", "part"),
    [
        (0.0, "good", "No folding"),
        (0.02, "check", "Slight folding: 0.020 %"),
        (1.5, "bad", "Folding: 1.50 %"),
        (None, "check", "not known"),
        (float("nan"), "check", "not known"),
    ],
)
def test_the_badge_says_how_much_is_folded(folding, level, part):
    badge = words.badge(GOOD | {"folding_percent": folding})
    assert badge.level == level
    assert part in badge.line


def test_the_badge_lists_what_was_measured_and_nothing_else():
    assert words.badge(GOOD).details == (
        "Smallest change of volume: 0.42 (1 is none, 0 or less is folded)",
        "Largest displacement: 12.3 mm",
        "Similarity of the images: 0.71 (0 to 1, higher is better)",
    )
    details = words.badge(GOOD | {"lncc": None}, {"dice_mean": 0.876, "tre_mm": {"mean": 1.26}}).details
    assert details[-2:] == (
        "Overlap of the segments (Dice): 0.88 (1 is complete)",
        "Distance of the landmarks: 1.3 mm on average",
    )
    assert len(details) == 4


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (64.4, "64 ms"),
        (999.0, "999 ms"),
        (999.9, "1.0 s"),
        (1234.0, "1.2 s"),
        (99_960.0, "1 min 40 s"),
        (125e3, "2 min 5 s"),
    ],
)
def test_times_in_words(milliseconds, text):
    assert words.duration(milliseconds) == text


def test_latency_says_what_it_is():
    assert words.latency(64.0, exact=True) == "64 ms, exact"
    assert words.latency(64.0, exact=False) == "64 ms, preview"


@pytest.mark.parametrize(
    ("fixed", "moving", "part"),
    [
        (None, None, "a fixed and a moving"),
        (None, "b", "the fixed image"),
        ("a", None, "the moving image"),
        ("a", "a", "the same"),
        ("a", "empty", "empty"),
        ("a", "b", ""),
    ],
)
def test_why_apply_is_not_possible(fixed, moving, part):
    images = {name: SimpleNamespace(GetImageData=lambda name=name: None if name == "empty" else 1) for name in "ab"}
    images |= {None: None, "empty": SimpleNamespace(GetImageData=lambda: None)}
    said = words.why_not_apply(SimpleNamespace(fixedVolume=images[fixed], movingVolume=images[moving]))
    assert part in said
    assert bool(said) == bool(part)


def test_nothing_is_applied_twice():
    images = [SimpleNamespace(GetImageData=lambda: 1) for _ in range(2)]
    parameters = SimpleNamespace(fixedVolume=images[0], movingVolume=images[1])
    assert words.why_not_apply(parameters, is_busy=True)


def test_a_pair_that_fits_is_not_commented_on():
    assert words.guard(NEAR, "T1-weighted MRI", ["MR", "MR"]) == []


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"overlap": 0.01}, "do not lie at the same place"),
        ({"overlap": 0.3}, "Only 30 %"),
        ({"angle_degrees": 45.0}, "by 45 degrees"),
        ({"spacing_ratio": 5.0}, "5 times"),
        ({"thickest_mm": 10.0}, "10 mm apart"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said(facts, part):
    (said,) = words.guard(NEAR | facts)
    assert words.needs_alignment(NEAR | facts) == bool({"overlap", "angle_degrees"} & facts.keys())
    assert part in said


@pytest.mark.parametrize(
    ("kinds", "modality", "is_said"),
    [
        (["CT", "CT"], "T1-weighted MRI", True),
        (["CT", ""], "chest CT", False),
        (["MR"], "", False),
        (["PT"], "PET", False),
    ],
)
def test_another_kind_of_image_than_the_model_knows_is_said(kinds, modality, is_said):
    assert bool(words.guard(NEAR, modality, kinds)) == is_said


def test_refusals_keep_the_remedy():
    error = InputError("CT", got="a single slice", expected="a volume", remedy="load the whole series")
    assert words.refused(error) == "CT: a single slice; expected a volume. Load the whole series."


@pytest.mark.parametrize("code", ["input", "protocol", "memory", "computation", "fault", "worker"])
def test_every_failure_has_words(code):
    error = SimpleNamespace(code=code, what="update", got="x" * 5, expected="", remedy="")
    said = words.failed(error)
    assert said.endswith((".", ")"))
    assert "update: xxxxx" in said.replace("Update", "update")


def test_what_is_under_the_mouse():
    assert words.cursor(0.25, 3.14) == "stiffness 0.25, moved by 3.1 mm"
    assert words.cursor(None, None) == ""


def test_a_point_of_the_settings_map():
    said = words.settings_point({"alpha": 0.1, "lambda_max": 2.0}, "similarity", 0.5)
    assert said == "evenness (alpha) 0.1, largest stiffness (lambda) 2: similarity 0.5"
    assert "not known" in words.settings_point({"lambda": 1.0}, "overlap", None)


def test_no_sentence_needs_a_programmer():
    foreign = ("None", "nan", "null", "Exception", "JSON", "protocol", "worker", "tensor", "thread")
    said = [words.no_pair(), words.opening(), words.ready(), words.previewing(), words.committing()]
    said += [words.done(1200.0), words.cancelled(True), words.cancelled(False), *words.badge(GOOD).details]
    for text in said:
        assert not any(word in text for word in foreign), text
        assert text[0].isupper()

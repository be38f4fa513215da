"""The sentences of the panel: plain words, right numbers, nothing that only a programmer understands."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from SPRRegistrationLib import messages, verdict

from SPRCore.errors import InputError

GOOD = {
    "folding_percent": 0.0,
    "min_jacobian": 0.42,
    "max_displacement_mm": 12.34,
    "similarity": 0.715,
    "weight_gap": 0.0,
}
NEAR = {"overlap": 1.0, "angle_degrees": 0.0, "spacing_ratio": 1.0, "thickest_mm": 3.0}


ROSE = {"before": {"lncc": 0.31}, "after": {"lncc": 0.57}}


def judged(quality=None, metrics=ROSE, **facts):
    facts = {"covered": 0.98, "extent_mm": 280.0} | facts
    shown = verdict.ResultFacts(
        quality=GOOD | (quality or {}), exact=facts.pop("exact", True), metrics=metrics, **facts
    )
    return verdict.badge(shown)


@pytest.mark.parametrize(
    ("folding", "level", "part"),
    [
        (0.0, "good", "No folding"),
        (0.02, "check", "Slight folding: 0.020 %"),
        (0.0001, "check", "Slight folding: less than 0.001 %"),
        (1.5, "bad", "Folding: 1.50 %"),
        (None, "check", "not known"),
        (float("nan"), "check", "not known"),
    ],
)
def test_the_badge_says_how_much_is_folded(folding, level, part):
    badge = judged({"folding_percent": folding})
    assert badge.level == level
    assert part in badge.line


NONSENSE = {"before": {"lncc": 0.03}, "after": {"lncc": 0.04}}
"""An abdomen registered to the phantom of a chest, both without folding."""


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"warnings": ("The images hardly overlap.",)}, "hardly overlap"),
        ({"covered": 0.08}, "Only 8 % of the fixed image"),
        ({"metrics": NONSENSE}, "hardly resemble each other: local correlation 0.04"),
        ({"metrics": {"before": {"lncc": 0.57}, "after": {"lncc": 0.31}}}, "not become more alike"),
        ({"metrics": {"after": {"lncc": 0.31}}}, "not known"),
        ({"quality": {"max_displacement_mm": 112.0}}, "112 mm"),
        ({"quality": {"min_jacobian": 0.004}}, "0.4 % of its volume"),
        (
            {"metrics": {"before": {"lncc": 0.3, "dice_mean": 0.905}, "after": {"lncc": 0.5, "dice_mean": 0.88}}},
            "Dice 0.905 → 0.880",
        ),
        (
            {
                "metrics": {
                    "before": {"lncc": 0.3, "tre_mm": {"mean": 2.0}},
                    "after": {"lncc": 0.5, "tre_mm": {"mean": 9}},
                }
            },
            "2.0 → 9.0 mm",
        ),
    ],
)
def test_nothing_doubtful_is_green(facts, part):
    badge = judged(**facts)
    assert badge.level == "check"
    assert part in badge.line
    assert badge.doubts == ()


def test_a_long_alignment_is_no_long_displacement():
    assert judged({"max_displacement_mm": 160.0}, aligned_mm=150.0).level == "good"


def test_every_doubt_has_a_line_of_its_own():
    badge = judged({"max_displacement_mm": 112.0}, NONSENSE, covered=0.08, warnings=("One.", "Two."))
    assert badge.level == "check"
    assert badge.line == "One."
    assert [doubt[:8] for doubt in badge.doubts] == ["Two.", "Only 8 %", "The imag", "The larg"]
    folded = judged({"folding_percent": 2.0}, warnings=("One.",))
    assert (folded.level, folded.doubts) == ("bad", ("One.",))


def test_the_badge_lists_what_was_measured_before_and_after():
    assert judged().details == (
        ("Smallest change of volume", "0.42 (1 is none, 0 or less is folded)"),
        ("Largest displacement", "12.3 mm"),
        ("Local correlation of the images", "0.31 → 0.57 (1 is alike)"),
    )
    before, after = {"dice_mean": 0.905, "tre_mm": {"mean": 7.42}}, {"dice_mean": 0.94, "tre_mm": {"mean": 1.26}}
    details = judged(metrics={"before": before, "after": after | {"lncc": None}}).details
    assert details[2:] == (
        ("Overlap of the segments (Dice)", "0.905 → 0.940 (1 is complete)"),
        ("Distance of the landmarks", "7.4 → 1.3 mm on average"),
    )


def test_a_preview_claims_no_more_than_it_knows():
    first = judged(metrics={}, exact=False, is_known=False)
    assert (first.level, "rough estimate" in first.line) == ("preview", True)
    assert dict(first.details) == {
        "Smallest change of volume": "after the exact result",
        "Largest displacement": "after the exact result",
        "Local correlation on the coarse grid": "0.71",
    }
    near = judged(metrics={}, exact=False)
    assert (near.level, dict(near.details)["Largest displacement"]) == ("preview", "after the exact result")
    exact = judged(metrics={})
    assert (exact.level, dict(exact.details)["Largest displacement"]) == ("preview", "12.3 mm")
    assert "not measured" in exact.line
    assert "Local correlation of the images" not in dict(exact.details), "that name is for the number of the report"


def test_a_saved_result_is_judged_like_a_new_one():
    said = {"metrics": ROSE, "warnings": ["The images hardly overlap."], "covered": 0.9}
    shown = verdict.of_report(json.dumps(GOOD), json.dumps(said), 280.0)
    assert verdict.badge(shown).line == "The images hardly overlap."
    assert verdict.of_report("", "", None) is None
    assert verdict.badge(verdict.of_report(json.dumps(GOOD), "", None)).level == "preview"


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
    assert messages.duration(milliseconds) == text


def test_latency_says_what_it_is():
    assert messages.latency(64.0, exact=True) == "exact result (64 ms)"
    assert messages.latency(64.0, exact=False) == "preview (64 ms)"


@pytest.mark.parametrize(
    ("fixed", "moving", "part"),
    [
        (None, None, "the two images"),
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
    channels = {"fixedChannel": None, "movingChannel": None}
    chosen = SimpleNamespace(fixedVolume=images[fixed], movingVolume=images[moving], **channels)
    said = messages.why_not_apply(chosen)
    assert part in said
    assert bool(said) == bool(part)


@pytest.mark.parametrize(
    ("channels", "part"), [("", ""), ("fixed", "of the moving image"), ("moving", "of the fixed image"), ("both", "")]
)
def test_second_channels_are_those_of_both_images_or_none(channels, part):
    there = SimpleNamespace(GetImageData=lambda: 1)
    parts = {f"{side}Channel": there if channels in (side, "both") else None for side in ("fixed", "moving")}
    other = SimpleNamespace(GetImageData=lambda: 1)
    said = messages.why_not_apply(SimpleNamespace(fixedVolume=there, movingVolume=other, **parts))
    assert part in said
    assert bool(said) == bool(part)


def test_a_pair_that_fits_is_not_commented_on():
    assert messages.guard(NEAR, "T1-weighted MRI", ["MR", "MR"]) == []


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"overlap": 0.01}, "do not overlap"),
        ({"overlap": 0.3}, "Only 30 %"),
        ({"angle_degrees": 45.0}, "by 45 degrees"),
        ({"spacing_ratio": 5.0}, "5 times"),
        ({"thickest_mm": 10.0}, "10 mm apart"),
    ],
)
def test_what_is_wrong_with_a_pair_is_said(facts, part):
    (said,) = messages.guard(NEAR | facts)
    assert messages.needs_alignment(NEAR | facts) == bool({"overlap", "angle_degrees"} & facts.keys())
    assert part in said


def test_what_was_checked_is_said_and_never_that_images_fit():
    said = messages.checked(NEAR)
    assert "covers 100 %" in said
    assert "fit" not in said.lower()


def test_what_was_aligned_is_said_with_its_reason():
    said = messages.aligned("affine", "different grids or positions (overlap 82 %, centers 39.0 mm apart)", 0.97)
    assert "aligned affinely first" in said
    assert "overlap 82 %, centers 39.0 mm apart" in said
    assert "97 %" in said
    assert messages.aligned("none", "requested", 1.0) == "The images were not aligned, as chosen."
    assert "centers of mass 0.4 mm apart" in messages.aligned("none", "same grid, centers of mass 0.4 mm apart", 1.0)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (("fixed", 1.0, 0.2, True), ""),
        (("fixed", 0.0, 0.0, False), "belong to another image"),
        (("moving", 0.34, 0.021, False), "another grid, 34 % of them are inside of it, and they cover 2.1 % of it"),
        (("fixed", 1.0, 0.2, False), "another grid, 100 %"),
        (("fixed", 0.5, None, True), "Only 50 %"),
    ],
)
def test_segments_of_another_image_are_told(place, part):
    said = messages.segments(*place)
    assert part in said
    assert bool(said) == bool(part)
    assert messages.guard(NEAR | {"segments": [place]}) == ([said] if said else [])


def test_landmarks_outside_of_their_image_are_told():
    assert messages.guard(NEAR | {"landmarks": [("moving", 0, 7)]}) == []
    (said,) = messages.guard(NEAR | {"landmarks": [("moving", 3, 7)]})
    assert said.startswith("3 of 7 landmarks are outside of the moving image.")


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
    assert bool(messages.guard(NEAR, modality, kinds)) == is_said


def test_refusals_keep_the_remedy():
    error = InputError("CT", got="a single slice", expected="a volume", remedy="load the whole series")
    assert messages.refused(error) == "CT: a single slice; expected a volume. Load the whole series."


def test_names_of_files_are_written_as_they_are():
    assert messages.refused(InputError("fourd.nii.gz", got="4 axes", expected="3")).startswith("fourd.nii.gz: 4 axes")
    assert messages.refused(InputError("landmarks", got="2", expected="3")).startswith("Landmarks: 2")


@pytest.mark.parametrize("code", ["input", "protocol", "memory", "computation", "fault", "worker"])
def test_every_failure_has_words(code):
    error = SimpleNamespace(code=code, what="update", got="x" * 5, expected="", remedy="")
    said = messages.failed(error)
    assert said.endswith((".", ")"))
    assert "update: xxxxx" in said.replace("Update", "update")


def test_what_is_under_the_mouse():
    assert messages.cursor(0.25, 3.14) == "stiffness 0.25, moved by 3.1 mm"
    assert messages.cursor(None, None) == ""


def test_a_point_of_the_settings_map():
    said = messages.settings_point({"alpha": 0.1, "lambda_max": 2.0}, "similarity", 0.5)
    assert said == "evenness (alpha) 0.1, largest stiffness (lambda) 2: similarity 0.5"
    assert "not known" in messages.settings_point({"lambda": 1.0}, "overlap", None)


def test_no_sentence_needs_a_programmer():
    foreign = ("None", "nan", "null", "Exception", "JSON", "protocol", "worker", "tensor", "thread")
    said = [messages.no_pair(), messages.opening(), messages.ready(), messages.previewing(), messages.committing()]
    said += [messages.done(1200.0), messages.cancelled(True), messages.cancelled(False), judged().line]
    for text in said:
        assert not any(word in text for word in foreign), text
        assert text[0].isupper()

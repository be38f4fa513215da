"""All cases of a recipe, for every data layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from SPRCore.errors import InputError
from SPRCore.io import on_disk
from SPRCore.training.data.acdc import find_acdc
from SPRCore.training.data.autopet import find_autopet
from SPRCore.training.data.cases import Case, Pair
from SPRCore.training.data.ixi import find_ixi, find_ixi_pickles
from SPRCore.training.data.learn2reg import find_learn2reg
from SPRCore.training.data.listing import find_bids, find_listed
from SPRCore.training.data.mnms import find_mnms
from SPRCore.training.data.problems import Problem
from SPRCore.training.data_config import DataConfig, OtherData

ATLAS = "atlas"
"""Name of an atlas given by its path."""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Cases of a recipe.

    Attributes:
        cases: The images, grouped by subject.
        problems: Problems so far.
        pairs: Pairs prescribed by the data set, by set.
        atlas: Name of the case that is the atlas, or None.
    """

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = ()
    pairs: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)
    atlas: str | None = None

    def subjects(self) -> dict[str, list[Case]]:
        """Return the cases of each subject, without the atlas."""
        found: dict[str, list[Case]] = {}
        for case in self.cases:
            if case.name != self.atlas:
                found.setdefault(case.subject, []).append(case)
        return found


def find_cohort(data: DataConfig, *, second_channel: bool = False) -> Cohort:
    """Find the cases of a recipe, with their second channels if wanted; missing files are problems of the cohort.

    Raises:
        InputError: A folder is missing, empty or of another layout.
    """
    cases, problems, pairs = _find(data, data, second_channel)
    cases = [replace(case, dataset=data.dataset) for case in cases]
    if data.also is not None:
        more, others, _ = _find(data.also, data, second_channel)
        more = [replace(case, dataset=data.also.dataset) for case in more]
        cases, problems = [*cases, *more], [*problems, *others]
    if not cases and not problems:
        remedy = "check data.folder, see Training/README.md"
        raise InputError(str(data.folder), got="no image", expected=f"the layout of {data.dataset}", remedy=remedy)
    cases, atlas = _with_atlas(cases, data, second_channel)
    return Cohort(cases=tuple(cases), problems=(*problems, *check_cases(cases)), pairs=pairs, atlas=atlas)


def _find(
    part: DataConfig | OtherData, data: DataConfig, second_channel: bool
) -> tuple[list[Case], list[Problem], dict]:
    folder, use = part.folder, data.use_labels
    if part.dataset == "csv":
        return (*find_listed(folder, part.listing, use_labels=use, second_channel=second_channel), {})
    if folder is None or not folder.is_dir():
        what = "data.folder" if part is data else "data.also.folder"
        got = "nothing" if folder is None else f"{folder}, which is no folder"
        remedy = f"--set {what}=FOLDER, see Training/README.md"
        raise InputError(what, got=got, expected=f"the folder of {part.dataset}", remedy=remedy)
    if part.dataset == "learn2reg":
        return find_learn2reg(folder, part.listing, use_labels=use)
    if part.dataset == "mnms":
        return (*find_mnms(folder, part.listing, use_labels=use), {})
    if part.dataset == "bids":
        return (*find_bids(folder, data.image_suffix, use_labels=use), {})
    if part.dataset == "autopet":
        return (*find_autopet(folder, use_labels=use, second_channel=second_channel), {})
    simple = {"acdc": find_acdc, "ixi": find_ixi, "ixi_pkl": find_ixi_pickles}
    return (*simple[part.dataset](folder, use_labels=use), {})


def _with_atlas(cases: list[Case], data: DataConfig, second_channel: bool) -> tuple[list[Case], str | None]:
    """Add an atlas given by its path, or find it among the subjects and remove its other images."""
    if data.task != "atlas-to-subject":
        return cases, None
    if data.atlas_image is not None:
        if data.use_labels and data.atlas_labels is None:
            raise InputError("data.atlas_labels", got="nothing", expected="the labels of the atlas")
        if second_channel and data.atlas_channel is None:
            raise InputError("data.atlas_channel", got="nothing", expected="the second channel of the atlas")
        files = {"image": data.atlas_image, "labels": data.atlas_labels, "channel": data.atlas_channel}
        return [Case(subject=ATLAS, **files), *cases], ATLAS
    found = next((case for case in cases if data.atlas in (case.subject, case.name)), None)
    if found is None:
        remedy = "--set data.atlas=NAME, or data.atlas_image=FILE and data.atlas_labels=FILE"
        raise InputError("data.atlas", got=repr(data.atlas), expected="the name of a subject", remedy=remedy)
    others = [case for case in cases if case.subject != found.subject]
    return [replace(found, fixed_set=""), *others], found.name


def check_cases(cases: list[Case]) -> list[Problem]:
    """Find duplicate names of cases and missing files."""
    problems = [
        Problem(name, f"got {count} images of this name; expected one")
        for name, count in Counter(case.name for case in cases).items()
        if count > 1
    ]
    for case in cases:
        files = {"image": case.image, "labels": case.labels, "landmarks": case.points, "second channel": case.channel}
        for what, path in files.items():
            if path is not None and not on_disk(path).exists():
                problems.append(Problem(str(path), f"got no such file; expected the {what} of {case.name}"))
    return problems

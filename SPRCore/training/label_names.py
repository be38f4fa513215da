"""Names, sets and groups of the labels of data layouts, for recipes and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from SPRCore.config import check_name
from SPRCore.errors import InputError

HEART = {1: "RV", 2: "MYO", 3: "LV"}
"""Labels of ACDC; those of M&Ms are exchanged to match."""

_SIDED = {
    "Cerebral-White-Matter": (2, 41),
    "Cerebral-Cortex": (3, 42),
    "Lateral-Ventricle": (4, 43),
    "Inf-Lat-Vent": (5, 44),
    "Cerebellum-White-Matter": (7, 46),
    "Cerebellum-Cortex": (8, 47),
    "Thalamus": (10, 49),
    "Caudate": (11, 50),
    "Putamen": (12, 51),
    "Pallidum": (13, 52),
    "Hippocampus": (17, 53),
    "Amygdala": (18, 54),
    "Accumbens-area": (26, 58),
    "VentralDC": (28, 60),
    "vessel": (30, 62),
    "choroid-plexus": (31, 63),
}
FREESURFER = {
    **{number: f"Left-{name}" for name, (number, _) in _SIDED.items()},
    **{number: f"Right-{name}" for name, (_, number) in _SIDED.items()},
    **{14: "3rd-Ventricle", 15: "4th-Ventricle", 16: "Brain-Stem", 24: "CSF", 72: "5th-Ventricle"},
    **{77: "WM-hypointensities", 80: "non-WM-hypointensities", 85: "Optic-Chiasm"},
}
"""Labels of FreeSurfer's aseg, by the names of its color table."""

_BEFORE_VERTEBRAE = (
    *("spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "aorta", "inferior_vena_cava"),
    *("portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left"),
    *("lung_upper_lobe_left", "lung_lower_lobe_left"),
    *("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
)
_VERTEBRAE = tuple(
    f"vertebrae_{part}{n}" for part, count in (("L", 5), ("T", 12), ("C", 7)) for n in range(count, 0, -1)
)
_AFTER_VERTEBRAE = (
    *("esophagus", "trachea", "heart_myocardium", "heart_atrium_left", "heart_ventricle_left"),
    *("heart_atrium_right", "heart_ventricle_right", "pulmonary_artery", "brain"),
    *("iliac_artery_left", "iliac_artery_right", "iliac_vena_left", "iliac_vena_right"),
    *("small_bowel", "duodenum", "colon"),
)
_RIBS = tuple(f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13))
_SIDES = ("left", "right")
_AFTER_RIBS = (
    *(f"{bone}_{side}" for bone in ("humerus", "scapula", "clavicula", "femur", "hip") for side in _SIDES),
    *("sacrum", "face"),
    *(f"gluteus_{part}_{side}" for part in ("maximus", "medius", "minimus") for side in _SIDES),
    *(f"{muscle}_{side}" for muscle in ("autochthon", "iliopsoas") for side in _SIDES),
    "urinary_bladder",
)
TOTALSEGMENTATOR = dict(enumerate((*_BEFORE_VERTEBRAE, *_VERTEBRAE, *_AFTER_VERTEBRAE, *_RIBS, *_AFTER_RIBS), start=1))
"""The 104 classes of TotalSegmentator 1, by its own names."""

GROUPINGS: dict[str, dict[str, tuple[int, ...]]] = {
    "totalsegmentator": {
        "spleen": (1,),
        "kidney right": (2,),
        "kidney left": (3,),
        "gallbladder": (4,),
        "liver": (5,),
        "stomach": (6,),
        "aorta": (7,),
        "inferior vena cava": (8,),
        "portal and splenic vein": (9,),
        "pancreas": (10,),
        "adrenal gland right": (11,),
        "adrenal gland left": (12,),
        "lung left": (13, 14),
        "lung right": (15, 16, 17),
        "vertebrae": tuple(range(18, 42)),
        "esophagus": (42,),
        "trachea": (43,),
        "heart myocardium": (44,),
        "heart atrium left": (45,),
        "heart ventricle left": (46,),
        "heart atrium right": (47,),
        "heart ventricle right": (48,),
        "pulmonary artery": (49,),
        "small bowel": (55,),
        "duodenum": (56,),
        "colon": (57,),
        "ribs": tuple(range(58, 82)),
        "shoulder and upper arm left": (82, 84, 86),
        "shoulder and upper arm right": (83, 85, 87),
        "hip and femur left": (88, 90),
        "hip and femur right": (89, 91),
        "sacrum": (92,),
        "gluteal muscles left": (94, 96, 98),
        "gluteal muscles right": (95, 97, 99),
        "autochthon left": (100,),
        "autochthon right": (101,),
        "iliopsoas left": (102,),
        "iliopsoas right": (103,),
        "urinary bladder": (104,),
    }
}
"""Groups of labels by grouping. "totalsegmentator": the 104 classes of version 1 in 39 groups, as in the code of the
paper's author; the paper itself evaluates 103 classes. Brain (50), iliac vessels (51 to 54) and face (93) are in no
group: they are cropped or too thin at 3 mm. Lobes, vertebrae, ribs, the bones of a limb and the gluteal muscles of a
side are merged, since segmentations confuse neighbors among them."""

_NAMES = {
    **{layout: HEART for layout in ("acdc", "mnms")},
    **{layout: FREESURFER for layout in ("ixi", "ixi_pkl")},
    "autopet": TOTALSEGMENTATOR,
}

THIRTY_STRUCTURES = (
    *(2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 28, 31),
    *(41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 60, 63),
)
"""The labels of FreeSurfer that the paper evaluates on IXI."""

_SETS = {
    **{layout: {"30 structures": THIRTY_STRUCTURES} for layout in ("ixi", "ixi_pkl")},
    "autopet": {"103 classes": tuple(label for label, name in TOTALSEGMENTATOR.items() if name != "face")},
}


def label_names(layout: str, grouping: str | None = None) -> dict[int, str]:
    """Return the names of the labels of a data layout, of the groups if they are grouped; empty if unknown."""
    if grouping is not None:
        return dict(enumerate(GROUPINGS[grouping], start=1))
    return dict(_NAMES.get(layout, {}))


def label_sets(layout: str, grouping: str | None = None) -> Mapping[str, tuple[int, ...]]:
    """Return the named sets of labels of a data layout, such as the "30 structures" of IXI."""
    return _SETS.get(layout, {}) if grouping is None else {}


def label_numbers(
    wanted: Sequence[int | str], names: Mapping[int, str], sets: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """Return labels given by number, by name or by the name of a set, each once.

    Raises:
        InputError: A name is unknown; the nearest one is suggested.
    """
    by_name = {name: (label,) for label, name in names.items()} | dict(sets)
    numbers: dict[int, None] = {}
    for entry in wanted:
        if isinstance(entry, int):
            numbers[entry] = None
            continue
        if not by_name:
            raise InputError("labels", got=repr(entry), expected="numbers: the labels of these data have no names")
        check_name(entry, by_name, "labels")
        numbers |= dict.fromkeys(by_name[entry])
    return tuple(numbers)

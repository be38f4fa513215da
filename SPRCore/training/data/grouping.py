"""Groups of labels."""

from __future__ import annotations

import numpy as np

from SPRCore.errors import InputError
from SPRCore.typing import LabelArray

_MAX_LABEL = int(np.iinfo(np.int16).max)

TOTALSEGMENTATOR: dict[str, tuple[int, ...]] = {
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
"""The 104 classes of TotalSegmentator 1 in 39 groups, as the paper evaluates whole-body CT. Brain (50), iliac vessels
(51 to 54) and face (93) are in no group: they are cropped or too thin at 3 mm. Lobes, vertebrae, ribs, the bones of a
limb and the gluteal muscles of a side are merged, since segmentations confuse neighbors among them."""

GROUPINGS = {"totalsegmentator": TOTALSEGMENTATOR}


def grouped(labels: LabelArray, grouping: str | None) -> LabelArray:
    """Merge labels (X, Y, Z) into the groups 1, 2, … of a grouping, 0 outside of all groups; int16.

    Raises:
        InputError: Labels below 0 or above 32767.
    """
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > _MAX_LABEL:
        raise InputError("labels", got=f"{low} to {high}", expected=f"0 to {_MAX_LABEL}")
    if grouping is None:
        return labels.astype(np.int16)
    table = np.zeros(max(high, *(max(members) for members in GROUPINGS[grouping].values())) + 1, dtype=np.int16)
    for number, members in enumerate(GROUPINGS[grouping].values(), start=1):
        table[list(members)] = number
    return table[labels]

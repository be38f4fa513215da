"""What the messages between a live worker and its client are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from SPRCore.live.schema import Bounds, Checked

SLOTS = 8
"""Most segments that each side may have at a time; their names follow from it."""

Id: TypeAlias = Annotated[int, Bounds(minimum=1, maximum=2**53)]
Text: TypeAlias = Annotated[str, Bounds(longest=4096)]
Hyperparameters: TypeAlias = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ArrayPlace(Checked):
    """One array inside a segment, in C order.

    Attributes:
        offset: Where it starts, in bytes.
        shape: Number of elements along each axis.
        dtype: Type of the elements, as NumPy writes it, in the order of bytes of the machine.
        affine: Voxel index to RAS millimeters, four rows of four one after the other; absent for what has no grid.
    """

    offset: Annotated[int, Bounds(minimum=0, maximum=2**53)]
    shape: Annotated[tuple[Annotated[int, Bounds(minimum=0, maximum=2**31)], ...], Bounds(longest=5)]
    dtype: Literal[
        "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"
    ]
    affine: Annotated[tuple[float, ...], Bounds(shortest=16, longest=16)] | None = None


@dataclass(frozen=True, kw_only=True)
class Segment(Checked):
    """Memory that both processes see, with the arrays in it.

    Attributes:
        kind: "memory": shared memory with the name FOLDER-SLOT, FOLDER being the last part of the path of the session's
            folder; "file": the file SLOT in that folder, mapped into memory.
        slot: Whose it is, `c` of the client or `w` of the worker, its place, and of a worker the number of its process,
            so that one that is late to end touches nothing of the next.
        size: Its size in bytes.
        arrays: The arrays in it by their names.
    """

    kind: Literal["memory", "file"]
    slot: Annotated[str, Bounds(pattern=f"^[cw][0-{SLOTS - 1}](-[0-9]{{1,10}})?$")]
    size: Annotated[int, Bounds(minimum=1, maximum=2**53)]
    arrays: dict[str, ArrayPlace]


@dataclass(frozen=True, kw_only=True)
class Measures(Checked):
    """Quality of a deformation, as `SPRCore.live.Quality` describes it; null where a measure is no finite number."""

    folding_percent: float | None
    min_jacobian: float | None
    max_displacement_mm: float | None
    lncc: float | None
    weight_gap: float | None

"""Types shared by the messages of a live worker and the replies of a live session; neither torch nor Qt is loaded."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from SPRCore.live.schema import Bounds, Checked
from SPRCore.regularization.contrast import WeightContrast

SLOTS = 8
"""Maximum number of segments of each side; the segment names follow from it."""

Id: TypeAlias = Annotated[int, Bounds(minimum=1, maximum=2**53)]
Text: TypeAlias = Annotated[str, Bounds(longest=4096)]
Hyperparameters: TypeAlias = dict[str, float]
Warnings: TypeAlias = Annotated[tuple[Text, ...], Bounds(longest=64)]


@dataclass(frozen=True, kw_only=True)
class ArrayLayout(Checked):
    """Layout of one array in a segment, in C order.

    Attributes:
        offset: Offset of the first byte.
        shape: Number of elements along each axis.
        dtype: NumPy type of the elements, in native byte order.
        affine: Voxel index to RAS mm, 4 x 4 in row order; None for arrays without a grid.
    """

    offset: Annotated[int, Bounds(minimum=0, maximum=2**53)]
    shape: Annotated[tuple[Annotated[int, Bounds(minimum=0, maximum=2**31)], ...], Bounds(longest=5)]
    dtype: Literal[
        "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"
    ]
    affine: Annotated[tuple[float, ...], Bounds(shortest=16, longest=16)] | None = None


@dataclass(frozen=True, kw_only=True)
class Segment(Checked):
    """Memory-mapped file that holds arrays.

    Attributes:
        kind: "memory": the file FOLDER-SLOT in /dev/shm, FOLDER being the name of the session folder; "file": the file
            SLOT in the session folder.
        slot: Side (`c` client, `w` worker) and number, for a worker also the number of its process.
        size: Size in bytes.
        arrays: Layout of the arrays, by name.
    """

    kind: Literal["memory", "file"]
    slot: Annotated[str, Bounds(pattern=f"^[cw][0-{SLOTS - 1}](-[0-9]{{1,10}})?$")]
    size: Annotated[int, Bounds(minimum=1, maximum=2**53)]
    arrays: dict[str, ArrayLayout]


class FiniteNumbers(Checked):
    """Base of dataclasses whose non-finite numbers become None, because JSON has no NaN and no infinity."""

    def __post_init__(self) -> None:
        """Replace non-finite numbers and check the bounds."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                object.__setattr__(self, item.name, None)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class DeformationQuality(FiniteNumbers):
    """Quality of a deformation, None where a measure is not finite.

    Attributes:
        folding_percent: Percentage of voxels whose Jacobian determinant is 0 or less: on the grid of the displacement.
        min_jacobian: Smallest Jacobian determinant there.
        max_displacement_mm: Length of the longest displacement, pre-alignment included.
        similarity: Mean similarity of the session (`Open.similarity`) on the preview grid, 1 at best, for exact replies
            too, so that the replies of a session are comparable; `metrics` of a committed reply has that at full
            resolution, under the name of the similarity.
        weight_gap: Mean absolute difference between the weight and the closed-form weight of the same field; about 0
            for instance optimization, and the error of a network's weight. None for a network whose loss had gradients
            in voxels, on a grid that is not isotropic.
    """

    folding_percent: float | None
    min_jacobian: float | None
    max_displacement_mm: float | None
    similarity: float | None
    weight_gap: float | None


@dataclass(frozen=True, kw_only=True)
class ReplySummary(Checked):
    """A reply without its arrays.

    Attributes:
        exact: Whether it equals the result of `SPRCore.register` at this setting; otherwise it is a preview.
        weight_known: Whether the weight may be shown. False for previews far from every exact result, whose weight may
            contradict the exact one (docs/adr/0015).
        stage: Kind of computation.
        milliseconds: Computation time.
        setting: Hyperparameters.
        quality: Quality of the deformation.
        metrics: Metrics as in the report of `SPRCore.register`; of committed replies only.
        warnings: Reasons to doubt the result, one sentence each; before a commit only those about the setting.
        contrast: Whether the weight map tells anatomy apart, and the smallest move of a slider after which it is
            estimated to; of exact replies only, so that nothing is said while a slider moves.
    """

    exact: bool
    weight_known: bool
    stage: Text
    milliseconds: float
    setting: Hyperparameters
    quality: DeformationQuality
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: Warnings = ()
    contrast: WeightContrast | None = None


@dataclass(frozen=True, kw_only=True)
class UncertaintySummary(Checked):
    """The uncertainty of a displacement without its arrays.

    Attributes:
        setting: Hyperparameters of the displacement.
        exact: Whether it is that of the exact result; otherwise that of a preview.
        fine: Whether it was computed with the settings of `SPRCore.register`, as after a commit; otherwise with coarser
            ones.
        metrics: `uncertainty_mm` {median, p95, max, labels {label: {median, p95}}} and `landmarks`, a list of
            {error_mm, uncertainty_mm}, as in `metrics.after` of the report of `SPRCore.register`; `labels` and
            `landmarks` only if the pair has them.
        milliseconds: Computation time.
    """

    setting: Hyperparameters
    exact: bool
    fine: bool
    metrics: dict[str, Any]
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class ChosenSetting(Checked):
    """The setting that `SPRCore.register(prior="auto")` uses for a pair.

    Attributes:
        compared: Whether settings were compared; False if it is the default because a comparison was impossible.
        blocks: Number of held-out blocks with information.
        warnings: Warnings for the user, one sentence each.
    """

    prior: Literal["beta", "gaussian", "tv", "uniform"]
    setting: Hyperparameters
    compared: bool
    blocks: Annotated[int, Bounds(minimum=0, maximum=2**53)]
    warnings: Warnings = ()

"""Messages between a live worker and its client: one JSON object per line, validated on both sides.

Neither torch nor Qt is loaded, so that a client can import this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from SPRCore.errors import InputError
from SPRCore.live.parts import (
    SLOTS,
    ArrayLayout,
    ChosenSetting,
    DeformationQuality,
    FiniteNumbers,
    Hyperparameters,
    Id,
    ReplySummary,
    Segment,
    Text,
    UncertaintySummary,
)
from SPRCore.live.schema import Bounds, Checked
from SPRCore.regularization.contrast import WeightContrast

PROTOCOL = 6
"""Protocol version; client and worker must have the same."""


@dataclass(frozen=True, kw_only=True)
class Request(Checked):
    """Message of the client, with its name and its number."""

    verb: str
    id: Id


@dataclass(frozen=True, kw_only=True)
class Answer(Checked):
    """Message of the worker about one request, with its name and the number of the request."""

    kind: str
    id: Id


@dataclass(frozen=True, kw_only=True)
class Hello(Request):
    """First request of every conversation.

    Attributes:
        protocol: Protocol version of the client.
        folder: Session folder.
        client: Name of the client, for the log.
    """

    verb: Literal["hello"] = "hello"
    protocol: int
    folder: Text
    client: Text = ""


@dataclass(frozen=True, kw_only=True)
class Open(Request):
    """Open a pair; an open pair is closed first.

    Attributes:
        segment: `fixed` and `moving`; optional `fixed_labels`, `moving_labels`, `fixed_mask`, `moving_mask`,
            `fixed_channel` and `moving_channel` (second channel of each image, such as the SUV of a CT), `fixed_points`
            and `moving_points` (RAS mm, shape (N, 3)), `stiffness` (factor > 0 of the weight, on any grid).
        method: "instance", or the name or path of a model.
        prior: Name of the prior; None for the recommended one or that of the model.
        setting: Initial hyperparameters of that prior; missing ones take their defaults.
        refine: Maximum number of instance optimization steps after a model, for exact results.
        start: Start of the instance optimization: "rest", or "search" for a discrete search, which is computed once
            per pair, before the first answer.
        similarity: Similarity of the images: "lncc" (local correlation), "mind" (MIND descriptors) or "mse" (mean
            squares); None for "lncc", or for the one of the model, the only one that it takes.
        init: Pre-alignment, as in `SPRCore.register`.
        init_affine: Pre-alignment that is used as it is, instead of `init`: pull map from fixed to moving, RAS mm,
            4 x 4 in row order; None for none.
        device: Compute device.
        budget_ms: Time budget of a preview; None for the default.
    """

    verb: Literal["open"] = "open"
    segment: Segment
    method: Text = "instance"
    prior: Literal["beta", "gaussian", "tv", "uniform"] | None = None
    setting: Hyperparameters = field(default_factory=dict)
    refine: Annotated[int, Bounds(minimum=0, maximum=10_000)] = 0
    start: Literal["rest", "search"] = "rest"
    similarity: Literal["lncc", "mind", "mse"] | None = None
    init: Literal["auto", "none", "center", "rigid", "affine"] = "none"
    init_affine: Annotated[tuple[float, ...], Bounds(shortest=16, longest=16)] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    budget_ms: Annotated[float, Bounds(minimum=1, maximum=1e6)] | None = None


@dataclass(frozen=True, kw_only=True)
class Update(Request):
    """Request a preview at a setting; improvements follow (`improve`) while no other request is waiting.

    Hyperparameters missing in `setting` keep their last value.
    """

    verb: Literal["update"] = "update"
    setting: Hyperparameters
    improve: bool = True


@dataclass(frozen=True, kw_only=True)
class Commit(Request):
    """Request the exact result at a setting, with inverse, warped image and metrics."""

    verb: Literal["commit"] = "commit"
    setting: Hyperparameters


@dataclass(frozen=True, kw_only=True)
class ToggleSweep(Request):
    """Turn the sweep on or off; it runs in the background."""

    verb: Literal["sweep"] = "sweep"
    on: bool = True


@dataclass(frozen=True, kw_only=True)
class ToggleUncertainty(Request):
    """Turn the uncertainty on or off; it is off in a new worker, and stays on when another pair is opened.

    While it is on, `UncertaintyMessage` follows each `update` with `improve`, and each `commit`, while no other request
    is waiting; turned on, it follows for the displacement of the last one.
    """

    verb: Literal["uncertainty"] = "uncertainty"
    on: bool = True


@dataclass(frozen=True, kw_only=True)
class Choose(Request):
    """Request a setting chosen for the pair without labels, in the background; the current setting is kept."""

    verb: Literal["choose"] = "choose"


@dataclass(frozen=True, kw_only=True)
class Stiffness(Request):
    """Replace the painted stiffness: the array `stiffness`, > 0, on any grid; None removes it."""

    verb: Literal["stiffness"] = "stiffness"
    segment: Segment | None


@dataclass(frozen=True, kw_only=True)
class Annotate(Request):
    """Replace labels and landmarks, by the array names of `Open`; None removes them."""

    verb: Literal["annotate"] = "annotate"
    segment: Segment | None


@dataclass(frozen=True, kw_only=True)
class Cancel(Request):
    """Cancel all computations and waiting requests, improvements and sweep included."""

    verb: Literal["cancel"] = "cancel"


@dataclass(frozen=True, kw_only=True)
class Close(Request):
    """Close the pair and end the worker."""

    verb: Literal["close"] = "close"


@dataclass(frozen=True, kw_only=True)
class Release(Checked):
    """Return the segment of a result to the worker; the only client message without an answer."""

    verb: Literal["release"] = "release"
    slot: Annotated[str, Bounds(pattern=f"^w[0-{SLOTS - 1}](-[0-9]{{1,10}})?$")]


@dataclass(frozen=True, kw_only=True)
class Ready(Answer):
    """Answer to `hello`.

    Attributes:
        protocol: Protocol version.
        version: Version of SPRCore.
        torch: Version of PyTorch.
        device: Compute device that "auto" selects.
        threads: Number of PyTorch threads.
        pid: Process number of the worker.
    """

    kind: Literal["ready"] = "ready"
    protocol: int
    version: Text
    torch: Text
    device: Text
    threads: int
    pid: int


@dataclass(frozen=True, kw_only=True)
class Opened(Answer):
    """Answer to `open`.

    Attributes:
        prior: Name of the prior.
        setting: Initial hyperparameters.
        ranges: Minimum and maximum of each hyperparameter that has a slider.
        trained: Largest value of each of them in the training of a model, above which a setting is beyond training;
            empty for the instance optimization.
        milliseconds: Time to open the pair.
        init: Pre-alignment that was used.
        init_reason: Reason for it.
        init_mm: Largest displacement of a corner of the fixed image by the pre-alignment.
        covered: Fraction of the fixed image inside the moving image after the pre-alignment.
        similarity: Similarity of the session, also where the request left it to the method.
    """

    kind: Literal["opened"] = "opened"
    prior: Text
    setting: Hyperparameters
    ranges: dict[str, Annotated[tuple[float, ...], Bounds(shortest=2, longest=2)]]
    milliseconds: float
    trained: Hyperparameters = field(default_factory=dict)
    init: Literal["none", "center", "rigid", "affine", "given"]
    init_reason: Text
    init_mm: Annotated[float, Bounds(minimum=0)]
    covered: Annotated[float, Bounds(minimum=0, maximum=1)]
    similarity: Literal["lncc", "mind", "mse"] = "lncc"


@dataclass(frozen=True, kw_only=True)
class ReplyMessage(ReplySummary, Answer):
    """Answer to `update` or `commit`, and each improvement of it.

    Attributes:
        improvement: False for the answer, True for the improvements that follow.
        age_ms: Time since the request arrived.
        segment: `displacement` (RAS mm, shape (X, Y, Z, 3), total pull map from fixed to moving) and `weight`; for
            `commit` also `inverse` on the moving grid and `warped`. The client returns it with `release`.
    """

    kind: Literal["result"] = "result"
    improvement: bool
    age_ms: float
    segment: Segment


@dataclass(frozen=True, kw_only=True)
class UncertaintyMessage(UncertaintySummary):
    """The uncertainty of the displacement of an `update` or a `commit`.

    Attributes:
        id: Number of the `update` or `commit`.
        segment: `uncertainty`: one standard deviation of the displacement in mm, the root mean square length of its
            error, shape (X, Y, Z), on a coarse grid over the field of view of the fixed image. The client returns it
            with `release`.
    """

    kind: Literal["uncertainty"] = "uncertainty"
    id: Id
    segment: Segment


@dataclass(frozen=True, kw_only=True)
class Chosen(ChosenSetting, Answer):
    """Answer to `choose`."""

    kind: Literal["chosen"] = "chosen"


@dataclass(frozen=True, kw_only=True)
class Done(Answer):
    """Answer to `sweep`, `uncertainty`, `stiffness`, `annotate`, `cancel` and `close`."""

    kind: Literal["done"] = "done"


@dataclass(frozen=True, kw_only=True)
class Superseded(Answer):
    """Answer to a request that another one, number `by`, replaced; that may be a `cancel`."""

    kind: Literal["superseded"] = "superseded"
    by: Id


@dataclass(frozen=True, kw_only=True)
class Error(Answer):
    """Answer to a request that failed.

    Attributes:
        id: Number of the request; None for background work and unreadable lines.
        code: "input": invalid value; "protocol": invalid message; "memory": out of memory; "computation": NaN or
            infinite values; "fault": bug; "worker": the worker ended before it answered.
        what: Object of the error.
        got: Value found.
        expected: Valid values.
        remedy: Advice for the user.
    """

    kind: Literal["error"] = "error"
    id: Id | None
    code: Literal["input", "protocol", "memory", "computation", "fault", "worker"]
    what: Text
    got: Text = ""
    expected: Text = ""
    remedy: Text = ""

    def words(self) -> str:
        """Return the error as one sentence."""
        return str(InputError(self.what, got=self.got, expected=self.expected, remedy=self.remedy))


@dataclass(frozen=True, kw_only=True)
class ProgressReport(Answer):
    """Sign of life during a long request: its stage, and the fraction done, 0 to 1, None if unknown."""

    kind: Literal["progress"] = "progress"
    stage: Text
    fraction: Annotated[float, Bounds(minimum=0, maximum=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class SweepPoint(FiniteNumbers):
    """One point of a sweep.

    Attributes:
        setting: Hyperparameters.
        quality: Quality of the preview.
        dice_mean: Mean Dice of the labels on the preview grid; None without labels.
        tre_mm: Mean landmark error; None without landmarks.
        milliseconds: Computation time.
    """

    kind: Literal["point"] = "point"
    setting: Hyperparameters
    quality: DeformationQuality
    dice_mean: float | None = None
    tre_mm: float | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Idle(Checked):
    """No work is left: the last setting cannot be improved, and the sweep is complete or off."""

    kind: Literal["idle"] = "idle"


@dataclass(frozen=True, kw_only=True)
class Log(Checked):
    """Log line."""

    kind: Literal["log"] = "log"
    level: Literal["debug", "info", "warning", "error"]
    text: Text


REQUESTS = {
    kind.verb: kind
    for kind in (
        *(Hello, Open, Update, Commit, ToggleSweep, ToggleUncertainty, Choose),
        *(Stiffness, Annotate, Cancel, Close, Release),
    )
}
ANSWERS = {
    kind.kind: kind
    for kind in (
        *(Ready, Opened, ReplyMessage, UncertaintyMessage, Chosen, Done, Superseded),
        *(Error, ProgressReport, SweepPoint, Idle, Log),
    )
}
PARTS = (ArrayLayout, Segment, DeformationQuality, WeightContrast)

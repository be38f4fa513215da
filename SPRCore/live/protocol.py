"""The messages between a live worker and its client: one JSON object a line, checked on both sides.

Nothing here loads torch or Qt, so that a program which only talks to a worker can import it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from SPRCore.errors import InputError
from SPRCore.live.parts import SLOTS, ArrayPlace, Hyperparameters, Id, Measures, Segment, Text
from SPRCore.live.schema import Bounds, Checked

PROTOCOL = 3
"""Version of the messages; client and worker must have the same."""


@dataclass(frozen=True, kw_only=True)
class Hello(Checked):
    """First request of every conversation.

    Attributes:
        id: Number of the request.
        protocol: Version of the messages that the client speaks.
        folder: The session's folder: where files are mapped, and what segments are named after.
        client: Who is asking, for the log.
    """

    verb: Literal["hello"] = "hello"
    id: Id
    protocol: int
    folder: Text
    client: Text = ""


@dataclass(frozen=True, kw_only=True)
class Open(Checked):
    """Open a pair; the one that was open is closed.

    Attributes:
        id: Number of the request.
        segment: `fixed` and `moving`; if wanted `fixed_labels`, `moving_labels`, `fixed_mask`, `moving_mask`,
            `fixed_points` and `moving_points` (RAS mm, shape (N, 3)), `stiffness` (factor above 0 of the weight, on any
            grid).
        method: "instance", the name of a model, or the path of its bundle.
        prior: "beta", "gaussian", "tv" or "uniform"; null for the recommended one or that of the model.
        setting: Hyperparameters to start at, of the prior named; those left out take their defaults.
        refine: Most steps of the instance solver that go on from what a model gave, for exact results.
        start: What the instance solver starts from: "rest", or "search", a discrete search for large motion that
            differs between neighbors; it is run once for the pair, before the first answer.
        init: Alignment beforehand, as for `SPRCore.register`.
        device: Where to compute.
        budget_ms: Time that a preview may take; null for the default.
    """

    verb: Literal["open"] = "open"
    id: Id
    segment: Segment
    method: Text = "instance"
    prior: Literal["beta", "gaussian", "tv", "uniform"] | None = None
    setting: Hyperparameters = field(default_factory=dict)
    refine: Annotated[int, Bounds(minimum=0, maximum=10_000)] = 0
    start: Literal["rest", "search"] = "rest"
    init: Literal["auto", "none", "center", "rigid", "affine"] = "none"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    budget_ms: Annotated[float, Bounds(minimum=1, maximum=1e6)] | None = None


@dataclass(frozen=True, kw_only=True)
class Update(Checked):
    """Show the deformation at a setting: answered by a preview, which improvements follow while nothing else is asked.

    Attributes:
        id: Number of the request.
        setting: Hyperparameters; those left out keep their last value.
        improve: Whether improvements are wanted.
    """

    verb: Literal["update"] = "update"
    id: Id
    setting: Hyperparameters
    improve: bool = True


@dataclass(frozen=True, kw_only=True)
class Commit(Checked):
    """Compute the exact deformation at a setting, with its inverse, the warped image and the metrics."""

    verb: Literal["commit"] = "commit"
    id: Id
    setting: Hyperparameters


@dataclass(frozen=True, kw_only=True)
class Sweep(Checked):
    """Turn the map of settings on or off, which is filled while nothing else is asked."""

    verb: Literal["sweep"] = "sweep"
    id: Id
    on: bool = True


@dataclass(frozen=True, kw_only=True)
class Choose(Checked):
    """Choose a setting for the pair, without labels, while nothing else is asked; the setting in force stays."""

    verb: Literal["choose"] = "choose"
    id: Id


@dataclass(frozen=True, kw_only=True)
class Stiffness(Checked):
    """Replace the painted stiffness: the array `stiffness`, above 0, on any grid; null for none."""

    verb: Literal["stiffness"] = "stiffness"
    id: Id
    segment: Segment | None


@dataclass(frozen=True, kw_only=True)
class Annotate(Checked):
    """Measure with other labels and landmarks from now on: of the arrays of `open` those; null for none."""

    verb: Literal["annotate"] = "annotate"
    id: Id
    segment: Segment | None


@dataclass(frozen=True, kw_only=True)
class Cancel(Checked):
    """Give up what is computed or waiting, improvements and the map included."""

    verb: Literal["cancel"] = "cancel"
    id: Id


@dataclass(frozen=True, kw_only=True)
class Close(Checked):
    """Close the pair and end the worker."""

    verb: Literal["close"] = "close"
    id: Id


@dataclass(frozen=True, kw_only=True)
class Release(Checked):
    """Give a segment of a result back; the one message of the client that is not answered."""

    verb: Literal["release"] = "release"
    slot: Annotated[str, Bounds(pattern=f"^w[0-{SLOTS - 1}](-[0-9]{{1,10}})?$")]


@dataclass(frozen=True, kw_only=True)
class Ready(Checked):
    """Answer to `hello`: what the worker is.

    Attributes:
        id: Number of the request.
        protocol: Version of the messages.
        version: Version of SPRCore.
        torch: Version of PyTorch.
        device: What "auto" stands for.
        threads: Threads that PyTorch computes with.
        pid: The worker's process.
    """

    kind: Literal["ready"] = "ready"
    id: Id
    protocol: int
    version: Text
    torch: Text
    device: Text
    threads: int
    pid: int


@dataclass(frozen=True, kw_only=True)
class Opened(Checked):
    """Answer to `open`.

    Attributes:
        id: Number of the request.
        prior: The prior.
        setting: The hyperparameters to start at.
        ranges: Lowest and highest value of each hyperparameter that may be changed.
        milliseconds: Time that it took.
        init: Which alignment was made beforehand.
        init_reason: Why, in words.
        init_mm: How far it moves the farthest corner of the fixed image, in mm.
        covered: Part of the fixed image that lies inside the moving one after it.
    """

    kind: Literal["opened"] = "opened"
    id: Id
    prior: Text
    setting: Hyperparameters
    ranges: dict[str, Annotated[tuple[float, ...], Bounds(shortest=2, longest=2)]]
    milliseconds: float
    init: Literal["none", "center", "rigid", "affine"]
    init_reason: Text
    init_mm: Annotated[float, Bounds(minimum=0)]
    covered: Annotated[float, Bounds(minimum=0, maximum=1)]


@dataclass(frozen=True, kw_only=True)
class Result(Checked):
    """Answer to `update` or `commit`, and a better one that follows.

    Attributes:
        id: Number of the request.
        improvement: False for the answer, true for the better ones after it.
        exact: Whether it is what `SPRCore.register` gives at this setting; a preview otherwise.
        weight_known: Whether `weight` may be shown as that of this setting: false for a preview that is near nothing
            exact, whose weight may contradict the exact one.
        stage: What was done, in words.
        milliseconds: Time that the computation took.
        age_ms: Time since the request arrived.
        setting: The hyperparameters.
        quality: How good it is.
        segment: `displacement` (RAS mm, shape (X, Y, Z, 3), total pull map from fixed to moving) and `weight`; for
            `commit` also `inverse` on the moving grid and `warped`. To be given back with `release`.
        metrics: For `commit`: as in the report of `SPRCore.register`.
        warnings: For `commit`: what makes the result doubtful, one plain sentence each.
    """

    kind: Literal["result"] = "result"
    id: Id
    improvement: bool
    exact: bool
    weight_known: bool
    stage: Text
    milliseconds: float
    age_ms: float
    setting: Hyperparameters
    quality: Measures
    segment: Segment
    metrics: dict[str, Any] = field(default_factory=dict)
    warnings: Annotated[tuple[Text, ...], Bounds(longest=64)] = ()


@dataclass(frozen=True, kw_only=True)
class Chosen(Checked):
    """Answer to `choose`: the setting that `SPRCore.register(prior="auto")` would take.

    Attributes:
        id: Number of the request.
        prior: The prior.
        setting: Its hyperparameters.
        compared: Whether settings were compared; false where the default stands because nothing could be.
        blocks: Number of held-out blocks with information.
        warnings: What the user must know, one plain sentence each.
    """

    kind: Literal["chosen"] = "chosen"
    id: Id
    prior: Literal["beta", "gaussian", "tv", "uniform"]
    setting: Hyperparameters
    compared: bool
    blocks: Annotated[int, Bounds(minimum=0, maximum=2**53)]
    warnings: Annotated[tuple[Text, ...], Bounds(longest=64)] = ()


@dataclass(frozen=True, kw_only=True)
class Done(Checked):
    """Answer to `sweep`, `stiffness`, `annotate`, `cancel` and `close`."""

    kind: Literal["done"] = "done"
    id: Id


@dataclass(frozen=True, kw_only=True)
class Superseded(Checked):
    """Answer to a request that was given up.

    Attributes:
        id: Number of the request.
        by: Number of the request that came instead: a newer one, or `cancel`.
    """

    kind: Literal["superseded"] = "superseded"
    id: Id
    by: Id


@dataclass(frozen=True, kw_only=True)
class Error(Checked):
    """Answer to a request that failed; without a number: of work in the background, or of a line nobody could read.

    Attributes:
        id: Number of the request, or null.
        code: "input": what was given is wrong; "protocol": the message is; "memory": too little of it; "computation":
            it left the numbers; "fault": a fault of the program; "worker": the worker ended before it answered.
        what: What is wrong.
        got: What was found.
        expected: What would have been right.
        remedy: What can be done.
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
class Progress(Checked):
    """A sign of life while a request takes long: its stage in words, and the part done from 0 to 1 where known."""

    kind: Literal["progress"] = "progress"
    id: Id
    stage: Text
    fraction: Annotated[float, Bounds(minimum=0, maximum=1)] | None = None


@dataclass(frozen=True, kw_only=True)
class Point(Checked):
    """One point of the map of settings.

    Attributes:
        setting: The hyperparameters.
        quality: Quality of the preview there.
        dice_mean: Mean Dice over the labels; null without labels.
        tre_mm: Mean error at the landmarks, in mm; null without landmarks.
        milliseconds: Time that the point took.
    """

    kind: Literal["point"] = "point"
    setting: Hyperparameters
    quality: Measures
    dice_mean: float | None = None
    tre_mm: float | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Idle(Checked):
    """Nothing is left to do: the last setting cannot be improved, and the map is full or off."""

    kind: Literal["idle"] = "idle"


@dataclass(frozen=True, kw_only=True)
class Log(Checked):
    """A line of the log."""

    kind: Literal["log"] = "log"
    level: Literal["debug", "info", "warning", "error"]
    text: Text


REQUESTS = {
    kind.verb: kind
    for kind in (Hello, Open, Update, Commit, Sweep, Choose, Stiffness, Annotate, Cancel, Close, Release)
}
ANSWERS = {
    kind.kind: kind for kind in (Ready, Opened, Result, Chosen, Done, Superseded, Error, Progress, Point, Idle, Log)
}
PARTS = (ArrayPlace, Segment, Measures)

"""Messages of the live worker: round trips, refused lines, and the documented schema.

Run as a program, this file writes the schema into the document.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from SPRCore.config import ConfigError, finite
from SPRCore.live import protocol
from SPRCore.live.protocol import PROTOCOL, ArrayLayout, DeformationQuality, Segment
from SPRCore.live.wire import MAX_LINE, LineReader, Unreadable, read_answer, read_request, schema, to_line
from SPRCore.regularization.contrast import WeightContrast

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "live-protocol.md"
BLOCK = re.compile(r"(?<=^```json schema\n).*?(?=^```$)", flags=re.MULTILINE | re.DOTALL)

GRID = tuple(float(value) for value in (2, 0, 0, -20, 0, 2.5, 0, 10, 0, 0, 3, 5, 0, 0, 0, 1))
PLACE = ArrayLayout(offset=64, shape=(24, 20, 16), dtype="float32", affine=GRID)
POINTS = ArrayLayout(offset=0, shape=(0, 3), dtype="float64")
SEGMENT = Segment(kind="memory", slot="w3", size=40_000, arrays={"weight": PLACE, "points": POINTS})
QUALITY = DeformationQuality(
    folding_percent=0.0, min_jacobian=0.2, max_displacement_mm=7.5, similarity=0.8, weight_gap=None
)
SETTING = {"alpha": 0.1, "lambda_max": 2.0}
CONTRAST = WeightContrast(
    verdict="stiff", maximum_percent=97.0, zero_percent=0.0, p05=1.0, median=1.0, p95=1.0, move={"alpha": 0.05}
)
ALIGNED = {"init": "affine", "init_reason": "overlap 82 %, centers 39.0 mm apart", "init_mm": 41.5, "covered": 0.97}

REQUESTS = [
    protocol.Hello(id=1, protocol=PROTOCOL, folder="somewhere/spr-live-abcd", client="a test"),
    protocol.Open(id=2, segment=dataclasses.replace(SEGMENT, slot="c0", kind="file"), prior="beta", setting=SETTING),
    protocol.Open(id=2, segment=SEGMENT, method="name", refine=3, init="rigid", device="cpu", budget_ms=80.0),
    protocol.Update(id=3, setting=SETTING, improve=False),
    protocol.Commit(id=4, setting={}),
    protocol.ToggleSweep(id=5, on=False),
    protocol.ToggleUncertainty(id=5),
    protocol.Open(id=2, segment=SEGMENT, start="search", init_affine=GRID),
    protocol.Choose(id=6),
    protocol.Stiffness(id=6, segment=SEGMENT),
    protocol.Stiffness(id=7, segment=None),
    protocol.Annotate(id=8, segment=SEGMENT),
    protocol.Annotate(id=9, segment=None),
    protocol.Cancel(id=2**53),
    protocol.Close(id=8),
    protocol.Release(slot="w7"),
    protocol.Release(slot="w7-4194304"),
]
ANSWERS = [
    protocol.Ready(id=1, protocol=PROTOCOL, version="0.1", torch="2.4", device="cpu", threads=2, pid=7),
    protocol.Opened(id=2, prior="beta", setting=SETTING, ranges={"alpha": (0.0, 1.0)}, milliseconds=3.5, **ALIGNED),
    protocol.Opened(id=2, prior="beta", setting=SETTING, ranges={}, milliseconds=3.5, **ALIGNED | {"init": "given"}),
    protocol.ReplyMessage(
        **{"id": 3, "improvement": False, "exact": True, "stage": "preview", "milliseconds": 3.5, "age_ms": 4.0},
        **{"weight_known": False, "warnings": ("The images hardly overlap.",)},
        **{"setting": SETTING, "quality": QUALITY, "segment": SEGMENT, "metrics": {"after": {"dice": {"1": 0.5}}}},
    ),
    protocol.ReplyMessage(
        **{"id": 3, "improvement": True, "exact": True, "stage": "exact", "milliseconds": 3.5, "age_ms": 4.0},
        **{"weight_known": True, "contrast": CONTRAST, "setting": SETTING, "quality": QUALITY, "segment": SEGMENT},
    ),
    protocol.UncertaintyMessage(
        **{"id": 3, "setting": SETTING, "exact": False, "fine": False, "segment": SEGMENT, "milliseconds": 900.0},
        metrics={"uncertainty_mm": {"median": 1.5, "p95": 3.0, "max": None}},
    ),
    protocol.Chosen(id=6, prior="beta", setting=SETTING, compared=True, blocks=12),
    protocol.Chosen(id=6, prior="uniform", setting={"lambda": 2.0}, compared=False, blocks=0, warnings=("None.",)),
    protocol.Done(id=4),
    protocol.Superseded(id=5, by=6),
    protocol.Error(id=None, code="protocol", what="message", got="nothing", expected="something", remedy="write it"),
    protocol.ProgressReport(id=6, stage="computing", fraction=0.5),
    protocol.SweepPoint(setting=SETTING, quality=QUALITY, dice_mean=0.8, tre_mm=None, milliseconds=40.0),
    protocol.Idle(),
    protocol.Log(level="info", text="Größe: 3 µm\nsecond line"),
]
MESSAGES = REQUESTS + ANSWERS


def read(line):
    values = json.loads(line)
    return (read_request if "verb" in values else read_answer)(line)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_written_is_read(message):
    line = to_line(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert read(line) == message


def test_there_is_an_example_of_every_message():
    assert {type(message) for message in REQUESTS} == set(protocol.REQUESTS.values())
    assert {type(message) for message in ANSWERS} == set(protocol.ANSWERS.values())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "one JSON object a line"),
        (b"hello", "one JSON object a line"),
        (b"\xff\xfe\x00", "one JSON object a line"),
        (b"[" * 50_000, "one JSON object a line"),
        (b'{"verb":"update","id":1,"setting":{"alpha":NaN}}', "one JSON object a line"),
        (b'{"verb":"update","id":1,"setting":{"alpha":' + b"9" * 5000 + b"}}", "one JSON object a line"),
        (b"[1, 2]", "no JSON object"),
        (b"{}", "verb"),
        (b'{"verb":["hello"]}', "verb"),
        (b'{"verb":"dance","id":1}', "'dance'"),
        (b'{"verb":"update","id":1,"setting":{"alpha":1e999}}', "setting.alpha"),
        (b'{"verb":"update","id":1,"setting":{"alpha":true}}', "setting.alpha"),
        (b'{"verb":"update","id":1,"setting":{},"more":1}', "more"),
        (b'{"verb":"update","id":0,"setting":{}}', "id"),
        (b'{"verb":"update","setting":{}}', "id"),
        (b'{"verb":"release","slot":"../x"}', "slot"),
        (b'{"verb":"release","slot":"w9"}', "slot"),
        (b'{"verb":"hello","id":1,"protocol":99,"somewhere":1}', "version 99 of the client"),
    ],
)
def test_invalid_lines_are_refused_with_a_reason(line, words):
    with pytest.raises(Unreadable, match=re.escape(words)):
        read_request(line)


def test_a_refusal_has_the_number_of_the_request():
    for line, number in ((b'{"verb":"dance","id":7}', 7), (b'{"verb":"dance","id":"7"}', None), (b"{", None)):
        with pytest.raises(Unreadable) as caught:
            read_request(line)
        assert caught.value.id == number


def test_an_invalid_message_is_not_written():
    with pytest.raises(ConfigError, match="dtype"):
        to_line(dataclasses.replace(protocol.Stiffness(id=1, segment=None), segment=with_dtype("float16")))
    with pytest.raises(ConfigError, match="alpha"):
        to_line(protocol.Update(id=1, setting={"alpha": float("nan")}))
    with pytest.raises(ConfigError, match="fraction"):
        protocol.ProgressReport(id=1, stage="far", fraction=1.5)


def with_dtype(name):
    return dataclasses.replace(SEGMENT, arrays={"fixed": dataclasses.replace(PLACE, dtype=name)})


def test_numpy_numbers_become_python_numbers():
    import numpy as np

    values = {1: np.float32(0.5), "x": [np.int64(3), float("inf"), (np.float64("nan"), "text", None, True)]}
    assert finite(values) == {"1": 0.5, "x": [3, None, [None, "text", None, True]]}
    json.dumps(finite(values), allow_nan=False)


def test_quality_and_points_hold_finite_numbers_or_none():
    quality = dataclasses.replace(QUALITY, min_jacobian=float("nan"), similarity=float("-inf"))
    assert (quality.min_jacobian, quality.similarity, quality.max_displacement_mm) == (None, None, 7.5)
    point = protocol.SweepPoint(setting=SETTING, quality=quality, tre_mm=float("inf"))
    assert read(to_line(point)) == point


# Lines


def lines_of(pieces):
    reader = LineReader()
    return [line for piece in pieces for line in reader.feed(piece)]


@given(st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_lines_are_the_same_however_they_are_cut(lines, data):
    stream = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + b"half a line"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert lines_of(pieces) == [part for part in stream.split(b"\n")[:-1] if part.strip()]


def test_an_endless_line_is_discarded_and_the_next_one_read():
    reader = LineReader()
    found = []
    tracemalloc.start()
    for _ in range(40):
        found += reader.feed(b"x" * (MAX_LINE // 8))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2.5 * MAX_LINE, "the beginning that is reported, and no more than another line"
    assert len(found) == 1
    with pytest.raises(Unreadable, match="does not end"):
        read_request(found[0])
    assert list(reader.feed(b"the rest\n" + to_line(REQUESTS[3]))) == [to_line(REQUESTS[3])[:-1]]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for line in lines_of([data, b"\n"]):
        with pytest.raises(Unreadable):
            read_request(line)


# The document


def accepts(part, value, whole):
    """Whether a value fits a JSON schema with the keywords of this protocol."""
    if "$ref" in part:
        return accepts(whole["$defs"][part["$ref"].removeprefix("#/$defs/")], value, whole)
    for keyword, some in (("anyOf", lambda n: n > 0), ("oneOf", lambda n: n == 1)):
        if keyword in part and not some(sum(accepts(option, value, whole) for option in part[keyword])):
            return False
    plain = isinstance(value, (str, type(None))) or type(value) in (int, float)
    if "const" in part and not (plain and value == part["const"]):
        return False
    if "enum" in part and not (plain and value in part["enum"]):
        return False
    checks = {"object": accepts_object, "array": accepts_array, "string": accepts_text}
    kind = part.get("type")
    if kind in checks:
        return checks[kind](part, value, whole)
    if kind in ("number", "integer"):
        good = type(value) is int or (type(value) is float and kind == "number")
        return good and part.get("minimum", value) <= value <= part.get("maximum", value)
    return {"boolean": isinstance(value, bool), "null": value is None}.get(kind, True)


def accepts_object(part, value, whole):
    if not isinstance(value, dict) or not set(part.get("required", ())) <= set(value):
        return False
    known, others = part.get("properties", {}), part.get("additionalProperties", {})
    return all(
        accepts(known[name], entry, whole) if name in known else others is not False and accepts(others, entry, whole)
        for name, entry in value.items()
    )


def accepts_array(part, value, whole):
    return (
        isinstance(value, list)
        and part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value))
        and all(accepts(part["items"], entry, whole) for entry in value)
    )


def accepts_text(part, value, whole):
    return (
        isinstance(value, str)
        and part.get("minLength", 0) <= len(value) <= part.get("maxLength", len(value))
        and (re.search(part["pattern"], value) is not None if "pattern" in part else True)
    )


def documented():
    return json.loads(BLOCK.search(PAGE.read_text(encoding="utf-8"))[0])


def code_accepts(values):
    try:
        read(json.dumps(values).encode())
    except Unreadable:
        return False
    return True


def test_the_document_holds_the_schema_of_the_code():
    assert documented() == schema(), f"run: python {Path(__file__).relative_to(ROOT)}"


def test_the_document_names_every_message():
    text = BLOCK.sub("", PAGE.read_text(encoding="utf-8"))
    assert not [name for name in (*protocol.REQUESTS, *protocol.ANSWERS) if f"`{name}`" not in text]
    assert f"version {PROTOCOL}" in text


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_examples_fit_the_documented_schema(message):
    assert accepts(documented(), json.loads(to_line(message)), documented())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.just(2**60),
    st.floats(-5, 5).filter(lambda value: value != int(value)),
    st.sampled_from(["", "w1", "c0", "c9", "memory", "hello", "beta", "x" * 5000]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def places(value, path=()):
    """Paths of all entries of nested dictionaries and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def changed(values, path, what, new):
    values = json.loads(json.dumps(values))
    target = values
    for key in path[:-1]:
        target = target[key]
    if what == "remove":
        del target[path[-1]]
    elif what == "add" and isinstance(target, dict):
        target["another"] = new
    else:
        target[path[-1]] = new
    return values


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@settings(max_examples=12)
@given(data=st.data())
def test_code_and_document_refuse_the_same(message, data):
    """Change, remove or add an entry of a valid message: both refuse it, or neither does."""
    values, whole = json.loads(to_line(message)), documented()
    path = data.draw(st.sampled_from(sorted(places(values), key=str)))
    bad = changed(values, path, data.draw(st.sampled_from(["change", "remove", "add"])), data.draw(VALUES))
    if bad.get("protocol", PROTOCOL) != PROTOCOL or ("verb" in values) != ("verb" in bad):
        return  # another version, or a message of neither side
    assert code_accepts(bad) == accepts(whole, bad, whole)


@given(SCALARS)
@example(1)
@example("")
def test_the_validator_of_this_file_distinguishes_types(value):
    kinds = [kind for kind in ("null", "boolean", "integer", "number", "string") if accepts({"type": kind}, value, {})]
    assert "integer" not in kinds or "number" in kinds
    assert len(set(kinds) - {"integer"}) == 1


# Imports of a client


@pytest.mark.parametrize("module", ["protocol", "wire", "arrays", "conversation", "client"])
def test_a_client_loads_neither_torch_nor_qt(module):
    heavy = {
        "torch",
        "scipy",
        "nibabel",
        "SimpleITK",
        "jaxtyping",
        "qt",
        "PySide6",
        "PyQt5",
        "PyQt6",
        "multiprocessing",
    }
    code = f"import sys, SPRCore.live.{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def compact(whole):
    """The schema as text: one line for each field."""

    def one_line(value):
        return json.dumps(value, ensure_ascii=False)

    parts = []
    for name, part in whole["$defs"].items():
        fields = ",\n".join(f"    {one_line(key)}: {one_line(entry)}" for key, entry in part["properties"].items())
        rest = {key: entry for key, entry in part.items() if key not in ("type", "properties")}
        tail = ", ".join(f"{one_line(key)}: {one_line(entry)}" for key, entry in rest.items())
        parts.append(f'  {one_line(name)}: {{"type": "object", "properties": {{\n{fields}}},\n    {tail}}}')
    head = {key: entry for key, entry in whole.items() if key != "$defs"}
    return f'{one_line(head)[:-1]},\n"$defs": {{\n' + ",\n".join(parts) + "\n}}\n"


def test_the_compact_form_is_the_schema():
    assert json.loads(compact(schema())) == schema()


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: compact(schema()), PAGE.read_text(encoding="utf-8")), encoding="utf-8")

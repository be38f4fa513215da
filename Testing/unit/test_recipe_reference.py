"""docs/reference/recipe.md says what the configuration says; run this file as a script to write it anew."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from pathlib import Path

from SPRCore.config import encode
from SPRCore.networks import NetworkConfig
from SPRCore.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "reference" / "recipe.md"
HEAD = """# Recipes

Every key of a recipe, its default and what it means; written from the docstrings, a test holds them together. What is
not given takes its default; what has none must be given. Nested keys are written with dots on the command line
(`--set data.split.seed=3`), and as mappings in the file. `base: FILE` (or a list) reads another recipe first, which the
rest of the file changes. The parts of a network are in [networks](networks.md): `model` is the name of a preset, or a
mapping with `preset` and what differs from it.
"""


def described(kind: type) -> dict[str, str]:
    """What the docstring of a class says of its attributes."""
    text = inspect.getdoc(kind).partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.M)
    return {name: " ".join(words.split()) for name, words in found}


def nested(kind: object) -> type | None:
    """The dataclass that a field holds, if it does."""
    options = [kind, *typing.get_args(kind)]
    return next((item for item in options if dataclasses.is_dataclass(item) and item is not NetworkConfig), None)


def default(item: dataclasses.Field) -> str:
    if item.default is not dataclasses.MISSING:
        return f"`{json.dumps(encode(item.default))}`"
    return f"`{json.dumps(encode(item.default_factory()))}`" if item.default_factory is not dataclasses.MISSING else ""


def choices(kind: object) -> str:
    options = [item for item in (kind, *typing.get_args(kind)) if typing.get_origin(item) is typing.Literal]
    return f" One of {', '.join(map(str, typing.get_args(options[0])))}." if options else ""


def table(kind: type) -> list[str]:
    words, lines = described(kind), ["| key | default | what |", "|---|---|---|"]
    for item in dataclasses.fields(kind):
        inner = nested(typing.get_type_hints(kind)[item.name])
        value = "" if inner is not None and item.default is dataclasses.MISSING else default(item)
        text = re.sub(r"\bNone\b", "null", words[item.name]) + choices(typing.get_type_hints(kind)[item.name])
        lines.append(f"| `{item.name}` | {value} | {text} |")
    return lines


def sections(kind: type, keys: str = "") -> list[str]:
    parts = [f"## `{keys}`" if keys else "## Top", "", *table(kind), ""]
    for item in dataclasses.fields(kind):
        inner = nested(typing.get_type_hints(kind)[item.name])
        if inner is not None:
            parts += sections(inner, f"{keys}.{item.name}".strip("."))
    return parts


def reference() -> str:
    return (
        "\n".join([HEAD, *(line.rstrip("\n") for line in sections(Recipe))]).replace("`\n|", "`\n\n|").rstrip() + "\n"
    )


def test_the_reference_is_what_the_classes_say():
    script = Path(__file__).relative_to(ROOT)
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), f"python {script} writes it anew"


def test_every_key_is_explained():
    text = reference()
    for keys in ("data.split", "preprocessing", "hyper", "card"):
        assert f"## `{keys}`\n" in text
    for name in ("schema_version", "pairs_per_epoch", "dice_weight", "amsgrad", "crop_labels", "weighting"):
        assert re.search(rf"^\| `{name}` \| .* \| .?\w.*\. ?.*\|$", text, re.M)
    assert "One of none, center, rigid, affine." in text


if __name__ == "__main__":
    DOCUMENT.write_text(reference(), encoding="utf-8")

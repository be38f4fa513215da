"""docs/reference/command-line.md says what `--help` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from SPRCore.cli import main

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "command-line.md"
VERBS = (
    "register",
    "warp",
    "evaluate",
    "models",
    "prepare",
    "train",
    "tune",
    "benchmark",
    "sweep",
    "report",
    "explore",
    "demo",
)
ACTIONS = tuple(f"models {action}" for action in ("list", "show", "import", "export", "verify", "remove"))


def words(text: str) -> list[str]:
    """Words and options of a help text; its frame, bullets and line breaks depend on the terminal."""
    return re.findall(r"(?:--?)?\w[\w-]*", text)


@pytest.mark.parametrize("verb", ["", *VERBS, *ACTIONS])
def test_the_reference_is_the_help(verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*verb.split(), "--help"]) == 0
    title = f"# `{' '.join(['spr', verb]).strip()}`"
    section = DOCUMENT.read_text(encoding="utf-8").split(title + "\n")[1]
    assert words(re.search(r"```text\n(.*?)```", section, re.S)[1]) == words(capsys.readouterr().out)


def test_the_reference_lists_every_verb_and_no_other():
    assert re.findall(r"^##+ `spr ([\w ]+)`$", DOCUMENT.read_text(encoding="utf-8"), re.M) == [
        *VERBS[:4],
        *ACTIONS,
        *VERBS[4:],
    ]

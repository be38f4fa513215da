"""Parses the arguments of `spr` into the dataclass of a command; errors are one line.

tyro has no public hook for parse errors (`tyro._errors` is private and unstable), so its printed error is reduced.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import io
import re
from pathlib import Path
from typing import Protocol, cast

from SPRCore.errors import InputError

COMMANDS = (
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

_FRAME = re.compile(r"[\u2500-\u257f]")
_NOT_A_NUMBER = re.compile(r"Error parsing (\S+): no type matching .* from \['(.*?)'\]")


class Command(Protocol):
    """A command of `spr`."""

    def run(self, command: str) -> None:
        """Run; `command` is the whole command line, for reports."""
        ...


def parse(arguments: list[str]) -> Command | None:
    """Parse the arguments that follow `spr`.

    Returns:
        The command, or None where help or the version was printed.

    Raises:
        InputError: The arguments are wrong.
    """
    import tyro

    import SPRCore

    if arguments == ["--version"]:
        from SPRCore.cli.console import print_line

        print_line(f"spr {SPRCore.__version__}")
        return None
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return cast(
                Command,
                tyro.extras.subcommand_cli_from_dict(
                    {name: _kind(name, arguments) for name in COMMANDS},
                    prog="spr",
                    description=SPRCore.__doc__.split("\n\n", 1)[0],
                    args=arguments or ["--help"],
                    config=(tyro.conf.FlagCreatePairsOff,),
                ),
            )
    except SystemExit as end:
        if not end.code:
            return None
        raise _usage_error(complaint.getvalue(), arguments) from None


def _kind(name: str, arguments: list[str]) -> type:
    """Return the class of a command; of those that were not named a stand-in, since some take seconds to import."""
    if arguments[:1] == [name]:
        return getattr(importlib.import_module(f"SPRCore.cli.{name}"), name.capitalize())
    kind = dataclasses.make_dataclass(name.capitalize(), [])
    kind.__doc__ = _summary(name)
    return kind


def _summary(name: str) -> str:
    """Return the docstring of the class of a command without importing its module."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name.capitalize()]
    return ast.get_docstring(kinds[0]) or ""


def _usage_error(complaint: str, arguments: list[str]) -> InputError:
    verb = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    help_line = f"see spr {verb} --help" if verb in COMMANDS else "see spr --help"
    return InputError(f"usage: {_one_line(complaint)}; {help_line}")


def _one_line(complaint: str) -> str:
    """Remove the frame, the help and the line breaks of a message of tyro."""
    lines = [_FRAME.sub(" ", line).rstrip() for line in complaint.splitlines()]
    # The first line is a title in the frame; descriptions of options are indented deeper than their names.
    kept = [line.strip() for line in lines[1:] if line.strip() and len(line) - len(line.lstrip()) < 10]
    text = re.split(r"For full helptext|Argument helptext|Got errors:", " ".join(kept))[0].strip(" .")
    text = re.sub(r"(?<=\w) (?=(Unrecognized|Available|Expected|Similar|Perhaps) )", "; ", text)
    match = _NOT_A_NUMBER.search(text)
    if match:
        return f"{match[1]}: got {match[2]!r}; expected a number"
    return re.sub(r"Missing from spr \w+:", "missing:", text)

"""The command line `spr`: one file for each verb."""

from __future__ import annotations

from SPRCore.cli.app import main

__all__ = ["main"]

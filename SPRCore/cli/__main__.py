"""Run the command line as `python -m SPRCore.cli`."""

from __future__ import annotations

import sys

from SPRCore.cli.app import main

sys.exit(main())

"""The numbers of the benchmark of the Explorer as Markdown, beside what was asked for."""

from __future__ import annotations


def markdown(report):
    """Write the report as one page."""
    import json

    return json.dumps(report["row"], indent=1)

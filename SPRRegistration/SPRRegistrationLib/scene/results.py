"""Puts the results of the worker into the scene: deformations, and the uncertainty of what is shown."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from SPRRegistrationLib import map_contrast
from SPRRegistrationLib.scene import charts, display, outputs, uncertainty


def show(parameters: Any, message: Any, arrays: dict, is_new_kind: bool, report: dict | None) -> None:
    """Show a deformation.

    Args:
        parameters: The parameters of the registration.
        message: The `ReplyMessage` of the worker.
        arrays: Its arrays, each with its affine.
        is_new_kind: Whether the views have to change, not the voxels alone.
        report: Report of a committed result; None for other ones.
    """
    outputs.ensure(parameters)
    if not message.exact:
        display.set_detail(parameters, fine=False)
    if report is not None:
        outputs.show_result(parameters, *(arrays[name] for name in ("displacement", "weight", "inverse")))
        parameters.quality = json.dumps(vars(message.quality))
        parameters.report = json.dumps(report)
        charts.update_tables(parameters)
    else:
        weight = arrays["weight"] if message.weight_known else None
        outputs.show_preview(parameters, arrays["displacement"], weight, message.exact)
        charts.update_tables(parameters, with_segments=False)
    outputs.note_contrast(parameters, map_contrast.is_possible(message))
    if is_new_kind:
        display.show(parameters)
    display.set_detail(parameters, fine=message.exact)


def show_uncertainty(parameters: Any, shown: Any, message: Any, arrays: dict) -> Any:
    """Show the uncertainty of the deformation that is shown, and add that of a committed one to the report.

    Args:
        parameters: The parameters of the registration.
        shown: The `ReplyMessage` of the deformation.
        message: The `UncertaintyMessage`.
        arrays: Its array, with its affine.

    Returns:
        `shown`, with the uncertainty among its metrics if it was committed.
    """
    uncertainty.show(parameters, *arrays["uncertainty"], message.metrics["uncertainty_mm"]["p95"], message.exact)
    if message.fine and shown.metrics.get("after"):
        metrics = shown.metrics | {"after": shown.metrics["after"] | message.metrics}
        shown = dataclasses.replace(shown, metrics=metrics)
        parameters.report = json.dumps(json.loads(parameters.report) | {"metrics": metrics})
    charts.update_tables(parameters, with_segments=message.exact)
    display.show(parameters)
    return shown

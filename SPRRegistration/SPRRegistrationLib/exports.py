"""What can be saved of a registration, and in which kinds of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer

from SPRCore.errors import OutputError

from .i18n import tr as _


def formats() -> list[tuple[str, str]]:
    """Return what the user chooses from, each with the ending of the file."""
    return [
        (_("Transform of Slicer and ITK (.h5)"), ".h5"),
        (_("Displacement image (.nrrd)"), ".nrrd"),
        (_("Displacement image, NIfTI (.nii.gz)"), ".nii.gz"),
    ]


def directions() -> list[tuple[str, str]]:
    """Return what the user chooses from, each with the field that holds it."""
    return [
        (_("Moving image onto the fixed image"), "displacementTransform"),
        (_("Fixed image onto the moving image (inverse)"), "inverseTransform"),
    ]


def report_text(parameters: Any) -> str:
    """Return the report of the last exact result, to be written to a file; empty if there is none."""
    return json.dumps(json.loads(parameters.report), indent=2) + "\n" if parameters.report else ""


def write_node(node: slicer.vtkMRMLStorableNode, path: Path) -> None:
    """Write a node to a file whose ending says the kind; what the node knows of its own file stays as it was.

    Args:
        node: An image or a transform.
        path: The file.

    Raises:
        OutputError: It was not written.
    """
    storage = node.CreateDefaultStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node) or not path.is_file():
        raise OutputError(path.name, got="a file that could not be written", remedy="look whether the disk is full")

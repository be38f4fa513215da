"""What can be saved of a registration, and in which kinds of file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import slicer

from SPRCore.errors import OutputError
from SPRRegistrationLib.i18n import tr as _


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


def file_name(parameters: Any, what: str, ending: str) -> str:
    """Return a name for a file that says which images it is of, in letters that every computer takes.

    Args:
        parameters: The parameters of a registration, with both images.
        what: What it holds, such as "deformed".
        ending: Of the file, such as ".nii.gz".
    """
    names = [volume.GetName() for volume in (parameters.movingVolume, parameters.fixedVolume) if volume is not None]
    parts = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] for name in names]
    pair = "-on-".join(part for part in parts if part)
    return f"{pair}-{what}{ending}" if pair else f"{what}{ending}"


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

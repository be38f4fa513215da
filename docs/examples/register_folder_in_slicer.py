"""Register all pairs of a folder in 3D Slicer, and save deformations, deformed images and reports.

    Slicer --no-splash --no-main-window --python-script register_folder_in_slicer.py PAIRS RESULTS [FIELD=VALUE ...]

PAIRS has a folder for each pair, with the files fixed.* and moving.* (NIfTI, NRRD or MetaImage), and, if wanted,
moving_labels.*, a label map that is deformed in the same way. RESULTS gets a folder of the same name for each pair.
FIELD is a field of the registration, such as anatomy=lung, alignment=rigid or device=cpu. Pairs that have a report
already are left out, so that an interrupted run can be continued. The program ends with code 1 if a pair failed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import slicer

from SPRRegistration import SPRRegistrationLogic

logger = logging.getLogger("register_folder")

REPORT = "report.json"


def the_file(folder: Path, name: str) -> Path | None:
    """Return the file of a folder whose name begins with `name.`; None for none."""
    return next(iter(sorted(folder.glob(f"{name}.*"))), None)


def register(folder: Path, out: Path, settings: dict[str, str]) -> None:
    """Register one pair; the report is written last."""
    from SPRRegistrationLib.scene.exports import report_text, write_node

    logic = SPRRegistrationLogic()
    fixed, moving = (slicer.util.loadVolume(str(the_file(folder, name))) for name in ("fixed", "moving"))
    made = logic.registerVolumes(fixed, moving, timeout=3600, **settings)
    out.mkdir(parents=True, exist_ok=True)
    write_node(made.displacementTransform, out / "deformation.h5")
    write_node(made.inverseTransform, out / "inverse.h5")
    write_node(made.deformedVolume, out / "deformed.nrrd")
    labels = the_file(folder, "moving_labels")
    if labels is not None:
        node = slicer.util.loadLabelVolume(str(labels))
        write_node(logic.warp(node, made.displacementTransform, fixed), out / "deformed_labels.nrrd")
    (out / REPORT).write_text(report_text(made), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Register all pairs; return the exit code."""
    pairs, results = Path(arguments[0]), Path(arguments[1])
    settings = dict(argument.split("=", 1) for argument in arguments[2:])
    failures = 0
    for folder in sorted(path for path in pairs.iterdir() if path.is_dir()):
        out = results / folder.name
        if (out / REPORT).is_file():
            continue
        if None in (the_file(folder, "fixed"), the_file(folder, "moving")):
            logger.warning("%s: no fixed.* or no moving.*", folder.name)
            continue
        try:
            register(folder, out, settings)
        except Exception:
            failures += 1
            logger.exception("%s: failed", folder.name)
        else:
            logger.info("%s: done", folder.name)
        slicer.mrmlScene.Clear(0)
    return 1 if failures else 0


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))

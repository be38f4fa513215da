"""Journal of a run: JSON lines, TensorBoard if installed, pictures."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SPRCore.config import finite
from SPRCore.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger("SPRCore")

METRICS, BOARD, PICTURES = "metrics.jsonl", "tensorboard", "pictures"


class Journal:
    """Writes the journal of a run.

    Args:
        folder: Folder of the run.
        step: Step from which the run resumes; lines of later steps are removed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._board = _board(folder / BOARD, step)
        rows = [row for row in read_rows(folder) if row["step"] <= step]
        with atomic_path(folder / METRICS) as temporary:
            temporary.write_text("".join(f"{json.dumps(finite(row))}\n" for row in rows), encoding="utf-8")

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Write a line of a kind, "train" or "validation", with values by name, and the values to TensorBoard."""
        with (self._folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite({"step": step, "kind": kind, **values})) + "\n")
        for name, value in values.items():
            if self._board is not None and isinstance(value, float) and math.isfinite(value):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, name: str, step: int, figure: Figure) -> None:
        """Write a picture to its folder, by its name without suffix, and to TensorBoard."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        with atomic_path(self._folder / PICTURES / f"{name}.png") as temporary:
            figure.savefig(temporary, facecolor="white")
        if self._board is not None:
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            self._board.add_image(name, np.asarray(canvas.buffer_rgba())[..., :3], step, dataformats="HWC")

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run as dictionaries; a line cut off by a killed process is skipped."""
    path = folder / METRICS
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("TensorBoard is not installed (pip install 'SPRCore[train]'): curves go to %s alone.", METRICS)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)

"""Cancelling of an installation: Slicer itself offers no way to end pip."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _


class Cancellation:
    """A dialog with a button that ends the processes that Slicer starts while the context is entered.

    `slicer.util.launchConsoleProcess`, which starts pip in all versions, is replaced meanwhile by a function that
    notes the process. The dialog is shown with the first process, so that it lies over the one that Slicer 5.12 shows.

    Attributes:
        is_requested: Whether the user has pressed the button.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._processes: list[subprocess.Popen] = []
        self._dialog: qt.QProgressDialog | None = None

    def __enter__(self) -> Cancellation:
        self._launch = slicer.util.launchConsoleProcess
        slicer.util.launchConsoleProcess = self._launched
        return self

    def __exit__(self, *error: object) -> None:
        slicer.util.launchConsoleProcess = self._launch
        if self._dialog is not None:
            self._dialog.hide()  # `close` would cancel
            self._dialog.deleteLater()

    def cancel(self) -> None:
        """End the processes with all of their children."""
        self.is_requested = True
        for process in self._processes:
            if process.poll() is None:
                end_tree(process.pid)

    def _launched(self, *arguments: Any, **options: Any) -> subprocess.Popen:
        process = self._launch(*arguments, **options)
        self._processes.append(process)
        if self.is_requested:  # one that follows another
            end_tree(process.pid)
        elif self._dialog is None:
            self._show()
        return process

    def _show(self) -> None:
        self._dialog = dialog = qt.QProgressDialog(slicer.util.mainWindow())
        dialog.windowTitle = _("SPR Registration")
        dialog.labelText = _("The software is being downloaded and installed. This takes some minutes.")
        dialog.setCancelButtonText(_("Cancel"))
        dialog.maximum = 0  # of unknown duration
        dialog.minimumDuration = 0
        dialog.windowModality = qt.Qt.ApplicationModal
        dialog.connect("canceled()", self.cancel)
        dialog.show()


def end_tree(pid: int) -> None:
    """End a process and its descendants: a launcher, such as `PythonSlicer`, leaves its child running."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/PID", str(pid), "/T", "/F"], capture_output=True, check=False)
        return
    for each in (pid, *descendants(pid)):
        try:
            os.kill(each, signal.SIGTERM)
        except ProcessLookupError:
            continue  # it has ended


def descendants(pid: int) -> list[int]:
    """Return the descendants of a process, on Linux and macOS."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, []))
    for each in found:  # grows while it is read
        found += children.get(each, [])
    return found

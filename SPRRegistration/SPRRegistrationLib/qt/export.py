"""Section “Export”: the transform in the formats of other programs, and the report."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from SPRCore.errors import OutputError
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import uncertainty
from SPRRegistrationLib.scene.exports import directions, formats, write_node

logger = logging.getLogger("SPRRegistration")


class ExportSection(Section):
    """Saves results to files."""

    def build(self) -> None:
        """Fill the lists and connect the buttons."""
        for text, _ending in formats():
            self.ui.exportFormatSelector.addItem(text)
        for text, _field in directions():
            self.ui.exportDirectionSelector.addItem(text)
        self.ui.exportTransformButton.connect("clicked()", self.save_transform)
        self.ui.exportUncertaintyButton.connect("clicked()", self.save_uncertainty)
        self.ui.exportReportButton.connect("clicked()", self.save_report)

    def refresh(self) -> None:
        """Enable what can be saved."""
        self.ui.exportTransformButton.enabled = self.parameters.displacementTransform is not None
        self.ui.exportUncertaintyButton.enabled = uncertainty.has_map(self.parameters)
        self.ui.exportReportButton.enabled = bool(self.parameters.report)

    def save_transform(self) -> None:
        """Ask where, and save the transform."""
        _text, ending = formats()[self.ui.exportFormatSelector.currentIndex]
        _text, field = directions()[self.ui.exportDirectionSelector.currentIndex]
        node = getattr(self.parameters, field)
        if node is None:
            slicer.util.infoDisplay(_("There is no inverse yet: press Apply first."), _("SPR Registration"))
            return
        self._save(node, _("Save the transform"), ending)

    def save_uncertainty(self) -> None:
        """Ask where, and save the uncertainty."""
        self._save(self.parameters.uncertaintyVolume, _("Save the uncertainty"), ".nii.gz")

    def _save(self, node: slicer.vtkMRMLStorableNode, title: str, ending: str) -> None:
        path = self._ask(title, f"{node.GetName()}{ending}", f"*{ending}")
        if path:
            path = path if path.endswith(ending) else path + ending
            try:
                write_node(node, Path(path))  # the file of the node in the scene stays
            except OutputError:
                logger.exception("the result was not saved")
                self._report(False, path)
            else:
                self._report(True, path)

    def save_report(self) -> None:
        """Ask where, and save the report."""
        path = self._ask(_("Save the report"), "report.json", "*.json")
        if path:
            try:
                text = json.dumps(json.loads(self.parameters.report), indent=2)
                Path(path).write_text(text + "\n", encoding="utf-8")
            except OSError:
                logger.exception("the report was not saved")
                self._report(False, path)
            else:
                self._report(True, path)

    def _ask(self, title: str, name: str, pattern: str) -> str:
        return qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, pattern)

    def _report(self, saved: bool, path: str) -> None:
        if saved:
            slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 5000)
        else:
            text = _(
                "{path} was not saved. Check that the folder exists and is writable, and that the disk is not full."
            )
            slicer.util.errorDisplay(text.format(path=path), _("SPR Registration"))

"""Part of “Regularization”: presets saved by the user, kept in Slicer's settings for every scene."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import presets
from SPRRegistrationLib.qt.section import Section

KEY = "SPRRegistration/Presets"
"""Key in Slicer's settings."""


class PresetsSection(Section):
    """Saves, chooses and deletes presets."""

    def build(self) -> None:
        """Connect the widgets."""
        self._listed: list[presets.Preset] = []
        self.ui.presetSelector.connect("activated(int)", self._take)
        self.ui.presetSelector.connect("editTextChanged(QString)", lambda text: self._enable())
        self.ui.savePresetButton.connect("clicked()", self.save)
        self.ui.deletePresetButton.connect("clicked()", self.delete)
        self.ui.presetSelector.lineEdit().placeholderText = _("New name")
        self._list("")

    def attach(self) -> None:
        """List the presets: another window may have saved one."""
        self._list(presets.matching(self.parameters, self._saved()))

    def refresh(self) -> None:
        """Enable what is possible."""
        self._enable()

    def save(self) -> None:
        """Save the current setting under the name that is typed or chosen."""
        name = self._name()
        if self.parameters is not None and name:
            self._keep(presets.with_preset(self._saved(), presets.preset_of(self.parameters, name)), name)
            slicer.util.showStatusMessage(_("Saved the preset {name}.").format(name=name), 3000)

    def delete(self) -> None:
        """Delete the preset that is typed or chosen; the registration keeps its setting."""
        self._keep(presets.without(self._saved(), self._name()), "")

    def _take(self, index: int) -> None:
        if self.controller is not None and 0 <= index < len(self._listed):
            presets.take_preset(self.parameters, self._listed[index])
            self.controller.changed()

    def _name(self) -> str:
        return presets.clean_name(self.ui.presetSelector.currentText)

    def _saved(self) -> list[presets.Preset]:
        return presets.from_text(str(slicer.app.userSettings().value(KEY) or ""))

    def _keep(self, saved: list[presets.Preset], chosen: str) -> None:
        slicer.app.userSettings().setValue(KEY, presets.to_text(saved))
        self._list(chosen)

    def _list(self, chosen: str) -> None:
        """Show the names of the presets, and one of them, or none, as chosen."""
        self._listed, box = self._saved(), self.ui.presetSelector
        box.clear()
        for preset in self._listed:
            box.addItem(preset.name)
        box.currentIndex = next((row for row, preset in enumerate(self._listed) if preset.name == chosen), -1)
        if not chosen:
            box.clearEditText()
        self._enable()

    def _enable(self) -> None:
        name = self._name()
        self.ui.savePresetButton.enabled = bool(name)
        self.ui.deletePresetButton.enabled = any(preset.name == name for preset in self._listed)

"""Apply and Cancel, side by side: what is missing, what is being done, and what to do after a failure."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.qt import install
from SPRRegistrationLib.qt.section import Section


class RunSection(Section):
    """The buttons that compute the exact result and cancel it."""

    def build(self) -> None:
        """Connect the buttons."""
        self._problem = ""
        self.ui.applyButton.connect("clicked()", lambda: self.call_installed("apply"))
        self.ui.cancelButton.connect("clicked()", lambda: self.call("cancel"))
        self.ui.offlineButton.connect("clicked()", self.install_from_folder)
        self.ui.restartButton.connect("clicked()", lambda: self.call_installed("restart"))
        self.ui.offlineButton.visible = False

    def attach(self) -> None:
        """Remove the message about another registration."""
        self._problem = ""

    def call_installed(self, method: str) -> None:
        """Call a method of the controller that needs a worker, after an installation if the user agrees to it."""
        if self.ensure_installed():
            self.call(method)
        self.panel.refresh()

    def ensure_installed(self) -> bool:
        """Install what is missing, if the user agrees; return whether this registration can continue."""
        if self.panel.is_installing:
            return False
        wanted, parameters = self.panel.missing(), self.parameters
        self._problem = ""
        if not wanted:
            return True
        if not slicer.util.confirmOkCancelDisplay(install.question(wanted), _("SPR Registration")):
            self._problem = _("Nothing was installed. Press Apply to be asked again, or install from a folder.")
        else:
            self._do_install(lambda: install.install(wanted))
        self.ui.offlineButton.visible = bool(self._problem)
        return not self._problem and self.parameters is parameters  # the scene may have been closed meanwhile

    def install_from_folder(self) -> None:
        """Install from a folder of wheels."""
        folder = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Folder with the wheels for this computer")
        )
        if folder:
            wanted = self.panel.missing()
            self._problem = ""
            self._do_install(lambda: install.install_from(folder, wanted))
            self.ui.offlineButton.visible = bool(self._problem)
            self.panel.refresh()

    def refresh(self) -> None:
        """Show on the button what it does or what is missing, and below it what is being done."""
        state, installing = panel_state.run_state(self.controller), self.panel.is_installing
        self.ui.applyButton.text = state.missing or _("&Apply")
        self.ui.applyButton.enabled = state.can_apply
        self.ui.cancelButton.enabled = state.is_busy
        self.ui.restartButton.visible = state.has_failed
        said = _("The software is being installed. This takes some minutes.") if installing else state.status
        self.ui.statusLabel.text = self._problem or said
        bar = self.ui.progressBar
        bar.visible = state.is_busy or installing
        if bar.visible:
            bar.maximum = 0 if state.progress is None else 100  # 0: of unknown duration
            bar.value = 0 if state.progress is None else round(100 * state.progress)

    def _do_install(self, work: Callable[[], object]) -> None:
        try:
            with self.panel.installing():
                work()
        except install.InstallError as error:
            self._problem = str(error)
            if not error.was_shown:
                slicer.util.errorDisplay(self._problem, _("SPR Registration"))

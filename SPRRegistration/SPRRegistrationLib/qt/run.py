"""Apply and Cancel, side by side: what is missing, what is being done, and the way back from what failed."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import messages
from SPRRegistrationLib.parameters import setting_of
from SPRRegistrationLib.qt import install
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.session import Stage


class Run(Section):
    """The buttons that compute the exact result and give it up."""

    def build(self) -> None:
        """Connect the buttons."""
        self._problem = ""
        self.ui.applyButton.connect("clicked()", self.apply)
        self.ui.cancelButton.connect("clicked()", self.cancel)
        self.ui.offlineButton.connect("clicked()", self.install_from_folder)
        self.ui.restartButton.connect("clicked()", self.restart)
        self.ui.offlineButton.visible = False

    def attach(self) -> None:
        """Forget what was said about another registration."""
        self._problem = ""

    def is_busy(self) -> bool:
        """Whether something runs that Cancel would end."""
        return self.session is not None and self.session.is_busy

    def is_committing(self) -> bool:
        """Whether an exact result is being computed, so that Apply has nothing to ask for."""
        return self.session is not None and self.session.stage is Stage.COMMITTING

    def cancel(self) -> None:
        """Give up what is being computed; nothing happens where nothing is."""
        if self.is_busy():
            self.session.cancel()
        self.panel.refresh()

    def apply(self) -> None:
        """Compute the exact result; nothing else happens while that is being done."""
        session = None if self.is_committing() else self.panel.ready_session()
        if session is not None:
            session.commit(setting_of(self.parameters))
        self.panel.refresh()

    def ensure_installed(self) -> bool:
        """Install what is missing, if the user agrees; return whether this registration can go on."""
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

    def restart(self) -> None:
        """Start anew after a failure."""
        self.panel.end_session()
        self.apply()

    def refresh(self) -> None:
        """Say on the button what it does or what is missing, and below what is going on."""
        busy, session, button = self.is_busy(), self.session, self.ui.applyButton
        why_not = messages.why_not_apply(self.parameters)
        failed = session is not None and session.stage is Stage.FAILED
        button.text = why_not.rstrip(".") or _("&Apply")
        button.enabled = not why_not and not self.is_committing()
        self.ui.cancelButton.enabled = busy
        self.ui.restartButton.visible = failed and not why_not
        said = "" if session is None else session.words
        if self.panel.is_installing:
            said = _("The software is being installed. This takes some minutes.")
        self.ui.statusLabel.text = self._problem or ("" if why_not and not busy else said)
        self._show_progress(busy)

    def _show_progress(self, busy: bool) -> None:
        bar = self.ui.progressBar
        bar.visible = busy or self.panel.is_installing
        if bar.visible:
            part = self.session.progress if busy else None
            bar.maximum = 0 if part is None else 100  # 0: at work, for nobody knows how long
            bar.value = 0 if part is None else round(100 * part)

    def _do_install(self, work: Callable[[], object]) -> None:
        try:
            with self.panel.installing():
                work()
        except install.InstallError as error:
            self._problem = str(error)
            if not error.is_told:
                slicer.util.errorDisplay(self._problem, _("SPR Registration"))

"""Section “Task model”: the list of methods, the card of each, sample data and import."""

from __future__ import annotations

import html

import qt
import slicer
from slicer.i18n import tr as _

from SPRCore.errors import SPRError
from SPRRegistrationLib import models
from SPRRegistrationLib.parameters import INSTANCE
from SPRRegistrationLib.qt.section import Section, words_of


class TaskModelSection(Section):
    """Chooses how the deformation is computed."""

    def build(self) -> None:
        """Connect the widgets."""
        self._listed: list[models.TaskModel] = []
        self._filling = False
        self._shown: tuple | None = None
        self.ui.modelSelector.connect("currentIndexChanged(int)", self._choose)
        self.ui.modelSearchBox.connect("textChanged(QString)", lambda text: self._list())
        self.ui.sampleButton.connect("clicked()", self.load_sample)
        self.ui.importButton.connect("clicked()", self.import_model)

    def attach(self) -> None:
        """Show the method of another registration."""
        self._shown = None
        self._list()

    def refresh(self) -> None:
        """Show the chosen method and its card."""
        model = self.controller.model
        state = (model, self.parameters.parameterNode.GetID())
        if self._shown == state:
            return
        self._shown = state
        self._list()
        rows = "".join(
            f"<tr><td><b>{html.escape(name)}</b>&nbsp;&nbsp;</td><td>{html.escape(text)}</td></tr>"
            for name, text in models.card_lines(model)
        )
        self.ui.cardLabel.text = f"<table>{rows}</table>"
        self.ui.priorSelector.enabled = model.name == INSTANCE
        self.ui.refineSpinBox.enabled = model.name != INSTANCE

    def load_sample(self) -> None:
        """Load the sample data and show them."""
        with slicer.util.tryWithErrorDisplay(_("The sample data could not be created."), waitCursor=True):
            nodes = self.controller.load_sample()
            slicer.util.setSliceViewerLayers(
                background=nodes["fixedVolume"], foreground=nodes["movingVolume"], foregroundOpacity=0.5, fit=True
            )

    def import_model(self) -> None:
        """Ask for a file and add it to the list."""
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Import a task model"), "", _("Task models (*.sprmodel.safetensors)")
        )
        if not path:
            return
        try:
            self.controller.import_model(path)
        except (SPRError, OSError) as error:
            text = _("The task model was not imported. {why}").format(why=words_of(error))
            slicer.util.errorDisplay(text, _("SPR Registration"))

    def _list(self) -> None:
        """List the methods that match the search, and the chosen one."""
        if self.controller is None:
            return
        chosen = self.controller.model
        found = models.search(self.controller.models, self.ui.modelSearchBox.text)
        self._listed = found if chosen in found else [chosen, *found]
        self._filling = True
        self.ui.modelSelector.clear()
        for model in self._listed:
            self.ui.modelSelector.addItem(model.title)
        self.ui.modelSelector.currentIndex = self._listed.index(chosen)
        self._filling = False

    def _choose(self, index: int) -> None:
        if not self._filling and 0 <= index < len(self._listed):
            self.call("take_model", self._listed[index])

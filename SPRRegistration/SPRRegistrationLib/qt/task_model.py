"""Section “Task model”: the list of methods, what each says of itself, sample data and import."""

from __future__ import annotations

import html

import qt
import slicer
from slicer.i18n import tr as _

from SPRCore.errors import SPRError
from SPRRegistrationLib import models
from SPRRegistrationLib.parameters import INSTANCE
from SPRRegistrationLib.qt.section import Section, words_of
from SPRRegistrationLib.scene import samples
from SPRRegistrationLib.sliders import take_model


class Model(Section):
    """Chooses how the deformation is found."""

    def build(self) -> None:
        """Connect the widgets; read what models there are."""
        self._models = models.find_models()
        self._listed: list[models.TaskModel] = []
        self._filling = False
        self._shown = None
        self.ui.modelSelector.connect("currentIndexChanged(int)", self._choose)
        self.ui.modelSearchBox.connect("textChanged(QString)", lambda text: self._list())
        self.ui.sampleButton.connect("clicked()", self.load_sample)
        self.ui.importButton.connect("clicked()", self.import_model)

    def attach(self) -> None:
        """Show the method of another registration."""
        self._shown = None
        self._list()

    def chosen(self) -> models.TaskModel:
        """Return the method that is chosen; one that is not there any more has no card."""
        name = INSTANCE if self.parameters is None else self.parameters.method
        found = [model for model in self._models if model.name == name]
        return found[0] if found else models.TaskModel(name, None, {}, _("This task model is not installed here."))

    def refresh(self) -> None:
        """Show the method that is chosen, and its card."""
        model = self.chosen()
        if self._shown == (model, self.parameters.parameterNode.GetID()):
            return
        self._shown = (model, self.parameters.parameterNode.GetID())
        if model not in self._listed:
            self._list()
        self._filling = True
        self.ui.modelSelector.currentIndex = self._listed.index(model)
        self._filling = False
        rows = "".join(
            f"<tr><td><b>{html.escape(name)}</b>&nbsp;&nbsp;</td><td>{html.escape(text)}</td></tr>"
            for name, text in models.card_lines(model)
        )
        self.ui.cardLabel.text = f"<table>{rows}</table>"
        self.ui.priorSelector.enabled = model.name == INSTANCE
        self.ui.refineSpinBox.enabled = model.name != INSTANCE

    def propose(self, about: str) -> None:
        """Choose the task model that is made for images of which something is known; a choice of the user stays."""
        model = models.best_match(self._models, about)
        if self.parameters.method == INSTANCE and model.name != INSTANCE:
            self._take(model)

    def load_sample(self) -> None:
        """Load the sample data and choose them."""
        with slicer.util.tryWithErrorDisplay(_("The sample data could not be made."), waitCursor=True):
            nodes = samples.load()
            with slicer.util.NodeModify(self.parameters):
                for field, node in nodes.items():
                    setattr(self.parameters, field, node)
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
            model = models.import_model(path)
        except (SPRError, OSError) as error:
            slicer.util.errorDisplay(
                _("The task model was not imported. {why}").format(why=words_of(error)), _("SPR Registration")
            )
            return
        self._models = models.find_models()
        self._list()
        self._take(model)

    def _list(self) -> None:
        """List the methods that fit the search, and the one that is chosen."""
        chosen = self.chosen()
        found = models.search(self._models, self.ui.modelSearchBox.text)
        self._listed = found if chosen in found else [chosen, *found]
        self._filling = True
        self.ui.modelSelector.clear()
        for model in self._listed:
            self.ui.modelSelector.addItem(model.title)
        self.ui.modelSelector.currentIndex = self._listed.index(chosen)
        self._filling = False

    def _choose(self, index: int) -> None:
        if not self._filling and self.parameters is not None and 0 <= index < len(self._listed):
            self._take(self._listed[index])

    def _take(self, model: models.TaskModel) -> None:
        take_model(self.parameters, model)

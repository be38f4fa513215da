"""Section “Inputs”: the two images, what there is to measure with, and the check of the pair."""

from __future__ import annotations

import slicer

from SPRRegistrationLib import checks, messages
from SPRRegistrationLib.parameters import Alignment
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import inputs

SIDES = ("Volume", "Labels", "Landmarks")


class Inputs(Section):
    """Chooses the images and says whether they go together."""

    def build(self) -> None:
        """Connect the widgets."""
        self._checked = self._known = None
        self.ui.swapButton.connect("clicked()", self.swap)
        self.ui.alignRigidButton.connect("clicked()", lambda: self.align(Alignment.RIGID))
        self.ui.alignAffineButton.connect("clicked()", lambda: self.align(Alignment.AFFINE))

    def attach(self) -> None:
        """Choose the only two images there are."""
        self._checked, self._known = None, self._pair()
        self.choose_only_pair()

    def choose_only_pair(self) -> None:
        """Choose the images if there are exactly two and nothing is chosen."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        images = [volume for volume in volumes if not volume.IsA("vtkMRMLLabelMapVolumeNode")]
        nothing = self.parameters.fixedVolume is None and self.parameters.movingVolume is None
        if nothing and len(images) == 2:
            self.parameters.fixedVolume, self.parameters.movingVolume = images

    def swap(self) -> None:
        """Exchange fixed and moving."""
        with slicer.util.NodeModify(self.parameters):
            for name in SIDES:
                fixed, moving = getattr(self.parameters, f"fixed{name}"), getattr(self.parameters, f"moving{name}")
                setattr(self.parameters, f"fixed{name}", moving)
                setattr(self.parameters, f"moving{name}", fixed)

    def align(self, alignment: Alignment) -> None:
        """Align before the deformation."""
        self.parameters.alignment = alignment

    def refresh(self) -> None:
        """Check the pair, if it is another one, or turned."""
        volumes = (self.parameters.fixedVolume, self.parameters.movingVolume)
        state = (
            *((volume and volume.GetID(), volume and volume.GetMTime()) for volume in volumes),
            *inputs.chosen(self.parameters, (*inputs.OPENING, *inputs.MEASURED)),
            self.session and self.session.opened,
        )
        if self._pair() != self._known and None not in self._pair():
            self._known = self._pair()
            self.panel.propose(inputs.words_about(self.parameters))
        if state != self._checked:
            self._checked = state
            self._check()

    def _pair(self) -> tuple[str | None, ...]:
        """Which images are chosen."""
        volumes = (self.parameters.fixedVolume, self.parameters.movingVolume)
        return tuple(volume and volume.GetID() for volume in volumes)

    def _check(self) -> None:
        opened = None if self.session is None else self.session.opened
        modality = str(self.panel.task_model.card.get("modality", ""))
        found = checks.pair_check(self.parameters, modality, opened)
        self.ui.alignRigidButton.visible = self.ui.alignAffineButton.visible = found.can_align
        sign = "⚠ " if found.level == "check" else "• "
        is_pair = not messages.why_not_apply(self.parameters)
        self.ui.guardLabel.text = "\n".join(f"{sign if is_pair else ''}{line}" for line in found.lines)

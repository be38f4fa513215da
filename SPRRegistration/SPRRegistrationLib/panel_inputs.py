"""Section “Inputs”: the two images, what there is to measure with, and the check of the pair."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from SPRCore.errors import SPRError

from . import dicom, inputs, words
from .panel_section import Section, words_of
from .parameters import Alignment

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
            *(self.parameters.alignment, self.parameters.method),
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
        aligned = self.parameters.alignment is not Alignment.NONE
        why_not = words.why_not_apply(self.parameters)
        found, can_help = ([], False) if why_not else self._guard()
        self.ui.alignRigidButton.visible = self.ui.alignAffineButton.visible = can_help and not aligned
        if aligned and can_help:
            found.append(_("They are aligned before the deformation."))
        text = "\n".join(f"⚠ {line}" for line in found) if found else _("✓ The images fit each other.")
        self.ui.guardLabel.text = why_not or text

    def _guard(self) -> tuple[list[str], bool]:
        """Return what is to be said about the images, and whether an alignment would help."""
        modality = str(self.panel.task_model.card.get("modality", ""))
        try:
            facts = inputs.facts_of(self.parameters)
        except SPRError as error:
            return [words_of(error)], False
        return words.guard(facts, modality, self._kinds()), words.needs_alignment(facts)

    def _kinds(self) -> list[str]:
        """Return the kinds of the images, where the files say so."""
        volumes = (self.parameters.fixedVolume, self.parameters.movingVolume)
        return [dicom.tags_of(volume).get("Modality", "") for volume in volumes]

"""Section “Show”: layers, maps and lines in the views."""

from __future__ import annotations

import qt
import slicer

from SPRRegistrationLib import panel_state
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import display, outputs

SHOWN = (
    *("fixedVolume", "movingVolume", "showDeformed", "deformedOpacity", "showDisplacement", "showDisplacement3D"),
    *("displacementStyle", "gridSpacingMm", "showWeight", "weightOpacity", "weightLimit", "showJacobian"),
    *("showUncertainty", "uncertaintyOpacity", "hatchAboveMm", "showLegend", "originalAnatomy", "flicker"),
)
FLICKER_MS = 500


class ShowSection(Section):
    """Layers, maps and lines in the views."""

    def build(self) -> None:
        """Connect the opacity slider and the timer of the flicker."""
        self._shown = None
        self._turn = False
        self._layout = None
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.connect("timeout()", self._alternate)
        self.ui.deformedOpacitySlider.connect("valueIsChanging(double)", self._blend)

    def attach(self) -> None:
        """Show the results of another registration."""
        self._shown = None

    def detach(self) -> None:
        """Stop the flicker, hide maps and lines, and restore the layout, for other modules."""
        self._timer.stop()
        if self._layout is not None:
            slicer.app.layoutManager().setLayout(self._layout)
            self._layout = None
        if outputs.is_alive(self.parameters):
            display.set_blend(self.parameters, self.parameters.deformedOpacity)
            display.hide(self.parameters)

    def close(self) -> None:
        """Stop the timer."""
        self._timer.stop()

    def refresh(self) -> None:
        """Bring the views to the parameters, if they have changed."""
        ui, parameters = self.ui, self.parameters
        for box, parts in (
            ("showDeformed", ("deformedOpacitySlider", "flickerCheckBox")),
            ("showWeight", ("weightOpacitySlider", "weightLimitSlider")),
            ("showUncertainty", ("uncertaintyOpacitySlider", "hatchAboveSlider")),
            ("showDisplacement", ("displacementStyleSelector", "gridSpacingSlider")),
        ):
            for name in parts:
                getattr(ui, name).enabled = getattr(parameters, box) or (
                    box == "showDisplacement" and parameters.showDisplacement3D
                )
        ui.uncertaintyLabel.text = panel_state.uncertainty_text(self.controller)
        ui.uncertaintyLabel.visible = parameters.showUncertainty
        state = tuple(getattr(parameters, name) for name in SHOWN)
        if state == self._shown or not outputs.is_alive(parameters) or parameters.displacementTransform is None:
            return
        self._shown = state
        self._arrange_views()
        display.show(parameters)
        if parameters.flicker and parameters.showDeformed:
            self._timer.start()
        elif self._timer.isActive():
            self._timer.stop()
            display.set_blend(parameters, parameters.deformedOpacity)

    def _arrange_views(self) -> None:
        """Add views for the undeformed moving image, or restore the layout."""
        wanted = self.parameters.originalAnatomy
        manager = slicer.app.layoutManager()
        if wanted and self._layout is None:
            self._layout = manager.layout
            manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutThreeOverThreeView)
        elif not wanted and self._layout is not None:
            manager.setLayout(self._layout)
            self._layout = None

    def _blend(self, value: float) -> None:
        if self.parameters is not None and outputs.is_alive(self.parameters):
            display.set_blend(self.parameters, value)

    def _alternate(self) -> None:
        if self.parameters is not None and outputs.is_alive(self.parameters):
            self._turn = not self._turn
            display.set_blend(self.parameters, 1.0 if self._turn else 0.0)

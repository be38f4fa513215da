"""Section “Show”: what the views show. All of it is in the parameter node; `display` brings the views to it."""

from __future__ import annotations

import qt
import slicer

from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.scene import display, outputs

SHOWN = (
    *("fixedVolume", "movingVolume", "showDeformed", "deformedOpacity", "showDisplacement", "showDisplacement3D"),
    *("displacementStyle", "gridSpacingMm", "showWeight", "weightOpacity", "weightLimit", "showJacobian"),
    *("showLegend", "originalAnatomy", "flicker"),
)
FLICKER_MS = 500


class ShowSection(Section):
    """Layers, maps and lines in the views."""

    def build(self) -> None:
        """Connect what answers while a slider moves, and the clock of the flicker."""
        self._shown = None
        self._turn = False
        self._layout = None
        self._timer = qt.QTimer()
        self._timer.setInterval(FLICKER_MS)
        self._timer.connect("timeout()", self._take_turns)
        self.ui.deformedOpacitySlider.connect("valueIsChanging(double)", self._blend)

    def attach(self) -> None:
        """Show the results of another registration."""
        self._shown = None

    def detach(self) -> None:
        """Stop the flicker, take maps and lines off and give the layout back: another module does not explain them."""
        self._timer.stop()
        if self._layout is not None:
            slicer.app.layoutManager().setLayout(self._layout)
            self._layout = None
        if outputs.is_alive(self.parameters):
            display.set_blend(self.parameters, self.parameters.deformedOpacity)
            display.hide(self.parameters)

    def close(self) -> None:
        """End the clock."""
        self._timer.stop()

    def refresh(self) -> None:
        """Bring the views to the parameters, if they have changed."""
        ui, parameters = self.ui, self.parameters
        for box, parts in (
            ("showDeformed", ("deformedOpacitySlider", "flickerCheckBox")),
            ("showWeight", ("weightOpacitySlider", "weightLimitSlider")),
            ("showDisplacement", ("displacementStyleSelector", "gridSpacingSlider")),
        ):
            for name in parts:
                getattr(ui, name).enabled = getattr(parameters, box) or (
                    box == "showDisplacement" and parameters.showDisplacement3D
                )
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
        """Make room for the moving image as it was taken, and give it back."""
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

    def _take_turns(self) -> None:
        if self.parameters is not None and outputs.is_alive(self.parameters):
            self._turn = not self._turn
            display.set_blend(self.parameters, 1.0 if self._turn else 0.0)

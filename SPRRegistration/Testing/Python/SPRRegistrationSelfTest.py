"""Runs inside 3D Slicer, by ctest or “Reload and Test”: the module as it is installed, on its sample data."""

from __future__ import annotations

import importlib.util
import time
import unittest

import slicer


class SPRRegistrationSelfTest(unittest.TestCase):
    """What only the application can show: real widgets, the real Python of the worker."""

    def setUp(self) -> None:
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()
        from SPRRegistrationLib.scene import samples

        self.nodes = samples.load()

    def test_sample_data_are_a_pair(self) -> None:
        """Both images lie on each other, and differ."""
        fixed, moving = (slicer.util.arrayFromVolume(self.nodes[f"{side}Volume"]) for side in ("fixed", "moving"))
        assert fixed.shape == moving.shape
        assert abs(fixed - moving).mean() > 10.0

    def test_every_control_explains_itself(self) -> None:
        """Buttons, lists, boxes and sliders have a tool tip."""
        panel = slicer.util.getModuleWidget("SPRRegistration").panel
        kinds = ("Button", "Selector", "CheckBox", "Slider", "SpinBox", "Table")
        # A name that is only a kind is that of a part inside a slider, which shows the tool tip of the slider.
        named = [name for name in vars(panel.ui) if name.endswith(kinds) and name not in kinds]
        bare = [name for name in named if not getattr(panel.ui, name).toolTip]
        assert bare == []

    def test_the_sample_data_are_registered(self) -> None:
        """Apply gives a deformation, and it brings the organs onto each other."""
        if importlib.util.find_spec("torch") is None:
            self.skipTest("PyTorch is not installed: press Apply in the module once")
        from SPRRegistrationLib.session import SessionStage

        panel = slicer.util.getModuleWidget("SPRRegistration").panel
        panel.enter()
        for field, node in self.nodes.items():
            setattr(panel.parameters, field, node)
        panel.ui.applyButton.click()
        end = time.monotonic() + 600
        while panel.session.stage not in (SessionStage.DONE, SessionStage.FAILED) and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.02)
        assert panel.session.stage is SessionStage.DONE, panel.session.words
        assert panel.session.shown.metrics["after"]["dice_mean"] > 0.85
        assert panel.parameters.deformedVolume.GetImageData() is not None
        panel.controller.end_session()


if __name__ == "__main__":
    unittest.main()

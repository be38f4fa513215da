"""Section “Regularization”: the sliders, which show the deformation while they move."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import messages, panel_state
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.sliders import FIELDS, SliderStates
from SPRRegistrationLib.tooltips import recommended, tooltips


class GrooveEvents(qt.QObject):
    """Calls functions when a widget is double-clicked or resized."""

    def __init__(self, widget: qt.QWidget, clicked: Callable[[], object], resized: Callable[[], object]) -> None:
        qt.QObject.__init__(self, widget)
        self._widget, self._clicked, self._resized = widget, clicked, resized
        widget.installEventFilter(self)

    def stop(self) -> None:
        """Remove the event filter."""
        self._widget.removeEventFilter(self)

    def eventFilter(self, widget: qt.QObject, event: qt.QEvent) -> bool:
        """Handle an event before the widget does."""
        if event.type() == qt.QEvent.Resize:
            self._resized()
        if event.type() == qt.QEvent.MouseButtonDblClick:
            self._clicked()
            return True
        return False


def inner_of(slider: qt.QWidget, name: str, kind: str) -> qt.QWidget:
    """Return the widget of Qt inside a part of a slider, which gets mouse and keys and has no name.

    Args:
        slider: A `ctkSliderWidget`.
        name: Name of the part, "Slider" or "SpinBox".
        kind: Class of the widget in it.
    """
    return next(child for child in slicer.util.findChild(slider, name).children() if child.inherits(kind))


class RegularizationSection(Section):
    """The sliders of the hyperparameters."""

    def build(self) -> None:
        """Connect the sliders."""
        self.sliders = {field: getattr(self.ui, f"{field}Slider") for field in FIELDS}
        self._ticks, self._suggested, self._zones, self._filters = {}, {}, {}, []
        self._usual_labels = {field: getattr(self.ui, f"{field}Label").text for field in FIELDS}
        self._held: tuple | None = None
        for field in self.sliders:
            self._connect(field)

    def detach(self) -> None:
        """Release the registration, also while a slider is dragged."""
        if self._held is not None:
            self._release()
            self.controller.end_gesture()

    def close(self) -> None:
        """Remove the event filters."""
        for watcher in self._filters:
            watcher.stop()

    def refresh(self) -> None:
        """Show the sliders of the prior with the ranges and the recommended values of the method."""
        states = panel_state.slider_states(self.controller)
        for field in FIELDS:
            visible = field in states.fields
            for part in ("Label", "Slider", "TunedButton"):
                widget = getattr(self.ui, f"{field}{part}")
                if widget.isHidden() == visible:  # a slider that is shown again forgets what is being typed
                    widget.visible = visible
            if visible:
                self._set_range(field, *states.ranges[field])
                getattr(self.ui, f"{field}TunedButton").toolTip = recommended(states.recommended[field])
                label = states.labels.get(field)
                getattr(self.ui, f"{field}Label").text = f"{label}:" if label else self._usual_labels[field]
                self.sliders[field].toolTip = tooltips()[field] + messages.beyond_training(states.trained.get(field))
                self._place_marks(field, states)
        self.ui.latencyLabel.text = panel_state.latency(self.controller)

    def marks(self, field: str) -> tuple[qt.QWidget, qt.QWidget]:
        """Return the marks of the recommended and of the suggested value at a slider."""
        return self._ticks[field], self._suggested[field]

    def zone(self, field: str) -> qt.QWidget:
        """Return the mark of the part of a slider that is beyond training."""
        return self._zones[field]

    def _place_marks(self, field: str, states: SliderStates) -> None:
        """Mark the recommended value and the part beyond training under a slider, and above it the suggested value."""
        slider = self.sliders[field]
        groove = inner_of(slider, "Slider", "QSlider")
        low, high = slider.minimum, slider.maximum
        handle = 14  # half of it is left free at both ends
        zone, end = self._zones[field], states.trained.get(field)
        zone.visible = end is not None and low <= end < high
        if zone.visible:
            left, length = handle // 2, groove.width - handle
            start = left + int((end - low) / (high - low) * length)
            zone.setGeometry(start, groove.height - 3, left + length - start, 3)
        for value, (mark, width, height, top) in (
            (states.recommended[field], (self._ticks[field], 3, 5, groove.height - 5)),
            (states.suggested.get(field), (self._suggested[field], 11, 11, -2)),
        ):
            part = (value - low) / (high - low) if value is not None and high > low else -1.0
            mark.visible = 0.0 <= part <= 1.0
            mark.setGeometry(int(handle / 2 + part * (groove.width - handle)) - width // 2, top, width, height)

    def _connect(self, field: str) -> None:
        slider, recommend = self.sliders[field], lambda: self.call("recommend", field)
        slider.connect("valueIsChanging(double)", lambda value: self._preview(field, value))
        getattr(self.ui, f"{field}TunedButton").connect("clicked()", recommend)
        inner_of(slider, "SpinBox", "QDoubleSpinBox").keyboardTracking = False  # a typed number is one change
        named = slicer.util.findChild(slider, "Slider")
        named.connect("sliderPressed()", self._hold)
        named.connect("sliderReleased()", self._release)  # after the slider has set its value
        groove = inner_of(slider, "Slider", "QSlider")
        zone = self._zones[field] = qt.QFrame(groove)
        zone.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        zone.setStyleSheet("background-color: #c0392b;")
        zone.visible = False
        tick = self._ticks[field] = qt.QFrame(groove)
        tick.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        tick.setStyleSheet("background-color: #c46a00;")
        tick.toolTip = _("Recommended value")
        self._suggested[field] = self._diamond(groove)
        self._filters.append(GrooveEvents(groove, recommend, lambda: self._resized(field)))

    def _diamond(self, groove: qt.QWidget) -> qt.QLabel:
        mark = qt.QLabel(MARK, groove)
        mark.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        mark.setAlignment(qt.Qt.AlignCenter)
        mark.setStyleSheet("color: #a45fe0; font-size: 10px;")
        mark.toolTip = _("Suggested for this pair")
        mark.visible = False
        return mark

    def _resized(self, field: str) -> None:
        if self.controller is not None:
            states = panel_state.slider_states(self.controller)
            if field in states.fields:
                self._place_marks(field, states)

    def _hold(self) -> None:
        """Hold the events of the parameter node back while a slider is dragged.

        A preview adds nodes and references to them; the slider would be set back to the value in the parameter node
        under the mouse. So a gesture also is one change.
        """
        if self._held is None and self.parameters is not None:
            self._held = (self.parameters, self.parameters.StartModify())

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held[0].EndModify(held[1])

    def _preview(self, field: str, value: float) -> None:
        """Preview the value of the signal: the slider has the old one while it is dragged."""
        if not self.panel.is_refreshing:
            self.controller.slide(field, value)

    def _set_range(self, field: str, low: float, high: float) -> None:
        """Set the ends of a slider, and its value again: it had to clip one outside of its former ends."""
        slider, wanted = self.sliders[field], getattr(self.parameters, field)
        low, high = round(low, slider.decimals), round(high, slider.decimals)  # as the slider would, too
        if (slider.minimum, slider.maximum) != (low, high):
            slider.minimum, slider.maximum = low, high
            if self._held is None:
                slider.value = wanted

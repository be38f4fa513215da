"""Section “Regularization”: the sliders, which show the deformation while they move."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from SPRRegistrationLib import messages
from SPRRegistrationLib.messages import MARK
from SPRRegistrationLib.parameters import HYPERPARAMETERS, setting_of
from SPRRegistrationLib.qt.section import Section
from SPRRegistrationLib.session import Stage
from SPRRegistrationLib.sliders import FIELDS, Sliders, sliders_of


class DoubleClick(qt.QObject):
    """Tells when a widget is clicked twice, and when its size has changed."""

    def __init__(self, widget: qt.QWidget, clicked: Callable[[], object], resized: Callable[[], object]) -> None:
        qt.QObject.__init__(self, widget)
        self._widget, self._clicked, self._resized = widget, clicked, resized
        widget.installEventFilter(self)

    def stop(self) -> None:
        """Tell nothing any more."""
        self._widget.removeEventFilter(self)

    def eventFilter(self, widget: qt.QObject, event: qt.QEvent) -> bool:
        """Look at an event before the widget does."""
        if event.type() == qt.QEvent.Resize:
            self._resized()
        if event.type() == qt.QEvent.MouseButtonDblClick:
            self._clicked()
            return True
        return False


def inner_of(slider: qt.QWidget, name: str, kind: str) -> qt.QWidget:
    """Return the widget of Qt inside a part of a slider: mouse and keys go to it, and CTK gives it no name.

    Args:
        slider: A `ctkSliderWidget`.
        name: Name of the part, "Slider" or "SpinBox".
        kind: Class of the widget in it.
    """
    return next(child for child in slicer.util.findChild(slider, name).children() if child.inherits(kind))


class Settings(Section):
    """The sliders of the hyperparameters."""

    def build(self) -> None:
        """Connect the sliders; remember their ranges, which hold as long as no worker has said its own."""
        self.sliders = {field: getattr(self.ui, f"{field}Slider") for field in FIELDS}
        self.usual_ranges = {field: (slider.minimum, slider.maximum) for field, slider in self.sliders.items()}
        self._ticks, self._suggested, self._filters = {}, {}, []
        self._asked: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._held = None
        for field in self.sliders:
            self._connect(field)

    def attach(self) -> None:
        """Show the sliders of the prior, with their ranges."""
        self._asked = self._seen = setting_of(self.parameters)
        self.refresh()

    def detach(self) -> None:
        """Let go of the registration, in the middle of a gesture, too."""
        self._let_go()

    def close(self) -> None:
        """Let go of the sliders."""
        for watcher in self._filters:
            watcher.stop()

    def refresh(self) -> None:
        """Show the sliders of the prior with the ranges and the recommended values of the method."""
        stand = self.stand()
        for field in FIELDS:
            visible = field in stand.fields
            for part in ("Label", "Slider", "TunedButton"):
                widget = getattr(self.ui, f"{field}{part}")
                if widget.isHidden() == visible:  # a slider that is shown again forgets what is being typed
                    widget.visible = visible
            if visible:
                self._set_range(field, *stand.ranges[field])
                getattr(self.ui, f"{field}TunedButton").toolTip = _(
                    "Back to the recommended value, {value:g}. Double-clicking the slider does the same."
                ).format(value=stand.recommended[field])
                self.place_marks(field, stand)
        self._show_latency()
        setting = setting_of(self.parameters)
        if setting != self._seen:  # by a gesture that has ended, undo, a snapshot, the map or a program
            self._seen = setting
            if setting != self._asked:
                self.preview(setting)

    def stand(self) -> Sliders:
        """Return how the sliders stand."""
        return sliders_of(self.parameters, self.session, self.panel.task_model, self.usual_ranges)

    def recommend(self, field: str) -> None:
        """Set one slider to the recommended value."""
        setattr(self.parameters, field, self.stand().recommended[field])

    def preview(self, setting: dict[str, float]) -> None:
        """Show the deformation at a setting, if that is wanted and possible without asking anything."""
        self._asked = dict(setting)
        if not self.parameters.live or messages.why_not_apply(self.parameters):
            return
        if self.panel.is_installing or self.panel.missing():
            return
        session = self.panel.ensure_session()
        if session.stage is not Stage.COMMITTING or session.setting != setting:
            session.preview(setting)

    def place_marks(self, field: str, stand: Sliders) -> None:
        """Mark the recommended value under a slider, and above it the suggested one."""
        slider = self.sliders[field]
        groove = inner_of(slider, "Slider", "QSlider")
        low, high = slider.minimum, slider.maximum
        handle = 14  # half of it is left free at both ends
        for value, (mark, width, height, top) in (
            (stand.recommended[field], (self._ticks[field], 3, 5, groove.height - 5)),
            (stand.suggested.get(field), (self._suggested[field], 11, 11, -2)),
        ):
            part = (value - low) / (high - low) if value is not None and high > low else -1.0
            mark.visible = 0.0 <= part <= 1.0
            mark.setGeometry(int(handle / 2 + part * (groove.width - handle)) - width // 2, top, width, height)

    def _connect(self, field: str) -> None:
        slider = self.sliders[field]
        slider.connect("valueIsChanging(double)", lambda value: self._dragged(field, value))
        getattr(self.ui, f"{field}TunedButton").connect("clicked()", lambda: self.recommend(field))
        inner_of(slider, "SpinBox", "QDoubleSpinBox").keyboardTracking = False  # a typed number is one change
        named = slicer.util.findChild(slider, "Slider")
        named.connect("sliderPressed()", self._hold)
        named.connect("sliderReleased()", self._let_go)  # after the slider itself has told its value
        groove = inner_of(slider, "Slider", "QSlider")
        tick = self._ticks[field] = qt.QFrame(groove)
        tick.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        tick.setStyleSheet("background-color: #c46a00;")
        tick.toolTip = _("Recommended value")
        self._suggested[field] = self._diamond(groove)
        self._filters.append(DoubleClick(groove, lambda: self.recommend(field), lambda: self._resized(field)))

    def _diamond(self, groove: qt.QWidget) -> qt.QLabel:
        mark = qt.QLabel(MARK, groove)
        mark.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        mark.setAlignment(qt.Qt.AlignCenter)
        mark.setStyleSheet("color: #7a3db8; font-size: 10px;")
        mark.toolTip = _("Suggested for this pair")
        mark.visible = False
        return mark

    def _resized(self, field: str) -> None:
        if self.parameters is not None:
            stand = self.stand()
            if field in stand.fields:
                self.place_marks(field, stand)

    def _hold(self) -> None:
        """Hold the news of the parameter node back while a slider is dragged.

        A preview makes nodes and refers to them; the slider would be set back to the value in the parameter node under
        the user's finger. So a gesture also is one change.
        """
        if self._held is None and self.parameters is not None:
            self._held = (self.parameters, self.parameters.StartModify())

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held[0].EndModify(held[1])

    def _dragged(self, field: str, value: float) -> None:
        """Take a value from the signal: the slider itself still says the old one while it is dragged."""
        names = {own: name for name, own in HYPERPARAMETERS[self.parameters.prior].items()}
        if self.panel.is_refreshing or field not in names:
            return
        setting = setting_of(self.parameters) | {names[field]: value}
        if setting != self._asked:
            self.preview(setting)

    def _set_range(self, field: str, low: float, high: float) -> None:
        """Set the ends of a slider; it had to cut a value that its former ends left out."""
        slider, wanted = self.sliders[field], getattr(self.parameters, field)
        low, high = round(low, slider.decimals), round(high, slider.decimals)  # as the slider would, too
        if (slider.minimum, slider.maximum) != (low, high):
            slider.minimum, slider.maximum = low, high
            if self._held is None:
                slider.value = wanted

    def _show_latency(self) -> None:
        session = self.session
        shown = session.shown if session is not None else None
        self.ui.latencyLabel.text = "" if shown is None else messages.latency(shown.age_ms, shown.exact)

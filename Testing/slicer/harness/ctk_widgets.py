"""Stand-ins of the widgets of CTK that our panel and Slicer's connectors name."""

from __future__ import annotations

import types

from PySide6 import QtCore, QtWidgets

from harness import other_widgets

Property, Signal = QtCore.Property, QtCore.Signal
_UNLIMITED = 16777215  # as high as Qt lets a widget be


def stored(kind, name, default, after=None):
    """Make a property that is only kept, and calls the method `after` when it was changed."""

    def write(self, value):
        setattr(self, f"_{name}", tuple(value) if kind == "QStringList" else value)
        if after:
            getattr(self, after)()

    return Property(kind, lambda self: getattr(self, f"_{name}", default), write)


class ctkCollapsibleButton(QtWidgets.QWidget):
    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._button = button = QtWidgets.QToolButton(self)
        button.setToolButtonStyle(QtCore.Qt.ToolButtonTextBesideIcon)
        button.setCheckable(True)
        button.setChecked(True)
        button.setStyleSheet("QToolButton { font-weight: bold; border: 1px solid palette(mid); text-align: left; }")
        button.setArrowType(QtCore.Qt.DownArrow)
        button.toggled.connect(self._expand)
        policy = QtWidgets.QSizePolicy
        self.setSizePolicy(policy.Minimum, policy.Preferred)  # no narrower than it likes to be
        self.setContentsMargins(0, button.sizeHint().height() + 2, 0, 0)

    def resizeEvent(self, event):
        self._button.setGeometry(0, 0, self.width, self._button.sizeHint().height())

    def _contents(self):
        return [item for item in self.children() if isinstance(item, QtWidgets.QWidget) and item is not self._button]

    def _expand(self, expanded):
        self._button.setArrowType(QtCore.Qt.DownArrow if expanded else QtCore.Qt.RightArrow)
        for item in self._contents():
            if expanded and item.property("harnessHidden"):
                continue
            if not expanded:
                item.setProperty("harnessHidden", item.isHidden())
            item.setVisible(expanded)
        self.toggled.emit(expanded)
        self.contentsCollapsed.emit(not expanded)

    def showEvent(self, event):
        if not self._button.checked:
            self._expand(False)

    text = Property(str, lambda self: self._button.text, lambda self, text: self._button.setText(text))
    collapsed = Property(
        bool, lambda self: not self._button.checked, lambda self, value: self._button.setChecked(not value)
    )


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    def __init__(self, parent=None):
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(self._expand)

    def _expand(self, expanded):
        for item in self.children():
            if isinstance(item, QtWidgets.QWidget):
                item.setVisible(expanded)
        self.setMaximumHeight(_UNLIMITED if expanded else self.fontMetrics().height() + 6)

    def showEvent(self, event):
        self._expand(self.checked)

    collapsed = Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))


class _Around(QtWidgets.QWidget):
    """A widget of CTK around an unnamed one of Qt; the mouse and the keys go to the inner one."""

    def __init__(self, inner, name, parent):
        super().__init__(parent)
        self.inner = inner
        self.setObjectName(name)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(inner)
        self.setFocusProxy(inner)
        inner.installEventFilter(self)


class _DoubleSlider(_Around):
    sliderPressed, sliderReleased = Signal(), Signal()

    def __init__(self, parent, steps):
        super().__init__(QtWidgets.QSlider(QtCore.Qt.Horizontal), "Slider", parent)
        self.inner.setRange(0, steps)
        self.inner.setPageStep(steps // 10)
        self.inner.sliderPressed.connect(self.sliderPressed)
        self.inner.sliderReleased.connect(self.sliderReleased)


class _DoubleSpinBox(_Around):
    def __init__(self, parent):
        super().__init__(QtWidgets.QDoubleSpinBox(), "SpinBox", parent)
        self.inner.setRange(0.0, 99.0)


class ctkSliderWidget(QtWidgets.QWidget):
    """While it is dragged without tracking, `value` is what it was before, and only `valueIsChanging` is told."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)
    STEPS = 10000

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        slider, spin = _DoubleSlider(self, self.STEPS), _DoubleSpinBox(self)
        layout.addWidget(slider, 1)
        layout.addWidget(spin)
        self._slider, self._spin = slider.inner, spin.inner
        self._tracking, self._before, self._changing, self._busy = True, 0.0, False, False
        self._page_step = 1.0
        slider.sliderPressed.connect(self._press)
        slider.sliderReleased.connect(self._release)
        self._slider.valueChanged.connect(self._slid)
        self._spin.valueChanged.connect(self._typed)

    def setVisible(self, visible):
        super().setVisible(visible)
        self._spin.setValue(self._spin.value)  # written anew, with what is being typed in it

    def _press(self):
        if not self._tracking:
            self._before, self._changing = self._spin.value, True

    def _release(self):
        if not self._tracking:
            self._changing = False
            if self._spin.value != self._before:
                self.valueChanged.emit(self._spin.value)

    def _slid(self, position):
        if not self._busy:
            low, high = self._spin.minimum, self._spin.maximum
            self._spin.setValue(low + (high - low) * position / self.STEPS)

    def _typed(self, value):
        self._place()
        if not self._tracking:
            self.valueIsChanging.emit(value)
        if not self._changing:
            self.valueChanged.emit(value)

    def _place(self):
        low, high = self._spin.minimum, self._spin.maximum
        self._busy = True
        self._slider.setValue(round(self.STEPS * (self._spin.value - low) / (high - low)) if high > low else 0)
        self._busy = False

    def _set_steps(self):
        """Let a key move the slider by its own steps."""
        span = self._spin.maximum - self._spin.minimum
        if span > 0:
            self._slider.setSingleStep(max(round(self.STEPS * self._spin.singleStep / span), 1))
            self._slider.setPageStep(max(round(self.STEPS * self._page_step / span), 1))

    def _set_page_step(self, value):
        self._page_step = value
        self._set_steps()

    def _get(self):
        return self._before if self._changing else self._spin.value

    def setValue(self, value):
        if round(value, self._spin.decimals) == self._spin.value:
            return
        changing, self._changing = self._changing, False
        self._spin.setValue(value)
        self._changing = changing

    def _bound(which):
        def write(self, value):
            getattr(self._spin, f"set{which}")(value)
            self._place()
            self._set_steps()

        return Property(float, lambda self: getattr(self._spin, which.lower()), write)

    def _of_spin(kind, name):
        setter = f"set{name[0].upper()}{name[1:]}"

        def write(self, value):
            getattr(self._spin, setter)(value)
            self._set_steps()

        return Property(kind, lambda self: getattr(self._spin, name), write)

    value = Property(float, _get, setValue)
    minimum, maximum = _bound("Minimum"), _bound("Maximum")
    decimals, singleStep = _of_spin(int, "decimals"), _of_spin(float, "singleStep")
    suffix, prefix = _of_spin(str, "suffix"), _of_spin(str, "prefix")
    tracking = stored(bool, "tracking", True)
    pageStep = Property(float, lambda self: self._page_step, _set_page_step)


class ctkSearchBox(QtWidgets.QLineEdit):
    showSearchIcon = stored(bool, "showSearchIcon", False)


class ctkComboBox(QtWidgets.QComboBox):
    pass


class ctkCheckBox(QtWidgets.QCheckBox):
    pass


class ctkCheckablePushButton(QtWidgets.QPushButton):
    checkBoxControlsButtonToggleState = stored(bool, "controls", False)


class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    pass


def make_module():
    """Return the module `ctk`."""
    module = types.ModuleType("ctk")
    for source in (globals(), vars(other_widgets)):
        vars(module).update({name: kind for name, kind in source.items() if name.startswith("ctk")})
    return module

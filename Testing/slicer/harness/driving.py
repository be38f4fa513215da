"""What a user does with the panel: chooses, drags, clicks, types; with events that go where Qt would send them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import slicer

from harness import application
from harness.widgets import qt

WORKER = Path(__file__).resolve().parents[1] / "panel_worker.py"


def add_image(name, seed=0, shape=(12, 11, 10)):
    """Add an image of noise to the scene."""
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    node = slicer.util.addVolumeFromArray(array, name=name)
    node.CreateDefaultDisplayNodes()
    return node


def worker(seconds=0.1):
    """Return the command of a worker that computes nothing and takes so long for it."""
    return [sys.executable, str(WORKER), str(seconds)]


def pick(selector, name):
    """Choose a node by its name, or an entry below the nodes such as “Create new Volume”, as a user does."""
    box = box_of(selector)
    row = next(index for index in range(box.count) if box.itemText(index) == name)
    if name.startswith("Create new"):
        box.view().clicked.emit(box.model().index(row, 0, box.rootModelIndex()))
    else:
        box.setCurrentIndex(row)


def box_of(selector):
    """Return the list inside a selector of nodes."""
    return next(child for child in selector.children() if child.inherits("QComboBox"))


def offered(selector):
    """Return the texts in a selector of nodes: those of nodes, and those of the actions below them."""
    box = box_of(selector)
    texts = [box.itemText(index) for index in range(box.count)]
    end = texts.index("") if "" in texts else len(texts)  # the separator
    return texts[:end], texts[end + 1 :]


def groove(slider):
    """Return the widget inside a slider of CTK that the mouse reaches; it has no name."""
    return _inner(slider, "Slider", "QSlider")


def field_of(slider):
    """Return the widget inside a slider of CTK that gets the keys of numbers; it has no name."""
    return _inner(slider, "SpinBox", "QDoubleSpinBox")


def _inner(slider, name, kind):
    part = slicer.util.findChild(slider, name)
    return next(child for child in part.children() if child.inherits(kind))


def drag(slider, values):
    """Drag a slider over values; return what its value was said to be on the way."""
    said = []
    groove(slider).setSliderDown(True)
    for value in values:
        move(slider, value)
        said.append(slider.value)
        application.process_events(0.05)
    groove(slider).setSliderDown(False)
    return said


def move(slider, value):
    """Move the handle of a slider to a value."""
    inner, part = groove(slider), (value - slider.minimum) / (slider.maximum - slider.minimum)
    inner.setValue(round(inner.minimum + part * (inner.maximum - inner.minimum)))


def mouse(widget, place, *kinds):
    """Send events of the left button to whatever lies at a place of a widget."""
    hit = widget.childAt(place) or widget
    spot = hit.mapFrom(widget, place)
    for kind in kinds:
        buttons = qt.Qt.NoButton if kind == qt.QEvent.MouseButtonRelease else qt.Qt.LeftButton
        places = (qt.QPointF(spot), qt.QPointF(hit.mapToGlobal(spot)))
        event = qt.QMouseEvent(kind, *places, qt.Qt.LeftButton, buttons, qt.Qt.NoModifier)
        qt.QCoreApplication.sendEvent(hit, event)


def drag_with_mouse(slider, start, end, steps=6):
    """Press the handle of a slider, move the mouse, and release it, by values; return what was shown on the way."""
    inner, shown = groove(slider), []
    places = [place_of(slider, start + (end - start) * step / steps) for step in range(steps + 1)]
    mouse(slider, places[0], qt.QEvent.MouseButtonPress)
    for place in places[1:]:
        mouse(slider, place, qt.QEvent.MouseMove)
        shown.append(inner.sliderPosition)
        application.process_events(0.02)
    mouse(slider, places[-1], qt.QEvent.MouseButtonRelease)
    return shown


def place_of(slider, value):
    """Return where the middle of the handle of a slider is at a value."""
    inner, option = groove(slider), qt.QStyleOptionSlider()
    inner.initStyleOption(option)
    control = qt.QStyle.CC_Slider
    handle = inner.style().subControlRect(control, option, qt.QStyle.SC_SliderHandle, inner)
    track = inner.style().subControlRect(control, option, qt.QStyle.SC_SliderGroove, inner)
    part = (value - slider.minimum) / (slider.maximum - slider.minimum)
    x = track.left() + handle.width() / 2 + part * (track.width() - handle.width())
    return inner.mapTo(slider, qt.QPoint(round(x), handle.center().y()))


def press_key(widget, key):
    """Press a key in whatever has the focus if a widget is given it."""
    target = widget.focusProxy() or widget
    while target.focusProxy() is not None:
        target = target.focusProxy()
    for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
        qt.QCoreApplication.sendEvent(target, qt.QKeyEvent(kind, key, qt.Qt.NoModifier))


def double_click(widget, place):
    """Click twice, as Qt tells it: the second press is the double click."""
    kinds = qt.QEvent
    mouse(widget, place, kinds.MouseButtonPress, kinds.MouseButtonRelease)
    mouse(widget, place, kinds.MouseButtonDblClick, kinds.MouseButtonRelease)


def type_keys(widget, text):
    """Type a text key by key; a line feed is the key Return."""
    for sign in text:
        key = qt.Qt.Key_Return if sign == "\n" else qt.Qt.Key(ord(sign))
        for kind in (qt.QEvent.KeyPress, qt.QEvent.KeyRelease):
            event = qt.QKeyEvent(kind, key, qt.Qt.NoModifier, "\r" if sign == "\n" else sign)
            qt.QCoreApplication.sendEvent(widget, event)


def hint(widget, name):
    """Return the `sizeHint` or `minimumSizeHint` of a widget: a property in PythonQt, a method in Qt for Python."""
    value = getattr(widget, name)
    return value() if callable(value) else value


def stage(panel):
    """Return where the registration stands that is looked at; nothing if it has no worker."""
    return "" if panel.session is None else panel.session.stage.name


def wait_for(panel, *names, seconds=30):
    """Wait until the registration stands somewhere."""
    assert application.process_events(seconds, lambda: stage(panel) in (*names, "FAILED"))
    assert stage(panel) in names, (stage(panel), panel.session.words)


def sessions(panel):
    """Return the sessions of all registrations that the panel knows."""
    return [controller.session for controller in panel.controllers.values() if controller.session is not None]

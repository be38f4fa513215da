"""Installs the modules `qt` and `ctk` and the widgets of `slicer`; nothing is drawn on a screen."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from shiboken6 import Shiboken

from harness import ctk_widgets, mrml_widgets, qt_names

qt = sys.modules["qt"] = qt_names.make_module()
application = qt.QApplication.instance() or qt.QApplication(["harness"])
ctk = sys.modules["ctk"] = ctk_widgets.make_module()
mrml_widgets.install()
is_valid = Shiboken.isValid

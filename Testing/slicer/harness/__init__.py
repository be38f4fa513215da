"""Runs the module of 3D Slicer without the application, on slicer-core and, for the panel, PySide6.

`core` gives what needs no Qt: the scene, `slicer.i18n`, `slicer.parameterNodeWrapper`. `application` adds stand-ins of
the widgets, of `slicer.app` and of the loader of modules. With the environment variable `SLICER_SOURCE` naming a
checkout of Slicer's source, its own `i18n`, `parameterNodeWrapper` and `ScriptedLoadableModule` take the place of ours.
With `SPR_REAL_WIDGETS` the widgets of a real build take the place of the stand-ins, see `real_widgets`.
"""

import os

if os.environ.get("SPR_REAL_WIDGETS"):
    from harness import real_widgets

    real_widgets.install(os.environ["SPR_REAL_WIDGETS"])

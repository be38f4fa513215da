"""Runs the module of 3D Slicer without the application, on slicer-core and, for the panel, PySide6.

`core` gives what needs no Qt: the scene, `slicer.i18n`, `slicer.parameterNodeWrapper`. `application` adds stand-ins of
the widgets, of `slicer.app` and of the loader of modules. With the environment variable `SLICER_SOURCE` naming a
checkout of Slicer's source, its own `i18n`, `parameterNodeWrapper` and `ScriptedLoadableModule` take the place of ours.
"""

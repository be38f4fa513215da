"""The panel in 3D Slicer: widgets bound to the parameters, and the worker as a `QProcess`."""

"""The module SPR Registration without its face in 3D Slicer, which is in `qt`."""

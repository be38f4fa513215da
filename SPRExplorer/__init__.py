"""The panel in a browser: the same eight sections and the same worker, with Slicer's own views drawn on a server."""

# Slicer generates and packages here.

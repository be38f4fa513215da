"""Read result files into a real Slicer scene and print what it makes of them; run by test_files_in_slicer.py.

It runs in a process of its own: a fault in Slicer's libraries ends the interpreter.
"""

from __future__ import annotations

import json
import sys

import slicer
import slicer.util
from vtkmodules.vtkCommonMath import vtkMatrix4x4


def transformed(scene, path, points):
    """Points moved by the transform from the parent, the one that resamples images."""
    node = slicer.vtkSlicerTransformLogic().AddTransform(path, scene)
    from_parent = node.GetTransformFromParent()
    return node.GetClassName(), [from_parent.TransformPoint(point) for point in points]


def markups(scene, path):
    """Positions of the control points in RAS."""
    json_file = path.endswith(".mrk.json")
    storage = slicer.vtkMRMLMarkupsJsonStorageNode() if json_file else slicer.vtkMRMLMarkupsFiducialStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(path)
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    if not storage.ReadData(node):
        raise RuntimeError(f"Slicer does not read {path}")
    return [node.GetNthControlPointPosition(k) for k in range(node.GetNumberOfControlPoints())]


def volume(scene, path):
    """The matrix from voxels to RAS and the values (I, J, K)."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(path)
    if not storage.ReadData(node):
        raise RuntimeError(f"Slicer does not read {path}")
    ijk_to_ras = vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijk_to_ras)
    affine = slicer.util.arrayFromVTKMatrix(ijk_to_ras).tolist()
    return affine, slicer.util.arrayFromVolume(node).T.tolist()


def main():
    request = json.loads(sys.argv[1])
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    answer = {
        "transforms": {path: transformed(scene, path, request["points"]) for path in request["transforms"]},
        "markups": {path: markups(scene, path) for path in request["markups"]},
        "volumes": {path: volume(scene, path) for path in request["volumes"]},
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

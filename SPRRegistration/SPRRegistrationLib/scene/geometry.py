"""Volumes of the scene as arrays, and displacements as grid transforms.

Arrays have the axes (X, Y, Z) of the voxels; positions and displacements are in RAS mm of the world. A displacement is
a pull map: the point x of the fixed image corresponds to x + u(x) in the moving image. So it is the transform *from*
the parent of a Slicer transform node.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SPRCore.errors import InputError


class SamplingGrid(NamedTuple):
    """The voxels of an image without their values: shape (X, Y, Z), and matrix from their indices to RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def grid_of(volume: slicer.vtkMRMLScalarVolumeNode) -> SamplingGrid:
    """Return the grid of a volume that has an image; errors as `affine_of`."""
    return SamplingGrid(volume.GetImageData().GetDimensions(), affine_of(volume))


def affine_of(volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """Return the matrix from voxel indices to RAS mm of the world, shape (4, 4).

    Args:
        volume: The volume; its linear parent transforms are included.

    Raises:
        InputError: A parent transform is not linear.
    """
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return to_world(volume) @ slicer.util.arrayFromVTKMatrix(matrix)


def image_of(volume: slicer.vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of a volume, shape (X, Y, Z), not copied, and its affine as `affine_of`.

    Args:
        volume: The volume.

    Raises:
        InputError: It is empty, flat or in color, or a parent transform is not linear.
    """
    image = volume.GetImageData()
    got = ""
    if image is None or image.GetNumberOfPoints() == 0:
        got = "an empty volume"
    elif image.GetNumberOfScalarComponents() != 1:
        got = f"{image.GetNumberOfScalarComponents()} values a voxel"
    elif min(image.GetDimensions()) < 2:
        got = "a single slice"
    if got:
        raise InputError(volume.GetName(), got=got, expected="a three-dimensional image with one value a voxel")
    return slicer.util.arrayFromVolume(volume).transpose(2, 1, 0), affine_of(volume)


def points_of(markups: slicer.vtkMRMLMarkupsNode) -> np.ndarray:
    """Return the placed points of a markups node in RAS mm of the world, shape (N, 3)."""
    placed = slicer.vtkMRMLMarkupsNode.PositionDefined
    states = [markups.GetNthControlPointPositionStatus(i) for i in range(markups.GetNumberOfControlPoints())]
    return slicer.util.arrayFromMarkupsControlPoints(markups, world=True)[[state == placed for state in states]]


def set_image(volume: slicer.vtkMRMLScalarVolumeNode, array: np.ndarray, affine: np.ndarray) -> None:
    """Put voxels into a volume, in place where shape and type are the same.

    Args:
        volume: The volume; its parent transform is removed.
        array: Voxels, shape (X, Y, Z).
        affine: Matrix from voxel indices to RAS mm.
    """
    was_modifying = volume.StartModify()
    try:
        volume.SetAndObserveTransformNodeID(None)
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
        values = array.transpose(2, 1, 0)
        old = slicer.util.arrayFromVolume(volume) if volume.GetImageData() else None
        if old is not None and old.shape == values.shape and old.dtype == values.dtype:
            old[...] = values
            slicer.util.arrayFromVolumeModified(volume)
            volume.StorableModified()
        else:
            volume.SetAndObserveImageData(None)  # another volume may share it
            slicer.util.updateVolumeFromArray(volume, values)
    finally:
        volume.EndModify(was_modifying)


def set_displacement(node: slicer.vtkMRMLGridTransformNode, field: np.ndarray, affine: np.ndarray) -> None:
    """Put a displacement into a transform node, in place where the grid is the same.

    Args:
        node: The node.
        field: Pull map in RAS mm, shape (X, Y, Z, 3).
        affine: Matrix from indices of the field to RAS mm.
    """
    directions, spacing = directions_and_spacing(affine)
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    if transform is None or not _has_grid(transform, field.shape[:3], spacing, affine[:3, 3], directions):
        transform = _empty_grid(field.shape[:3], spacing, affine[:3, 3], directions)
        _values(transform)[...] = field.transpose(2, 1, 0, 3)
        node.SetAndObserveTransformFromParent(transform)
        return
    _values(transform)[...] = field.transpose(2, 1, 0, 3)
    transform.SetInterpolationModeToLinear()
    grid = transform.GetDisplacementGrid()
    grid.GetPointData().GetScalars().Modified()
    grid.Modified()
    transform.Modified()  # the grid alone does not notify observers of the node
    node.StorableModified()


def make_linear(node: slicer.vtkMRMLGridTransformNode) -> None:
    """Interpolate a displacement linearly, as the engine does; Slicer loads transforms with another interpolation."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    if transform is not None:
        transform.SetInterpolationModeToLinear()


def displacement_of(node: slicer.vtkMRMLGridTransformNode) -> tuple[np.ndarray, np.ndarray] | None:
    """Return displacement (not copied) and affine of a transform node, as in `set_displacement`; None for none."""
    transform = node.GetTransformFromParentAs("vtkOrientedGridTransform", False, True)
    grid = None if transform is None else transform.GetDisplacementGrid()
    if grid is None or grid.GetNumberOfPoints() == 0 or grid.GetPointData().GetScalars() is None:
        return None
    affine = np.eye(4)
    directions = transform.GetGridDirectionMatrix()
    turned = np.eye(3) if directions is None else slicer.util.arrayFromVTKMatrix(directions)[:3, :3]
    affine[:3, :3], affine[:3, 3] = turned * grid.GetSpacing(), grid.GetOrigin()
    return _values(transform).transpose(2, 1, 0, 3), affine


def moved_points(node: slicer.vtkMRMLTransformNode, points: np.ndarray) -> np.ndarray:
    """Return the moving points of points of the fixed image, both in RAS mm, shape (N, 3)."""
    transform = node.GetTransformFromParent()
    return np.array([transform.TransformPoint(point) for point in points]).reshape(-1, 3)


def resliced(
    image: vtk.vtkImageData,
    affine: np.ndarray,
    grid: SamplingGrid,
    transform: slicer.vtkMRMLTransformNode,
    labels: bool = False,
) -> vtk.vtkImageData:
    """Return a moving image on the grid of the fixed one.

    Hardening the transform would give the image another grid.

    Args:
        image: Voxels of the moving image, in indices: with the origin 0 and the spacing 1.
        affine: Matrix from its indices to RAS mm.
        grid: Grid of the fixed image.
        transform: Pull map from the fixed to the moving image.
        labels: Whether the nearest voxel is taken, as for label maps; otherwise it is interpolated linearly.

    Returns:
        The image; voxels outside the moving image are 0 in label maps and its minimum otherwise.
    """
    to_moving = vtk.vtkGeneralTransform()
    to_moving.PostMultiply()
    to_moving.Concatenate(slicer.util.vtkMatrixFromArray(grid.affine))
    to_moving.Concatenate(transform.GetTransformFromParent())
    to_moving.Concatenate(slicer.util.vtkMatrixFromArray(np.linalg.inv(affine)))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(to_moving)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(*(bound for size in grid.shape for bound in (0, size - 1)))
    reslice.SetBackgroundLevel(0 if labels else image.GetScalarRange()[0])
    (reslice.SetInterpolationModeToNearestNeighbor if labels else reslice.SetInterpolationModeToLinear)()
    reslice.Update()
    return reslice.GetOutput()


def jacobian_determinant(field: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the factor by which a displacement changes the volume at each voxel, shape (X, Y, Z).

    The determinant of the identity plus the gradient of u, by central differences, one-sided at the border; 0 or less
    where the map folds.

    Args:
        field: Pull map in RAS mm, shape (X, Y, Z, 3).
        affine: Matrix from indices of the field to RAS mm.
    """
    to_voxel = np.linalg.inv(affine[:3, :3]).astype(field.dtype)
    moves = field @ to_voxel.T  # in voxels: the determinant is the same
    a, b, c = ([np.gradient(moves[..., k], axis=axis) + (k == axis) for k in range(3)] for axis in range(3))
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def directions_and_spacing(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split an affine into unit vectors along the axes of the voxels, shape (3, 3), and the spacing in mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return affine[:3, :3] / spacing, spacing


def to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """Return the matrix of the parent transforms of an image or segmentation, shape (4, 4).

    Raises:
        InputError: A parent transform is not linear.
    """
    parent = node.GetParentTransformNode()
    matrix = np.eye(4) if parent is None else matrix_to_world(parent)
    if matrix is None:
        remedy = "harden the transform, or take the image out of it"
        raise InputError(node.GetName(), got="an image under a nonlinear transform", remedy=remedy)
    return matrix


def matrix_to_world(transform: slicer.vtkMRMLTransformNode) -> np.ndarray | None:
    """Return the matrix of a transform, its parents included, shape (4, 4); None if it is not linear."""
    if not transform.IsTransformToWorldLinear():
        return None
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def is_under(node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLTransformNode) -> bool:
    """Return whether a transform is one of the parent transforms of a node."""
    parent = node.GetParentTransformNode()
    while parent is not None and parent is not transform:
        parent = parent.GetParentTransformNode()
    return parent is not None


def _has_grid(
    transform: slicer.vtkOrientedGridTransform,
    shape: tuple[int, ...],
    spacing: np.ndarray,
    origin: np.ndarray,
    directions: np.ndarray,
) -> bool:
    """Return whether a transform has this grid and our data type."""
    grid = transform.GetDisplacementGrid()
    if grid is None or grid.GetDimensions() != tuple(shape) or grid.GetScalarType() != vtk.VTK_FLOAT:
        return False
    turned = slicer.util.arrayFromVTKMatrix(transform.GetGridDirectionMatrix())[:3, :3]
    has = np.concatenate([grid.GetSpacing(), grid.GetOrigin(), turned.ravel()])
    return np.array_equal(has, np.concatenate([spacing, origin, directions.ravel()]))


def _empty_grid(
    shape: tuple[int, ...], spacing: np.ndarray, origin: np.ndarray, directions: np.ndarray
) -> slicer.vtkOrientedGridTransform:
    grid = vtk.vtkImageData()
    grid.SetDimensions(shape)
    grid.SetSpacing(spacing)
    grid.SetOrigin(origin)
    grid.AllocateScalars(vtk.VTK_FLOAT, 3)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    matrix = np.eye(4)
    matrix[:3, :3] = directions
    transform.SetGridDirectionMatrix(slicer.util.vtkMatrixFromArray(matrix))
    transform.SetInterpolationModeToLinear()
    return transform


def _values(transform: slicer.vtkOrientedGridTransform) -> np.ndarray:
    """The vectors of a grid transform as an array (Z, Y, X, 3) that is not copied."""
    grid = transform.GetDisplacementGrid()
    return vtk_to_numpy(grid.GetPointData().GetScalars()).reshape(*reversed(grid.GetDimensions()), 3)


def value_at(volume: slicer.vtkMRMLScalarVolumeNode | None, position: tuple[float, float, float]) -> float | None:
    """Return the voxel of a volume at a point (RAS mm); None outside of it."""
    if volume is None or volume.GetImageData() is None:
        return None
    values = values_at(slicer.util.arrayFromVolume(volume).transpose(2, 1, 0), affine_of(volume), np.array([position]))
    return None if np.isnan(values[0]) else float(values[0])


def is_inside(shape: tuple[int, ...], affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Tell which points lie inside an image.

    Args:
        shape: Its number of voxels along each axis.
        affine: Matrix from their indices to RAS mm.
        points: The points in RAS mm, shape (N, 3).

    Returns:
        Booleans of shape (N,); an image ends half a voxel beyond the centers of its outermost voxels.
    """
    voxels = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return ((voxels >= -0.5) & (voxels <= np.array(shape[:3]) - 0.5)).all(axis=1)


def values_at(array: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the voxels that points lie in.

    Args:
        array: Voxels, shape (X, Y, Z, ...).
        affine: Matrix from their indices to RAS mm.
        points: The points in RAS mm, shape (N, 3).

    Returns:
        Values as float, shape (N, ...); NaN for points outside.
    """
    voxels = np.rint((points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    inside = ((voxels >= 0) & (voxels < array.shape[:3])).all(axis=1)
    values = np.full((len(points), *array.shape[3:]), np.nan, dtype=np.float64)
    values[inside] = array[tuple(voxels[inside].T)]
    return values

"""Detection of padding: a constant outside a field of view or a reconstruction circle.

A constant at the border of an image is padding or a cleared background. They differ in shape: a field of view is a box,
a cylinder, or a rotated or sheared box, and anatomy has none of these shapes. A cleared background holds information
(the outline of the body) and counts as data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import ConvexHull

_COARSE_SIZE = 64  # voxels along an axis of the subsampled image, which is as convex as the image
_LEAST_SHARE = 0.005
_BORDER_SHARE = 0.02
_MOST_GAP = 0.75  # voxels between a digital shape and its convex hull, in the mean over its surface
_CUT_SHARE = 0.5
_BELOW_AIR_HU = -1050.0


def padding_mask(array: np.ndarray) -> np.ndarray | None:
    """Return the mask of the padding; None if there is none.

    Padding is a region of one exact value that reaches the border of the image and whose complement is a field of view:
    a box, a convex cylinder along an axis, or a convex body of few plane faces; or the region consists of whole slices
    at an end of an axis next to a large cross-section; or its value is below that of air on the Hounsfield scale. A
    complement that is uniform next to the region is an object on a background, not a field of view.

    Args:
        array: Finite intensities, shape (X, Y, Z).

    Returns:
        Mask of the same shape, or None. The outermost voxels of the field of view are included if resampling has mixed
        them with the padding.
    """
    steps = [max(1, -(-size // _COARSE_SIZE)) for size in array.shape]
    coarse = array[tuple(slice(None, None, step) for step in steps)]
    values = _border_values(coarse)
    if not values:
        return None
    from scipy.ndimage import binary_dilation  # slow to load and not needed for noisy images

    solid = [value for value in values if _is_solid(coarse == value)]
    groups = [[value] for value in values] + ([solid] if len(solid) > 1 else [])
    below_air = [value for value in values if value < _BELOW_AIR_HU]
    found = np.zeros(array.shape, dtype=bool)
    if below_air and (coarse[~_reaching_border(coarse, below_air)] >= _BELOW_AIR_HU).all():
        found |= _reaching_border(array, below_air)
    for group in groups:
        is_known = group == below_air and found.any()
        if not is_known and _leaves_field_of_view(coarse, _reaching_border(coarse, group), others=values):
            found |= _reaching_border(array, group)
    found |= _cut_slices(array, values)
    if found.mean() < _LEAST_SHARE or found.all():
        return None
    return binary_dilation(found) if _is_mixed(array, found) else found


def _is_mixed(array: np.ndarray, padding: np.ndarray) -> bool:
    """Whether the voxels next to padding have values between it and the data behind them, as after interpolation."""
    shares = []
    for axis in range(3):
        for values, outside in ((array, padding), (np.flip(array, axis), np.flip(padding, axis))):
            lines, marks = np.moveaxis(values, axis, 0), np.moveaxis(outside, axis, 0)
            edge = marks[:-2] & ~marks[1:-1] & ~marks[2:]
            pad, ring, inner = (lines[start : start - 2 or None][edge].astype(np.float64) for start in range(3))
            clear = np.abs(pad - inner) > 1e-9 * (np.abs(pad) + np.abs(inner))
            shares.append((ring[clear] - inner[clear]) / (pad[clear] - inner[clear]))
    found = np.concatenate(shares)
    return bool(found.size and np.median(found) > 0.15)


def _border_values(array: np.ndarray) -> list[float]:
    """Return the values of corners that also fill a fraction of the border: padding of any shape includes a corner."""
    faces = np.concatenate([np.take(array, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    corners = np.unique(array[np.ix_(*[(0, size - 1) for size in array.shape])])
    return [value.item() for value in corners if (faces == value).mean() >= _BORDER_SHARE]


def _is_solid(mask: np.ndarray) -> bool:
    """Whether most voxels of a region are interior, as in padding, and not at its surface, as in a noisy background."""
    from scipy.ndimage import binary_erosion

    return bool(binary_erosion(mask, border_value=1).sum() > 0.3 * mask.sum())


def _reaching_border(array: np.ndarray, values: list[float]) -> np.ndarray:
    """Return the voxels of some values that are connected to the border of the image."""
    from scipy.ndimage import label

    numbers, count = label(_one_of(array, values))
    faces = [np.take(numbers, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    touching = np.zeros(count + 1, dtype=bool)
    touching[np.unique(np.concatenate(faces))] = True
    touching[0] = False
    return touching[numbers]


def _one_of(array: np.ndarray, values: list[float]) -> np.ndarray:
    """Return a mask of the voxels with one of a few values; three times as fast as `numpy.isin`."""
    found = np.zeros(array.shape, dtype=bool)
    for value in values:
        found |= array == value
    return found


def _leaves_field_of_view(array: np.ndarray, constant: np.ndarray, others: list[float]) -> bool:
    from scipy.ndimage import binary_dilation

    inside = ~constant
    if constant.mean() < _LEAST_SHARE or inside.sum() < 64:
        return False
    rest = array[inside]
    surface = array[binary_dilation(constant) & inside & ~_one_of(array, others)]
    if surface.size == 0 or np.ptp(surface.astype(np.float64)) <= 1e-3 * np.ptp(rest.astype(np.float64)):
        return False
    inside = _largest(inside)
    hull = _hull(_ends(inside))
    if hull is None or (hull.volume - inside.sum()) / hull.area >= _MOST_GAP:
        return False
    if array.size - hull.volume < 0.5 * constant.sum():  # scattered over the surface of the complement
        return False
    points = np.argwhere(constant)
    points = points[:: max(1, len(points) // 4000)]
    depth = (points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
    if (depth > -0.6).mean() < 0.95:  # a speckled background is inside the hull of the complement, padding outside
        return False
    return _few_directions(hull) or any(_is_round(inside, axis) for axis in range(3))


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part, without letters and speckles."""
    from scipy.ndimage import label

    numbers, count = label(mask)
    return mask if count < 2 else numbers == 1 + np.argmax(np.bincount(numbers.ravel())[1:])


def _is_round(inside: np.ndarray, axis: int) -> bool:
    """Whether all slices across an axis are one circle, possibly cut off by the border of the image."""
    from scipy.ndimage import binary_erosion

    outline = inside.any(axis=axis)
    thickness = int(inside.any(axis=tuple(other for other in range(3) if other != axis)).sum())
    edge = outline & ~binary_erosion(outline)
    if inside.sum() < (outline.sum() - max(0.01 * outline.sum(), 0.34 * edge.sum())) * thickness:
        return False
    return _is_circle(np.argwhere(edge), outline.shape)


def _is_circle(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the edge of an outline, except at the border of the image, is on one circle."""
    free = points[((points > 0) & (points < np.array(shape) - 1)).all(axis=1)].astype(np.float64)
    if len(free) < 12:
        return False
    rows = np.column_stack([2.0 * free, np.ones(len(free))])
    center_x, center_y, rest = np.linalg.lstsq(rows, (free**2).sum(axis=1), rcond=None)[0]
    radius = np.sqrt(max(rest + center_x**2 + center_y**2, 0.0))
    residual = np.hypot(free[:, 0] - center_x, free[:, 1] - center_y) - radius
    return bool(radius < 4.0 * max(shape) and np.sqrt((residual**2).mean()) < 0.6)


def _few_directions(hull: ConvexHull) -> bool:
    """Whether ten directions, each within 8 degrees, hold nine tenths of a surface: a body of few plane faces."""
    a, b, c = (hull.points[hull.simplices[:, corner]] for corner in range(3))
    areas = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    normals, left = hull.equations[:, :3], areas.copy()
    for _ in range(10):
        left[normals @ normals[np.argmax(left)] > np.cos(np.deg2rad(8.0))] = 0.0
    return bool(left.sum() < 0.1 * areas.sum())


def _ends(inside: np.ndarray) -> np.ndarray:
    """Return the first and last voxel of each line along Z, which have the same convex hull."""
    lines = inside.any(axis=2)
    x, y = np.nonzero(lines)
    first, last = inside.argmax(axis=2)[lines], inside.shape[2] - 1 - inside[:, :, ::-1].argmax(axis=2)[lines]
    return np.concatenate([np.column_stack([x, y, first]), np.column_stack([x, y, last])])


def _hull(points: np.ndarray) -> ConvexHull | None:
    """Return the convex hull of the corners of voxels, so that a single layer has a volume; None if degenerate."""
    from scipy.spatial import ConvexHull, QhullError

    offsets = np.indices((2, 2, 2)).reshape(3, -1).T - 0.5
    try:
        return ConvexHull((points[:, None] + offsets).reshape(-1, 3))
    except QhullError:
        return None


def _cut_slices(array: np.ndarray, values: list[float]) -> np.ndarray:
    """Return whole slices of one value at the end of an axis, next to a large cross-section."""
    found = np.zeros(array.shape, dtype=bool)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        for value in values:
            areas = (array != value).sum(axis=others)
            filled = np.flatnonzero(areas)
            if not filled.size:
                continue
            first, last = filled[0], filled[-1]
            slices: list[slice] = []
            if first > 0 and areas[first] >= _CUT_SHARE * areas.max() and _is_rough(array, axis, first):
                slices.append(slice(0, first))
            if last < len(areas) - 1 and areas[last] >= _CUT_SHARE * areas.max() and _is_rough(array, axis, last):
                slices.append(slice(last + 1, None))
            for part in slices:
                found[(slice(None),) * axis + (part,)] = True
    return found


def _is_rough(array: np.ndarray, axis: int, index: int) -> bool:
    """Whether the content of a slice varies, unlike the face of a drawn block."""
    return np.unique(np.take(array, index, axis=axis)).size > 8

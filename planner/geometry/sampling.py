"""Values between voxels: trilinear samples at points, and resampling onto another grid.

Resampling is always explicit; nothing is re-stamped with another grid's geometry.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.threads import in_parts

Array = NDArray[Any]

WORTH_A_THREAD = 2048
"""Samples that take longer than handing them to a thread."""
PARALLEL = 1e-7
"""Voxels per voxel by which axes may part and still count as parallel: 1e-4 over 1000 voxels."""


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def value_at(values: Array, x: float, y: float, z: float, outside: float) -> float:
    """Interpolate at a continuous index, for other kernels; outer half voxels have their centre's
    value."""
    ni, nj, nk = values.shape
    if not (-0.5 <= x <= ni - 0.5 and -0.5 <= y <= nj - 0.5 and -0.5 <= z <= nk - 0.5):
        return outside
    x = min(max(x, 0.0), ni - 1.0)
    y = min(max(y, 0.0), nj - 1.0)
    z = min(max(z, 0.0), nk - 1.0)
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = x - i, y - j, z - k
    i1, j1, k1 = min(i + 1, ni - 1), min(j + 1, nj - 1), min(k + 1, nk - 1)
    low = (values[i, j, k] * (1 - fx) + values[i1, j, k] * fx) * (1 - fy) + (
        values[i, j1, k] * (1 - fx) + values[i1, j1, k] * fx
    ) * fy
    high = (values[i, j, k1] * (1 - fx) + values[i1, j, k1] * fx) * (1 - fy) + (
        values[i, j1, k1] * (1 - fx) + values[i1, j1, k1] * fx
    ) * fy
    return low * (1 - fz) + high * fz  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sample_rays(
    values: Array,
    affine: Array,
    points: Array,
    directions: Array,
    offsets: Array,
    outside: float,
    out: Array,
    start: int,
    stop: int,
) -> None:
    """Sample at points[n] + offsets[m] * directions[n]; affine is (3, 4), patient to index."""
    index, step = np.empty(3), np.empty(3)
    for n in range(start, stop):
        x, y, z = points[n]
        u, v, w = directions[n]
        for a in range(3):
            index[a] = affine[a, 0] * x + affine[a, 1] * y + affine[a, 2] * z + affine[a, 3]
            step[a] = affine[a, 0] * u + affine[a, 1] * v + affine[a, 2] * w
        for m in range(offsets.shape[0]):
            t = offsets[m]
            i, j, k = index[0] + t * step[0], index[1] + t * step[1], index[2] + t * step[2]
            out[n, m] = value_at(values, i, j, k, outside)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _resample(
    values: Array, affine: Array, outside: float, out: Array, start: int, stop: int
) -> None:
    """Fill slabs of out; affine is (3, 4), index of out to index of values."""
    for a in range(start, stop):
        for b in range(out.shape[1]):
            x = affine[0, 0] * a + affine[0, 1] * b + affine[0, 3]
            y = affine[1, 0] * a + affine[1, 1] * b + affine[1, 3]
            z = affine[2, 0] * a + affine[2, 1] * b + affine[2, 3]
            for c in range(out.shape[2]):
                u, v, w = c * affine[0, 2], c * affine[1, 2], c * affine[2, 2]
                out[a, b, c] = value_at(values, x + u, y + v, z + w, outside)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _between(place: float, size: int) -> tuple[int, int, float]:
    """The two voxels of an axis around a place, and the share of the second; -1 off the axis."""
    if not -0.5 <= place <= size - 0.5:
        return -1, -1, 0.0
    place = min(max(place, 0.0), size - 1.0)
    first = int(place)
    return first, min(first + 1, size - 1), place - first


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _resample_along_axes(
    values: Array, scale: Array, shift: Array, outside: float, out: Array, start: int, stop: int
) -> None:
    """The same where the axes of both lattices agree: index of values = scale * index + shift.

    Four rows of voxels are combined to one before anything is looked up along it.
    """
    ni, nj, nk = values.shape
    row = np.empty(nk)
    count = out.shape[2]
    first, second, share = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count)
    for c in range(count):
        first[c], second[c], share[c] = _between(scale[2] * c + shift[2], nk)
    for a in range(start, stop):
        i, i1, fx = _between(scale[0] * a + shift[0], ni)
        for b in range(out.shape[1]):
            j, j1, fy = _between(scale[1] * b + shift[1], nj)
            if i < 0 or j < 0:
                out[a, b, :] = outside
                continue
            for k in range(nk):
                row[k] = (values[i, j, k] * (1 - fx) + values[i1, j, k] * fx) * (1 - fy) + (
                    values[i, j1, k] * (1 - fx) + values[i1, j1, k] * fx
                ) * fy
            for c in range(count):
                if first[c] < 0:
                    out[a, b, c] = outside
                else:
                    out[a, b, c] = row[first[c]] * (1 - share[c]) + row[second[c]] * share[c]


def _read_only(values: ArrayLike, dtype: Any = None) -> Array:
    """View an array in C order, protected: kernels are compiled for each order and protection."""
    view = np.ascontiguousarray(values, dtype).view()
    view.flags.writeable = False
    return view


def _oriented(values: Array) -> tuple[Array, bool]:
    """View an array as kernels take it, and tell whether its axes were reversed for that."""
    reverse = values.flags.f_contiguous and not values.flags.c_contiguous
    return _read_only(values.T if reverse else values), reverse


def sample(values: Array, grid: Grid, points: ArrayLike, outside: float) -> NDArray[np.float32]:
    """Interpolate an array at (..., 3) patient points; points off the grid get `outside`."""
    where = np.asarray(points, float)
    flat = where.reshape(-1, 3)
    found = sample_rays(values, grid, flat, np.broadcast_to(0.0, flat.shape), (0.0,), outside)
    return found.reshape(where.shape[:-1])


def sample_rays(
    values: Array,
    grid: Grid,
    points: Float,
    directions: Float,
    offsets: ArrayLike,
    outside: float,
) -> NDArray[np.float32]:
    """(N, M) values of an array along rays; places off the grid get `outside`.

    points, directions: (N, 3) patient LPS, mm. offsets: (M,) places on each ray, in multiples of
    its direction.
    """
    if values.shape != grid.shape:
        raise ValueError(f"array of shape {values.shape} does not fit the grid {grid.shape}")
    view, reverse = _oriented(values)
    affine = grid.ijk_from_patient[:3]
    affine = affine[::-1] if reverse else affine
    inputs = [_read_only(each, float) for each in (affine, points, directions, offsets)]
    out = np.empty((len(points), inputs[3].size), np.float32)
    grain = max(1, WORTH_A_THREAD // max(1, inputs[3].size))
    in_parts(_sample_rays, len(out), view, *inputs, float(outside), out, grain=grain)
    return out


def to_sitk(values: Array, grid: Grid) -> sitk.Image:
    """Wrap an [i, j, k] array and its grid as a SimpleITK image (which is LPS as well)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    image.SetOrigin([float(x) for x in grid.origin])
    image.SetSpacing([float(x) for x in grid.spacing_mm])
    image.SetDirection([float(x) for x in grid.direction.ravel()])
    return image


def resample(
    values: Array, source: Grid, target: Grid, outside: float, nearest: bool = False
) -> Array:
    """Resample an array from its grid onto another, linear or nearest, in float32 or its own type.

    The result has the memory order of the array. Raises ValueError when the grids name different
    frames of reference.
    """
    frames = {source.frame_of_reference_uid, target.frame_of_reference_uid} - {""}
    if len(frames) == 2:
        raise ValueError(f"grids of different frames of reference: {sorted(frames)}")
    if values.shape != source.shape:
        raise ValueError(f"array of shape {values.shape} does not fit the grid {source.shape}")
    if nearest:
        return resample_with_itk(values, source, target, outside, nearest=True)
    view, reverse = _oriented(values)
    affine = (source.ijk_from_patient @ target.patient_from_ijk)[:3]
    if reverse:
        affine = affine[::-1][:, [2, 1, 0, 3]]
    out = np.empty(target.shape[::-1] if reverse else target.shape, np.float32)
    scale, shift = _read_only(np.diagonal(affine)), _read_only(affine[:, 3])
    if np.abs(affine[:, :3] - np.diag(scale)).max() < PARALLEL:
        in_parts(_resample_along_axes, len(out), view, scale, shift, float(outside), out)
    else:
        in_parts(_resample, len(out), view, _read_only(affine), float(outside), out)
    return out.T if reverse else out


def resample_with_itk(
    values: Array, source: Grid, target: Grid, outside: float, nearest: bool = False
) -> Array:
    """Resample as `resample` does, but by SimpleITK: slower, and other roundings."""
    image = to_sitk(values, source)
    out = sitk.Resample(
        image,
        [int(n) for n in target.shape],
        sitk.Transform(),
        sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear,
        [float(x) for x in target.origin],
        [float(x) for x in target.spacing_mm],
        [float(x) for x in target.direction.ravel()],
        float(outside),
        image.GetPixelID() if nearest else sitk.sitkFloat32,
    )
    return np.asarray(sitk.GetArrayFromImage(out).T)

"""Values between voxels: trilinear samples at points, and resampling onto another grid.

Resampling is always explicit; nothing is re-stamped with another grid's geometry.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Grid

Array = NDArray[Any]


@numba.njit(cache=True, nogil=True, parallel=False)  # type: ignore[untyped-decorator]
def _trilinear(values: Array, ijk: Array, outside: float, out: Array) -> None:
    ni, nj, nk = values.shape
    for n in range(ijk.shape[0]):
        x, y, z = ijk[n, 0], ijk[n, 1], ijk[n, 2]
        if not (-0.5 <= x <= ni - 0.5 and -0.5 <= y <= nj - 0.5 and -0.5 <= z <= nk - 0.5):
            out[n] = outside
            continue
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
        out[n] = low * (1 - fz) + high * fz


def sample(values: Array, grid: Grid, points: ArrayLike, outside: float) -> NDArray[np.float32]:
    """Interpolate an array at (..., 3) patient points; points off the grid get `outside`."""
    if values.shape != grid.shape:
        raise ValueError(f"array of shape {values.shape} does not fit the grid {grid.shape}")
    where = np.asarray(points, float)
    ijk = np.ascontiguousarray(grid.to_ijk(where).reshape(-1, 3))
    out = np.empty(len(ijk), np.float32)
    _trilinear(values, ijk, float(outside), out)
    return out.reshape(where.shape[:-1])


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

    Raises ValueError when the grids name different frames of reference.
    """
    frames = {source.frame_of_reference_uid, target.frame_of_reference_uid} - {""}
    if len(frames) == 2:
        raise ValueError(f"grids of different frames of reference: {sorted(frames)}")
    if values.shape != source.shape:
        raise ValueError(f"array of shape {values.shape} does not fit the grid {source.shape}")
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

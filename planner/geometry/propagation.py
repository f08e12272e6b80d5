"""Distance to scattered points on a lattice, to a small fraction of a voxel.

The points may lie between voxel centres, unlike those of a distance transform of a mask. Each voxel
keeps the index of the nearest point known to it, and hands it to its neighbours in raster sweeps
(Danielsson 1980, with all 26 neighbours).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid

Array = NDArray[Any]

SWEEPS = 2


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _plant(seeds: Array, nearest: Array, square: Array) -> None:
    """Give each point to the eight voxels around it."""
    ni, nj, nk = nearest.shape
    for n in range(seeds.shape[0]):
        for c in range(8):
            i = int(seeds[n, 0]) + (c & 1)
            j = int(seeds[n, 1]) + ((c >> 1) & 1)
            k = int(seeds[n, 2]) + (c >> 2)
            if 0 <= i < ni and 0 <= j < nj and 0 <= k < nk:
                x, y, z = i - seeds[n, 0], j - seeds[n, 1], k - seeds[n, 2]
                gap = x * x + y * y + z * z
                if gap < square[i, j, k]:
                    square[i, j, k], nearest[i, j, k] = gap, n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _improve(
    seeds: Array, nearest: Array, square: Array, i: int, j: int, k: int, sign: int
) -> None:
    """Take over a nearer point from the neighbours that were visited before."""
    ni, nj, nk = nearest.shape
    own, best = nearest[i, j, k], square[i, j, k]
    for c in range(13):
        a = i + sign * (c // 9 - 1)
        b = j + sign * ((c // 3) % 3 - 1)
        d = k + sign * (c % 3 - 1)
        if not (0 <= a < ni and 0 <= b < nj and 0 <= d < nk):
            continue
        seed = nearest[a, b, d]
        if seed < 0 or seed == own:
            continue
        x, y, z = i - seeds[seed, 0], j - seeds[seed, 1], k - seeds[seed, 2]
        gap = x * x + y * y + z * z
        if gap < best:
            own, best = seed, gap
    nearest[i, j, k], square[i, j, k] = own, best


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _propagate(seeds: Array, wanted: Array, nearest: Array, square: Array, sweeps: int) -> None:
    ni, nj, nk = nearest.shape
    for sweep in range(sweeps):
        sign = 1 if sweep % 2 == 0 else -1
        for ii in range(ni):
            i = ii if sign > 0 else ni - 1 - ii
            for jj in range(nj):
                j = jj if sign > 0 else nj - 1 - jj
                for kk in range(nk):
                    k = kk if sign > 0 else nk - 1 - kk
                    if wanted[i, j, k]:
                        _improve(seeds, nearest, square, i, j, k, sign)


def nearest_seed_distances(
    seeds: Float, grid: Grid, wanted: NDArray[np.bool_], cap_mm: float
) -> NDArray[np.float32]:
    """Distance (mm) of the wanted voxels of an isotropic grid to the nearest of (S, 3) points.

    Points are handed on inside the wanted voxels only. The figure is never too small; it is too
    large by less than a hundredth of a voxel on average. Unwanted voxels get cap_mm.
    """
    square = np.full(grid.shape, np.inf, np.float32)
    nearest = np.full(grid.shape, -1, np.int32)
    points = np.ascontiguousarray(grid.to_ijk(seeds))
    _plant(points, nearest, square)
    _propagate(points, wanted, nearest, square, SWEEPS)
    out = np.sqrt(square) * np.float32(grid.spacing_mm.min())
    return np.where(wanted, np.minimum(out, cap_mm), cap_mm).astype(np.float32)

"""Closed triangle surfaces to masks on a grid."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid

Array = NDArray[Any]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _meets(vertices: Array, p: int, q: int, k: float) -> tuple[bool, float, float]:
    """Where an edge meets the plane of an index k: whether, and its i and j there.

    The lower end goes first, so that the two triangles of an edge agree to the last digit.
    """
    if vertices[p, 2] > vertices[q, 2]:
        p, q = q, p
    if not (vertices[p, 2] <= k < vertices[q, 2]):
        return False, 0.0, 0.0
    share = (k - vertices[p, 2]) / (vertices[q, 2] - vertices[p, 2])
    i = vertices[p, 0] + share * (vertices[q, 0] - vertices[p, 0])
    j = vertices[p, 1] + share * (vertices[q, 1] - vertices[p, 1])
    return True, i, j


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _toggle(out: Array, i0: float, j0: float, i1: float, j1: float, k: int) -> None:
    """Toggle the first voxel behind a triangle's section with plane k, in each of its rows."""
    if j0 > j1:
        i0, j0, i1, j1 = i1, j1, i0, j0
    for j in range(max(int(np.ceil(j0)), 0), min(int(np.ceil(j1)), out.shape[1])):
        i = max(int(np.ceil(i0 + (i1 - i0) * (j - j0) / (j1 - j0))), 0)
        if i < out.shape[0]:
            out[i, j, k] ^= True


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mark_crossings(vertices: Array, faces: Array, out: Array) -> None:
    """Toggle in every row of voxels along i the first one behind each crossing of the surface."""
    for f in range(faces.shape[0]):
        a, b, c = faces[f]
        ks = vertices[a, 2], vertices[b, 2], vertices[c, 2]
        low, high = max(int(np.ceil(min(ks))), 0), min(int(np.floor(max(ks))) + 1, out.shape[2])
        for k in range(low, high):
            on_ab, i_ab, j_ab = _meets(vertices, a, b, k)
            on_bc, i_bc, j_bc = _meets(vertices, b, c, k)
            on_ca, i_ca, j_ca = _meets(vertices, c, a, k)
            if on_ab and on_bc:
                _toggle(out, i_ab, j_ab, i_bc, j_bc, k)
            elif on_bc and on_ca:
                _toggle(out, i_bc, j_bc, i_ca, j_ca, k)
            elif on_ab and on_ca:
                _toggle(out, i_ab, j_ab, i_ca, j_ca, k)


def voxelise(vertices: Float, faces: NDArray[np.int64], grid: Grid) -> NDArray[np.bool_]:
    """(I, J, K) voxels whose centres lie inside a closed surface.

    vertices: (V, 3) patient LPS, mm. faces: (F, 3). A voxel is inside when the surface crosses its
    row of voxels an odd number of times before it. Works on oblique and left-handed grids, since
    the surface is taken into index space first.
    """
    ijk = grid.to_ijk(vertices)
    out = np.zeros(grid.shape, bool)
    low = np.maximum(np.floor(ijk.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(ijk.max(axis=0)).astype(int) + 1, grid.shape)
    if (high <= low).any():
        return out
    box = out[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    _mark_crossings(ijk - low, np.ascontiguousarray(faces, np.int64), box)
    np.logical_xor.accumulate(box, axis=0, out=box)
    return out

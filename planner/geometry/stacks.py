"""Several scalar fields on one lattice, walked together: what every displaced needle meets.

A stack holds LANES fields, the values of one lattice point side by side, so that a sample reads its
neighbours once and weighs them once for all fields.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.fields import FAR_MM, WORTH_A_THREAD
from planner.geometry.grid import Float, Grid
from planner.geometry.segments import perpendicular_axes
from planner.geometry.threads import in_parts

Array = NDArray[Any]

LANES = 5
"""The kernel's fields are unrolled by hand: a loop over them costs three times as much."""


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _blend(
    flat: Array, at: Array, up: int, lane: int, w00: float, w10: float, w01: float, w11: float
) -> tuple[float, float]:
    """One field's value in the lower and in the upper plane of a cell."""
    a, b, c, d = at[0] + lane, at[1] + lane, at[2] + lane, at[3] + lane
    low = w00 * flat[a] + w10 * flat[b] + w01 * flat[c] + w11 * flat[d]
    high = w00 * flat[a + up] + w10 * flat[b + up] + w01 * flat[c + up] + w11 * flat[d + up]
    return low, high


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _walk(
    stack: Array, starts: Array, ends: Array, step: float, out: Array, start: int, stop: int
) -> None:
    ni, nj, nk, lanes = stack.shape
    flat = stack.reshape(-1)
    up, right, back = np.uint64(lanes), np.uint64(nk * lanes), np.uint64(nj * nk * lanes)
    one = np.float32(1.0)
    for n in range(start, stop):
        dx, dy, dz = ends[n, 0] - starts[n, 0], ends[n, 1] - starts[n, 1], ends[n, 2] - starts[n, 2]
        steps = max(1, int(np.ceil(np.sqrt(dx * dx + dy * dy + dz * dz) / step)))
        m0 = m1 = m2 = m3 = m4 = np.float32(FAR_MM)
        for s in range(steps + 1):
            t = s / steps
            x, y, z = starts[n, 0] + t * dx, starts[n, 1] + t * dy, starts[n, 2] + t * dz
            if not (0.0 <= x <= ni - 1.0 and 0.0 <= y <= nj - 1.0 and 0.0 <= z <= nk - 1.0):
                continue
            i, j, k = min(int(x), ni - 2), min(int(y), nj - 2), min(int(z), nk - 2)
            fx, fy, fz = np.float32(x - i), np.float32(y - j), np.float32(z - k)
            gx, gy, gz = one - fx, one - fy, one - fz
            w = (gx * gy, fx * gy, gx * fy, fx * fy)
            first = np.uint64(i) * back + np.uint64(j) * right + np.uint64(k) * up
            at = (first, first + back, first + right, first + back + right)
            low, high = _blend(flat, at, up, np.uint64(0), w[0], w[1], w[2], w[3])
            m0 = min(m0, gz * low + fz * high)
            low, high = _blend(flat, at, up, np.uint64(1), w[0], w[1], w[2], w[3])
            m1 = min(m1, gz * low + fz * high)
            low, high = _blend(flat, at, up, np.uint64(2), w[0], w[1], w[2], w[3])
            m2 = min(m2, gz * low + fz * high)
            low, high = _blend(flat, at, up, np.uint64(3), w[0], w[1], w[2], w[3])
            m3 = min(m3, gz * low + fz * high)
            low, high = _blend(flat, at, up, np.uint64(4), w[0], w[1], w[2], w[3])
            m4 = min(m4, gz * low + fz * high)
        out[n, 0], out[n, 1], out[n, 2], out[n, 3], out[n, 4] = m0, m1, m2, m3, m4


def stack_minima(stack: Array, grid: Grid, starts: Float, ends: Float, step_mm: float) -> Float:
    """Least value (N, LANES) of each field of a stack over (N, 3) paths, patient LPS, mm.

    stack: (I, J, K, LANES) float32 on an isotropic grid, mm. Parts of a path off the grid do not
    count; a path that never meets it has FAR_MM.
    """
    if stack.shape != (*grid.shape, LANES) or not stack.flags.c_contiguous:
        raise ValueError(f"a stack of {LANES} fields on {grid.shape} is wanted, got {stack.shape}")
    out = np.empty((len(starts), LANES), np.float32)
    in_parts(
        _walk,
        len(starts),
        stack,
        np.ascontiguousarray(grid.to_ijk(starts)),
        np.ascontiguousarray(grid.to_ijk(ends)),
        step_mm / float(grid.spacing_mm.min()),
        out,
        grain=WORTH_A_THREAD,
    )
    return out.astype(np.float64)


def displaced_paths(start: Float, end: Float, moves: Float) -> tuple[Float, Float]:
    """Starts and ends, (N, 3), of displaced copies of one path.

    start, end: (3,) patient, mm. moves: (N, 5), two lateral offsets at the start (mm), two lateral
    slopes (mm per mm of depth), and a shift of the end along the path (mm).
    """
    along, first, second = perpendicular_axes(np.asarray(end, float) - start)
    depths = np.maximum(0.0, np.linalg.norm(np.asarray(end) - start) + moves[:, 4:5])
    starts = start + moves[:, 0:1] * first + moves[:, 1:2] * second
    slopes = along + moves[:, 2:3] * first + moves[:, 3:4] * second
    return starts, starts + depths * slopes

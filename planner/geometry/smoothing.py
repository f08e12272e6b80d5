"""Gaussian windows over fields: what scipy.ndimage.gaussian_filter gives, faster.

float32 fields of three axes, mirrored at their borders ("reflect"). Sums run in float64 and in the
order of scipy, and each axis is rounded to float32, so that the figures are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.threads import in_parts

Array = NDArray[Any]

TRUNCATE = 4.0
"""Standard deviations at which a window ends, unless told otherwise; scipy's default."""


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mirrored(n: int, size: int) -> int:
    """Index of a place beyond the border: d c b a | a b c d | d c b a."""
    n %= 2 * size
    return n if n < size else 2 * size - 1 - n


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _along_rows(field: Array, half: Array, out: Array, start: int, stop: int) -> None:
    """Smooth slabs of a (A, B, N) field along its last axis; half: (R + 1,) from the centre out."""
    reach, size = half.shape[0] - 1, field.shape[2]
    padded, total = np.empty(size + 2 * reach), np.empty(size)
    for a in range(start, stop):
        for b in range(field.shape[1]):
            for n in range(reach):
                padded[n] = field[a, b, _mirrored(n - reach, size)]
                padded[size + reach + n] = field[a, b, _mirrored(size + n, size)]
            middle = padded[reach : reach + size]  # plain indices into views run as vectors
            for n in range(size):
                middle[n] = field[a, b, n]
                total[n] = middle[n] * half[0]
            for d in range(reach, 0, -1):
                before, after = padded[reach - d :], padded[reach + d :]
                for n in range(size):
                    total[n] += (before[n] + after[n]) * half[d]
            for n in range(size):
                out[a, b, n] = total[n]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _across_rows(field: Array, half: Array, out: Array, start: int, stop: int) -> None:
    """Smooth a (A, N, B) field along its middle axis, for the places start to stop of it."""
    reach, size = half.shape[0] - 1, field.shape[1]
    total = np.empty(field.shape[2])
    for a in range(field.shape[0]):
        for n in range(start, stop):
            for b in range(total.shape[0]):
                total[b] = field[a, n, b] * half[0]
            for d in range(reach, 0, -1):
                before, after = _mirrored(n - d, size), _mirrored(n + d, size)
                for b in range(total.shape[0]):
                    pair = np.float64(field[a, before, b]) + np.float64(field[a, after, b])
                    total[b] += pair * half[d]
            for b in range(total.shape[0]):
                out[a, n, b] = total[b]


def _half_window(sigma: float, truncate: float) -> NDArray[np.float64]:
    """(R + 1,) weights of a Gaussian from its centre outwards, as scipy makes them."""
    reach = int(truncate * sigma + 0.5)
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    return np.ascontiguousarray((weights / weights.sum())[reach:])


def gaussian(
    field: NDArray[Any], sigma: float | Sequence[float] | Array, truncate: float = TRUNCATE
) -> NDArray[np.float32]:
    """Smooth a (I, J, K) field; sigma in voxels, one for all axes or one per axis."""
    if field.ndim != 3:
        raise ValueError(f"a field of three axes is smoothed, got shape {field.shape}")
    now = np.ascontiguousarray(field, np.float32)
    shape = now.shape
    for axis, width in enumerate(np.broadcast_to(np.asarray(sigma, float), 3)):
        half = _half_window(float(width), truncate) if width > 1e-15 else np.ones(1)
        if len(half) == 1:
            continue
        out = np.empty(shape, np.float32)
        if axis == 2:
            in_parts(_along_rows, shape[0], now, half, out)
        else:
            lines = (1, shape[0], shape[1] * shape[2]) if axis == 0 else shape
            in_parts(_across_rows, lines[1], now.reshape(lines), half, out.reshape(lines))
        now = out
    return now.copy() if now is field else now

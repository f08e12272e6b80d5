"""Exact distances between a segment and triangles: the needle's axis against a surface.

A capsule is the set of points within a radius of a segment; its distance to a surface is the
segment's distance less the radius. Formulas: Ericson, Real-Time Collision Detection, 2005, 5.1.5
(point and triangle), 5.1.9 (two segments) and 5.3.6 (segment through triangle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangles prepared for distance queries.

    corners: (F, 3, 3) patient LPS, mm. centres: (F, 3). radii: (F,) centre to farthest corner, mm.
    """

    corners: Float
    centres: Float
    radii: Float

    @classmethod
    def of(cls, vertices: Float, faces: NDArray[np.int64]) -> Self:
        """Prepare the triangles of a surface; vertices: (V, 3), faces: (F, 3)."""
        corners = np.ascontiguousarray(np.asarray(vertices, float)[faces]).reshape(-1, 3, 3)
        centres = np.ascontiguousarray(corners.mean(axis=1))
        radii = np.linalg.norm(corners - centres[:, None], axis=2)
        return cls(corners, centres, radii.max(axis=1) if len(radii) else np.empty(0))

    def __len__(self) -> int:
        return len(self.centres)


@dataclass(frozen=True, eq=False)
class Nearest:
    """Where a segment is nearest to a surface.

    distance_mm: from the segment, 0 where it crosses. witness: (3,) on the surface.
    fraction: 0 at the segment's start, 1 at its end.
    """

    distance_mm: float
    witness: Float
    fraction: float


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _dot(a: Array, b: Array) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _on_triangle(p: Array, a: Array, b: Array, c: Array, out: Array) -> None:
    """Closest point of a triangle to p."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        out[:] = a
        return
    bp = p - b
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        out[:] = b
        return
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        out[:] = a + d1 / max(d1 - d3, 1e-30) * ab
        return
    cp = p - c
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        out[:] = c
        return
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        out[:] = a + d2 / max(d2 - d6, 1e-30) * ac
        return
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        out[:] = b + (d4 - d3) / max((d4 - d3) + (d5 - d6), 1e-30) * (c - b)
        return
    total = max(va + vb + vc, 1e-30)
    out[:] = a + vb / total * ab + vc / total * ac


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _segments(p: Array, d1: Array, q: Array, d2: Array) -> tuple[float, float]:
    """Fractions of the closest points of p + s d1 and q + t d2."""
    r = p - q
    a, e, f = _dot(d1, d1), _dot(d2, d2), _dot(d2, r)
    if a <= 1e-18:
        return 0.0, min(1.0, max(0.0, f / max(e, 1e-30)))
    c = _dot(d1, r)
    if e <= 1e-18:
        return min(1.0, max(0.0, -c / a)), 0.0
    b = _dot(d1, d2)
    bottom = a * e - b * b
    s = min(1.0, max(0.0, (b * f - c * e) / bottom)) if bottom > 1e-18 else 0.0
    t = (b * s + f) / e
    if t < 0.0:
        return min(1.0, max(0.0, -c / a)), 0.0
    if t > 1.0:
        return min(1.0, max(0.0, (b - c) / a)), 1.0
    return s, t


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _crossing(p: Array, d: Array, a: Array, b: Array, c: Array) -> float:
    """Fraction at which p + t d passes through a triangle, or -1."""
    ab, ac = b - a, c - a
    h = np.cross(d, ac)
    det = _dot(ab, h)
    if abs(det) < 1e-15:
        return -1.0
    s = p - a
    u = _dot(s, h) / det
    if u < 0 or u > 1:
        return -1.0
    q = np.cross(s, ab)
    v = _dot(d, q) / det
    if v < 0 or u + v > 1:
        return -1.0
    t = _dot(ac, q) / det
    return t if 0 <= t <= 1 else -1.0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pair(p: Array, d: Array, tri: Array, found: Array) -> None:
    """Improve found = (distance, witness x y z, fraction) by one triangle."""
    t = _crossing(p, d, tri[0], tri[1], tri[2])
    if t >= 0:
        if found[0] > 0.0:
            found[0] = 0.0
            found[1:4] = p + t * d
            found[4] = t
        return
    near = np.empty(3)
    for end in range(2):
        point = p + end * d
        _on_triangle(point, tri[0], tri[1], tri[2], near)
        gap = np.sqrt(_dot(point - near, point - near))
        if gap < found[0]:
            found[0] = gap
            found[1:4] = near
            found[4] = end
    for e in range(3):
        edge = tri[(e + 1) % 3] - tri[e]
        s, u = _segments(p, d, tri[e], edge)
        on_edge = tri[e] + u * edge
        gap_vector = p + s * d - on_edge
        gap = np.sqrt(_dot(gap_vector, gap_vector))
        if gap < found[0]:
            found[0] = gap
            found[1:4] = on_edge
            found[4] = s


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _nearest(p: Array, d: Array, corners: Array, centres: Array, radii: Array) -> Array:
    found = np.zeros(5)
    found[0] = 1e9
    square = _dot(d, d)
    bounds = np.empty(len(radii))
    first = 0
    for f in range(len(radii)):
        x, y, z = centres[f, 0] - p[0], centres[f, 1] - p[1], centres[f, 2] - p[2]
        t = 0.0
        if square > 0:
            t = min(1.0, max(0.0, (x * d[0] + y * d[1] + z * d[2]) / square))
        x, y, z = x - t * d[0], y - t * d[1], z - t * d[2]
        bounds[f] = np.sqrt(x * x + y * y + z * z) - radii[f]
        if bounds[f] < bounds[first]:
            first = f
    _pair(p, d, corners[first], found)
    for f in range(len(radii)):
        if bounds[f] < found[0]:
            _pair(p, d, corners[f], found)
    return found


def nearest_on_triangles(start: Float, end: Float, triangles: Triangles) -> Nearest:
    """Exact distance between the segment from start to end, (3,) each, and a surface.

    An empty surface is infinitely far away.
    """
    if len(triangles) == 0:
        return Nearest(float("inf"), np.full(3, np.nan), 0.0)
    p = np.asarray(start, float)
    found = _nearest(
        p, np.asarray(end, float) - p, triangles.corners, triangles.centres, triangles.radii
    )
    return Nearest(float(found[0]), found[1:4].copy(), float(found[4]))

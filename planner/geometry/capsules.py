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
Vector = tuple[float, float, float]


BLOCK_MM = 8.0
"""Triangles of one cell of this size are held against a bound together."""


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangles prepared for distance queries; those of one block lie side by side.

    corners: (F, 3, 3) patient LPS, mm. centres: (F, 3). radii: (F,) centre to farthest corner, mm.
    blocks: (B + 1,) where blocks begin. balls: (B, 4) centre and radius that hold a block, mm.
    """

    corners: Float
    centres: Float
    radii: Float
    blocks: NDArray[np.int64]
    balls: Float

    @classmethod
    def of(cls, vertices: Float, faces: NDArray[np.int64]) -> Self:
        """Prepare the triangles of a surface; vertices: (V, 3), faces: (F, 3)."""
        corners = np.asarray(vertices, float)[faces].reshape(-1, 3, 3)
        centres = corners.mean(axis=1)
        if len(corners) == 0:
            return cls(corners, centres, np.empty(0), np.zeros(1, np.int64), np.empty((0, 4)))
        cells = np.floor((centres - centres.min(axis=0)) / BLOCK_MM).astype(np.int64)
        order = np.lexsort(cells.T)
        cells, corners = cells[order], np.ascontiguousarray(corners[order])
        centres = np.ascontiguousarray(centres[order])
        radii = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)
        first = np.flatnonzero(np.any(np.diff(cells, axis=0), axis=1)) + 1
        blocks = np.concatenate([[0], first, [len(corners)]]).astype(np.int64)
        sizes = np.diff(blocks)
        middles = np.add.reduceat(centres, blocks[:-1]) / sizes[:, None]
        reach = np.linalg.norm(centres - np.repeat(middles, sizes, axis=0), axis=1) + radii
        balls = np.column_stack([middles, np.maximum.reduceat(reach, blocks[:-1])])
        return cls(corners, centres, radii, blocks, np.ascontiguousarray(balls))

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
def _vector(row: Array) -> Vector:
    return row[0], row[1], row[2]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _less(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _along(a: Vector, t: float, b: Vector) -> Vector:
    """a + t b."""
    return a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _cross(a: Vector, b: Vector) -> Vector:
    x, y, z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    return x, y, z


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _on_triangle(p: Vector, a: Vector, b: Vector, c: Vector) -> Vector:
    """Closest point of a triangle to p."""
    ab, ac, ap = _less(b, a), _less(c, a), _less(p, a)
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return a
    bp = _less(p, b)
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return b
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return _along(a, d1 / max(d1 - d3, 1e-30), ab)  # type: ignore[no-any-return]
    cp = _less(p, c)
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return c
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return _along(a, d2 / max(d2 - d6, 1e-30), ac)  # type: ignore[no-any-return]
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        return _along(b, (d4 - d3) / max((d4 - d3) + (d5 - d6), 1e-30), _less(c, b))  # type: ignore[no-any-return]
    total = max(va + vb + vc, 1e-30)
    return _along(_along(a, vb / total, ab), vc / total, ac)  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _segments(p: Vector, d1: Vector, q: Vector, d2: Vector) -> tuple[float, float]:
    """Fractions of the closest points of p + s d1 and q + t d2."""
    r = _less(p, q)
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
def _crossing(p: Vector, d: Vector, a: Vector, b: Vector, c: Vector) -> float:
    """Fraction at which p + t d passes through a triangle, or -1."""
    ab, ac = _less(b, a), _less(c, a)
    h = _cross(d, ac)
    det = _dot(ab, h)
    if abs(det) < 1e-15:
        return -1.0
    s = _less(p, a)
    u = _dot(s, h) / det
    if u < 0 or u > 1:
        return -1.0
    q = _cross(s, ab)
    v = _dot(d, q) / det
    if v < 0 or u + v > 1:
        return -1.0
    t = _dot(ac, q) / det
    return t if 0 <= t <= 1 else -1.0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _note(found: Array, gap: float, witness: Vector, fraction: float) -> None:
    """Improve found = (distance, witness x y z, fraction)."""
    if gap < found[0]:
        found[0], found[4] = gap, fraction
        found[1], found[2], found[3] = witness


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pair(p: Vector, d: Vector, a: Vector, b: Vector, c: Vector, found: Array) -> None:
    """Improve what was found by one triangle."""
    t = _crossing(p, d, a, b, c)
    if t >= 0:
        _note(found, 0.0, _along(p, t, d), t)
        return
    for end in (0.0, 1.0):
        point = _along(p, end, d)
        near = _on_triangle(point, a, b, c)
        gap = _less(point, near)
        _note(found, np.sqrt(_dot(gap, gap)), near, end)
    for q, r in ((a, b), (b, c), (c, a)):
        edge = _less(r, q)
        s, u = _segments(p, d, q, edge)
        on_edge = _along(q, u, edge)
        gap = _less(_along(p, s, d), on_edge)
        _note(found, np.sqrt(_dot(gap, gap)), on_edge, s)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _square(p: Vector, d: Vector, square: float, point: Array) -> float:
    """Squared distance of a point from the segment p to p + d; square: d's own squared length."""
    gap = _less(_vector(point), p)
    t = 0.0
    if square > 0:
        t = min(1.0, max(0.0, _dot(gap, d) / square))
    off = _along(gap, -t, d)
    return _dot(off, off)  # type: ignore[no-any-return]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _nearest(
    start: Array,
    along: Array,
    corners: Array,
    centres: Array,
    radii: Array,
    blocks: Array,
    balls: Array,
) -> Array:
    p, d = _vector(start), _vector(along)
    found = np.zeros(5)
    found[0] = 1e9
    square = _dot(d, d)
    bounds = np.empty(len(balls))
    for b in range(len(balls)):
        bounds[b] = np.sqrt(_square(p, d, square, balls[b])) - balls[b, 3]
    order = np.argsort(bounds)
    first = blocks[order[0]]
    for f in range(first, blocks[order[0] + 1]):
        if _square(p, d, square, centres[f]) < _square(p, d, square, centres[first]):
            first = f
    tri = corners[first]
    _pair(p, d, _vector(tri[0]), _vector(tri[1]), _vector(tri[2]), found)
    for b in order:
        if bounds[b] >= found[0]:
            break
        for f in range(blocks[b], blocks[b + 1]):
            reach = found[0] + radii[f]
            if _square(p, d, square, centres[f]) < reach * reach:
                tri = corners[f]
                _pair(p, d, _vector(tri[0]), _vector(tri[1]), _vector(tri[2]), found)
    return found


def nearest_on_triangles(start: Float, end: Float, triangles: Triangles) -> Nearest:
    """Exact distance between the segment from start to end, (3,) each, and a surface.

    An empty surface is infinitely far away.
    """
    if len(triangles) == 0:
        return Nearest(float("inf"), np.full(3, np.nan), 0.0)
    p = np.asarray(start, float)
    found = _nearest(
        p,
        np.asarray(end, float) - p,
        triangles.corners,
        triangles.centres,
        triangles.radii,
        triangles.blocks,
        triangles.balls,
    )
    return Nearest(float(found[0]), found[1:4].copy(), float(found[4]))

"""Straight segments: distances between them, crossings in a plane, axes across."""

from __future__ import annotations

import numpy as np

from planner.geometry.grid import Float

PARALLEL = 1e-12


def segment_distance(a: Float, b: Float, c: Float, d: Float) -> float:
    """Least distance between the segments a-b and c-d, (3,) each.

    Either the lines' common perpendicular lies within both, or an end is nearest.
    """
    u, v, w = b - a, d - c, a - c
    uu, uv, vv = float(u @ u), float(u @ v), float(v @ v)
    best = min(point_distance(a, c, d), point_distance(b, c, d))
    best = min(best, point_distance(c, a, b), point_distance(d, a, b))
    area = uu * vv - uv * uv
    if area > PARALLEL * max(uu * vv, PARALLEL):
        s = (uv * (v @ w) - vv * (u @ w)) / area
        t = (uu * (v @ w) - uv * (u @ w)) / area
        if 0 <= s <= 1 and 0 <= t <= 1:
            best = min(best, float(np.linalg.norm(w + s * u - t * v)))
    return best


def point_distance(point: Float, start: Float, end: Float) -> float:
    """Least distance of a (3,) point from the segment start-end."""
    along = end - start
    part = np.clip((point - start) @ along / max(float(along @ along), PARALLEL), 0.0, 1.0)
    return float(np.linalg.norm(start + part * along - point))


def cross_in_plane(a: Float, b: Float, c: Float, d: Float) -> bool:
    """Tell whether the plane segments a-b and c-d, (2,) each, cross; touching ends do not."""

    def turn(p: Float, q: Float, r: Float) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


def perpendicular_axes(along: Float) -> Float:
    """(3, 3) orthonormal rows: the unit vector along, and two across it; deterministic."""
    x, y, z = (float(part) for part in np.asarray(along) / np.linalg.norm(along))
    least = min(abs(x), abs(y), abs(z))  # across this axis and the vector
    second = (0.0, z, -y) if abs(x) == least else (-z, 0.0, x) if abs(y) == least else (y, -x, 0.0)
    size = float(np.hypot(np.hypot(second[0], second[1]), second[2]))
    p, q, r = (part / size for part in second)
    return np.array([(x, y, z), (p, q, r), (y * r - z * q, z * p - x * r, x * q - y * p)])

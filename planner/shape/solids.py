"""Distances to simple solids: tapered capsules, boxes and thick triangles; vectorised, mm."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .form import Floats

Point: TypeAlias = tuple[float, float, float]


def capsule(cloud: Floats, start: Point, end: Point, r_start: float, r_end: float) -> Floats:
    """Distance (N,) to a capsule whose radius runs linearly from start to end."""
    a = np.asarray(start, np.float32)
    axis = np.asarray(end, np.float32) - a
    w = cloud - a
    t = np.clip(w @ axis / max(float(axis @ axis), 1e-6), 0.0, 1.0)
    gap = np.linalg.norm(w - t[:, None] * axis, axis=1)
    return np.asarray(gap - (r_start + t * (r_end - r_start)), dtype=np.float32)


def ball(cloud: Floats, centre: Point, radius: float) -> Floats:
    """Distance (N,) to a ball."""
    gap = np.linalg.norm(cloud - np.asarray(centre, np.float32), axis=1)
    return np.asarray(gap - radius, dtype=np.float32)


def thick_triangle(
    cloud: Floats, corners: npt.NDArray[np.floating], radii: npt.NDArray[np.floating]
) -> Floats:
    """Distance (N,) to a triangle (3, 3) with a thickness radius (3,) at each corner."""
    a, b, c = (np.asarray(x, np.float32) for x in corners)
    e0, e1 = b - a, c - a
    d00, d01, d11 = float(e0 @ e0), float(e0 @ e1), float(e1 @ e1)
    scale = d00 * d11 - d01 * d01
    w = cloud - a
    s0, s1 = w @ e0, w @ e1
    beta = (d11 * s0 - d01 * s1) / scale
    gamma = (d00 * s1 - d01 * s0) / scale
    alpha = 1 - beta - gamma
    weights = np.stack([alpha, beta, gamma], axis=1)
    plane = np.abs(w @ (np.cross(e0, e1) / np.sqrt(scale))) - weights @ radii.astype(np.float32)
    out = np.where(weights.min(axis=1) >= 0, plane, np.float32(np.inf)).astype(np.float32)
    corners32 = (a, b, c)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = capsule(
            cloud, tuple(corners32[i]), tuple(corners32[j]), float(radii[i]), float(radii[j])
        )
        np.minimum(out, edge, out=out)
    return out


def within_box(
    cloud: Floats, low: Point, high: Point, reach_mm: float
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Points (N,) within reach of a box, and the distance (N,) to that box as a lower bound."""
    middle = (np.asarray(low, np.float32) + np.asarray(high, np.float32)) / 2
    half = (np.asarray(high, np.float32) - np.asarray(low, np.float32)) / 2
    gap = (np.abs(cloud - middle) - half).max(axis=1)
    return gap < reach_mm, np.asarray(gap, dtype=np.float32)


def smooth_min(a: Floats, b: Floats, blend_mm: float) -> Floats:
    """Minimum with fillets of about `blend_mm`."""
    h = np.maximum(blend_mm - np.abs(a - b), 0.0)
    return np.asarray(np.minimum(a, b) - h * h / (4 * blend_mm), dtype=np.float32)

"""Smooth curves through scattered points, and places along them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from planner.geometry.grid import Float


def resample_curve(points: Float, step_mm: float) -> Float:
    """Place (N, 3) points at equal steps along a polyline, its ends included."""
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    keep = np.concatenate([[True], np.diff(length) > 1e-9])
    count = max(int(round(length[-1] / step_mm)), 1) + 1
    at = np.linspace(0.0, length[-1], count)
    return np.stack([np.interp(at, length[keep], points[keep, n]) for n in range(3)], axis=1)


def smooth_curve(points: Float, step_mm: float, sigma_mm: float) -> Float:
    """Smooth an evenly stepped (N, 3) polyline; odd reflection keeps the ends in place."""
    sigma = sigma_mm / step_mm
    pad = min(len(points) - 1, int(np.ceil(3 * sigma)))
    if pad < 1:
        return points
    before = 2 * points[0] - points[pad:0:-1]
    after = 2 * points[-1] - points[-2 : -pad - 2 : -1]
    padded = np.concatenate([before, points, after])
    return np.asarray(gaussian_filter1d(padded, sigma, axis=0, mode="nearest")[pad:-pad])


def tangents(curve: Float) -> Float:
    """(N, 3) unit tangents of a polyline, in its direction."""
    slope = np.gradient(curve, axis=0)
    return np.asarray(slope / np.linalg.norm(slope, axis=1, keepdims=True))


def arc_length(curve: Float) -> Float:
    """(N,) length from the first point of a polyline, mm."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def station(curve: Float, points: Float) -> Float:
    """(M,) place along a polyline nearest to (M, 3) points, mm from its first point.

    Beyond the ends the curve goes on straight, so that stations there are negative or larger
    than its length. The nearest vertex is taken, then the nearer of its two segments.
    """
    along = arc_length(curve)
    delta = np.diff(curve, axis=0)
    square = np.maximum(np.einsum("ij,ij->i", delta, delta), 1e-12)
    last = len(delta) - 1
    vertex = cKDTree(curve).query(points)[1]
    best, out = np.full(len(points), np.inf), np.zeros(len(points))
    for segment in (np.maximum(vertex - 1, 0), np.minimum(vertex, last)):
        offset = points - curve[segment]
        part = np.einsum("ij,ij->i", offset, delta[segment]) / square[segment]
        low, high = np.where(segment == 0, -np.inf, 0.0), np.where(segment == last, np.inf, 1.0)
        part = np.clip(part, low, high)
        far = np.linalg.norm(offset - part[:, None] * delta[segment], axis=1)
        nearer = far < best
        best[nearer] = far[nearer]
        out[nearer] = (along[segment] + part * np.sqrt(square[segment]))[nearer]
    return out

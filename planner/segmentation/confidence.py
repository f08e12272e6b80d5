"""How far the image bears out what was fitted: evidence per structure, from 0 to 1.

The evidence is taken from the grey values, not from how the template looks: how much of a bone's
fitted surface has a border in the image right there, and whether a foramen's middle is darker than
the ring of bone around it. A first version: the figures order cases from good to bad, they are not
yet probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import Side
from planner.segmentation.deform import border_wishes
from planner.segmentation.fit import Fitted
from planner.segmentation.template import Surface

NEAR_MM = 1.5
"""A border this close to the fitted surface supports it."""
SEEN = 0.25
"""Weight from which a border counts as seen."""
SUPPORT = (0.35, 0.75)
"""Share of supported surface that maps to confidence 0 and 1."""
RING_HU = (0.0, 150.0)
"""Contrast of the wall against the middle of a foramen that maps to confidence 0 and 1."""
RING_MM = np.arange(2.0, 10.5, 0.5)
SPOKES = 16


def surface_support(image: NDArray[np.float32], grid: Grid, surface: Surface) -> float:
    """Share of a surface's vertices, those inside the image, that lie on a visible border."""
    step = max(1, len(surface.vertices) // 6000)
    points, normals = surface.vertices[::step], surface.normals[::step]
    inside = grid.contains(points)
    if inside.sum() < 50:
        return 0.0
    shifts, weights = border_wishes(image, grid, points[inside], normals[inside], 4.0)
    return float(np.mean((np.abs(shifts) <= NEAR_MM) & (weights >= SEEN)))


def _mapped(value: float, span: tuple[float, float]) -> float:
    return float(np.clip((value - span[0]) / (span[1] - span[0]), 0.0, 1.0))


def ring_contrast(image: NDArray[np.float32], grid: Grid, middle: Float, axis: Float) -> float:
    """How much brighter, HU, the bone around a point of a channel is than the point.

    The lower quartile over the spokes of the brightest value on each, so that a channel must be
    walled nearly all around; the middle is the median within 1.5 mm.
    """
    along = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(along)))]
    u = np.cross(along, helper)
    u /= np.linalg.norm(u)
    v = np.cross(along, u)
    angle = np.linspace(0, 2 * np.pi, SPOKES, endpoint=False)
    spokes = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    ring = middle + spokes[:, None, :] * RING_MM[None, :, None]
    brightest = sample(image, grid, ring, -1000.0).max(axis=1)
    core = middle + spokes[:, None, :] * np.array([0.0, 0.75, 1.5])[None, :, None]
    return float(np.percentile(brightest, 25) - np.median(sample(image, grid, core, 400.0)))


def foramen_confidence(
    image: NDArray[np.float32], grid: Grid, marks: Float, open_share: float
) -> float:
    """Confidence in one foramen.

    marks: (3, 3) rows ventral, centre, dorsal. open_share: share of the fitted channel's core that
    the cut left open.
    """
    axis = marks[0] - marks[2]
    sections = [marks[1], 0.6 * marks[1] + 0.4 * marks[0], 0.6 * marks[1] + 0.4 * marks[2]]
    best = max(ring_contrast(image, grid, middle, axis) for middle in sections)
    return _mapped(best, RING_HU) * _mapped(open_share, (0.1, 0.6))


def confidences(
    image: NDArray[np.float32],
    grid: Grid,
    fitted: Fitted,
    open_shares: dict[str, float],
) -> dict[str, float]:
    """Confidence per structure; `sacrum`, hips, `sacral_canal` and every foramen."""
    out = {"sacrum": _mapped(surface_support(image, grid, fitted.sacrum), SUPPORT)}
    side: Side
    for side, hip in fitted.hips.items():
        out[f"hip_{side}"] = _mapped(surface_support(image, grid, hip), SUPPORT)
    out["sacral_canal"] = _mapped(open_shares.get("sacral_canal", 0.0), (0.1, 0.6))
    for name, marks in fitted.landmarks.items():
        out[name] = foramen_confidence(image, grid, marks, open_shares.get(name, 0.0))
    return out


def overall(parts: dict[str, float]) -> float:
    """One figure for the whole: bone, times what the foramina above S4 say.

    S4 is left out: its rim is often open in healthy people. The foramina count with the mean of
    their mean and their worst, because one wrong foramen is enough to harm.
    """
    upper = [v for n, v in parts.items() if n.startswith("foramen_s") and n[9] in "123"]
    foramina = 0.5 * (float(np.mean(upper)) + min(upper)) if upper else 0.0
    hips = max(parts.get("hip_left", 0.0), parts.get("hip_right", 0.0))
    return float(np.sqrt(parts["sacrum"] * (0.4 + 0.6 * foramina)) * (0.5 + 0.5 * hips))

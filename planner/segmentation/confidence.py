"""How far the image bears out what was fitted: evidence per structure, from 0 to 1.

The evidence is taken from the grey values, not from how the template looks: how much of a bone's
fitted surface has a border in the image right there, and whether a foramen's middle is darker than
the ring of bone around it. A first version: the figures order cases from good to bad, they are not
yet probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

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
OWN_WALL_HU = (-30.0, 60.0)
"""Contrast of a foramen's wall against its middle that maps to 0 and 1. Single walls are faint."""
CHAIN_WALL_HU = (10.0, 50.0)
"""The same for the mean over S1 to S3: on simulated CTs of real sacra it measured 43 to 86 where
the template lay right, and -34 to 15 where it was moved 6 mm or more along the sacral axis."""
CHAIN_SHARE = 0.65
"""What the chain says about each of its foramina: one level off moves them all."""
OPEN_SHARE = (0.2, 0.7)
"""Share of a channel's core found empty by the cut that maps to confidence 0 and 1."""
FINE_MM = 1.5
LOSS_PER_MM = 0.2
"""Confidence lost per mm of voxel spacing beyond FINE_MM (assumed): on coarse voxels a border has
support nearly everywhere because it is wide, not because it is right."""
SHARED_WALL_MM = 2.0
UPPER = ("s1", "s2", "s3")
"""S4 stays out of the chain: its rim is often open in healthy people."""


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


def wall_contrast(
    image: NDArray[np.float32], grid: Grid, channel: Surface, sacrum: Surface, marks: Float
) -> float:
    """How much brighter, HU, a foramen's bony wall is than its middle.

    Only the part of the channel's surface that is shared with the bone is wall; the openings have
    none. The wall counts with the lower quartile of its brightest values, so that it must be there
    nearly all around; the middle with the median along the channel's course.
    marks: (3, 3) rows ventral, centre, dorsal.
    """
    distance, _ = cKDTree(sacrum.vertices).query(
        channel.vertices, distance_upper_bound=SHARED_WALL_MM
    )
    wall = np.isfinite(distance)
    if wall.sum() < 30:
        return 0.0
    offsets = np.arange(-2.0, 4.5, 0.5)
    rays = channel.vertices[wall][:, None, :] + offsets[:, None] * channel.normals[wall][:, None, :]
    brightest = sample(image, grid, rays, -1000.0).max(axis=1)
    share = np.linspace(0.0, 0.6, 7)[:, None]
    course = np.concatenate(
        [marks[1] + share * (marks[0] - marks[1]), marks[1] + share * (marks[2] - marks[1])]
    )
    middle = float(np.median(sample(image, grid, course, 400.0)))
    return float(np.percentile(brightest, 25)) - middle


def confidences(
    image: NDArray[np.float32],
    grid: Grid,
    fitted: Fitted,
    open_shares: dict[str, float],
    coarsest_mm: float,
) -> dict[str, float]:
    """Confidence per structure; `sacrum`, hips, `sacral_canal` and every foramen.

    coarsest_mm: largest voxel spacing of the CT; beyond FINE_MM it lowers every figure.
    """
    out = {"sacrum": _mapped(surface_support(image, grid, fitted.sacrum), SUPPORT)}
    side: Side
    for side, hip in fitted.hips.items():
        out[f"hip_{side}"] = _mapped(surface_support(image, grid, hip), SUPPORT)
    out["sacral_canal"] = _mapped(open_shares.get("sacral_canal", 0.0), OPEN_SHARE)
    contrasts = {
        name: wall_contrast(image, grid, fitted.channels[name], fitted.sacrum, marks)
        for name, marks in fitted.landmarks.items()
    }
    upper = [value for name, value in contrasts.items() if name.split("_")[1] in UPPER]
    chain = _mapped(float(np.mean(upper)), CHAIN_WALL_HU)
    for name, contrast in contrasts.items():
        seen = CHAIN_SHARE * chain + (1 - CHAIN_SHARE) * _mapped(contrast, OWN_WALL_HU)
        out[name] = seen * _mapped(open_shares.get(name, 0.0), OPEN_SHARE)
    sharp = 1.0 - LOSS_PER_MM * max(0.0, coarsest_mm - FINE_MM)
    return {name: value * sharp for name, value in out.items()}

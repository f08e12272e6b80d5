"""How far the image bears out what was fitted: evidence per structure, from 0 to 1.

The evidence is taken from the grey values, not from how the template looks. Whether the levels are
right is asked of places that were not used to name them: a sacrum that is one level off has no
border at its endplate, for there is bone where the L5/S1 disc should be, and none at its lower end.
Whether one foramen is right is asked of its walls: bone around, something darker within.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.model.anatomy import Side
from planner.segmentation.deform import border_wishes, imaged
from planner.segmentation.fit import Fitted
from planner.segmentation.template import Surface

NEAR_MM = 1.5
"""A border this close to the fitted surface supports it."""
SEEN = 0.25
"""Weight from which a border counts as seen."""
SUPPORT = (0.35, 0.65)
"""Share of supported surface that maps to confidence 0 and 1. Measured on simulated CTs of real
sacra: 0.64 to 0.86 where the levels were right, 0.38 to 0.62 where they were one off."""
LOWER_SUPPORT = (0.3, 0.6)
"""The same for the surface below S2: 0.52 to 0.88 against 0.09 to 0.39."""
ENDPLATE_SUPPORT = (0.35, 0.7)
"""The same for the S1 endplate: 0.73 to 1 against 0.18 to 0.51, with one exception of 0.93."""
WALL_HU = {"s1": (-20.0, 60.0), "s2": (-20.0, 60.0), "s3": (-20.0, 60.0), "s4": (20.0, 130.0)}
"""Contrast of a foramen's wall against its middle that maps to 0 and 1. Measured: 18 to 284 HU for
S1 to S3 at the right level, which an S1 two fingers off reaches as well; for S4 43 to 254 in the
right place and -9 to 131 where it was missed."""
LEAST_OWN = 0.5
"""What a foramen of S1 to S3 keeps without any wall: its level rests on the whole sacrum."""
OPEN_SHARE = (0.2, 0.7)
"""Share of a channel's core found empty by the cut that maps to confidence 0 and 1."""
FINE_MM = 1.5
LOSS_PER_MM = 0.2
"""Confidence lost per mm of voxel spacing beyond FINE_MM (assumed): on coarse voxels a border has
support nearly everywhere because it is wide, not because it is right."""
MOST = 0.97
"""Complete evidence is no certainty: 124 foramina of S1 to S3 that had it were all found, which
leaves room for 2.4 % of failures (three in 124, the upper bound at 95 %)."""
SHARED_WALL_MM = 2.0
LEAST_VERTICES = 50
BRIGHTNESS_HU = (-100.0, 500.0)
"""Values are bounded before they are averaged: metal and air are no measure of a wall."""


def border_support(image: NDArray[np.float32], grid: Grid, surface: Surface) -> Float:
    """(V,) whether each vertex lies on a visible border: 1 or 0, NaN outside the image."""
    out = np.full(len(surface.vertices), np.nan)
    inside = imaged(image, grid, surface.vertices)
    if inside.any():
        shifts, weights = border_wishes(
            image, grid, surface.vertices[inside], surface.normals[inside], 4.0
        )
        out[inside] = (np.abs(shifts) <= NEAR_MM) & (weights >= SEEN)
    return out


def share_of(support: Float) -> float:
    """Mean of a border_support over the vertices inside the image; 0 where hardly any is."""
    known = support[np.isfinite(support)]
    return float(known.mean()) if len(known) >= LEAST_VERTICES else 0.0


def _mapped(value: float, span: tuple[float, float]) -> float:
    return float(np.clip((value - span[0]) / (span[1] - span[0]), 0.0, 1.0))


def wall_contrast(
    image: NDArray[np.float32], grid: Grid, channel: Surface, sacrum: Surface, marks: Float
) -> float:
    """How much brighter, HU, a foramen's bony wall is than its middle.

    Only the part of the channel's surface that is shared with the bone is wall; the openings have
    none. Along each of its normals the brightest value counts.
    marks: (3, 3) rows ventral, centre, dorsal.
    """
    distance, _ = cKDTree(sacrum.vertices).query(
        channel.vertices, distance_upper_bound=SHARED_WALL_MM
    )
    wall = np.isfinite(distance)
    if wall.sum() < LEAST_VERTICES // 2:
        return 0.0
    offsets = np.arange(-1.0, 4.1, 0.5)
    rays = channel.vertices[wall][:, None, :] + offsets[:, None] * channel.normals[wall][:, None, :]
    brightest = sample(image, grid, rays, -200.0).max(axis=1)
    share = np.linspace(0.0, 0.6, 7)[:, None]
    course = np.concatenate(
        [marks[1] + share * (marks[0] - marks[1]), marks[1] + share * (marks[2] - marks[1])]
    )
    middle = sample(image, grid, course, 400.0)
    low, high = BRIGHTNESS_HU
    return float(np.clip(brightest, low, high).mean() - np.clip(middle, low, high).mean())


def support_of(
    image: NDArray[np.float32], grid: Grid, fitted: Fitted
) -> tuple[dict[str, float], dict[str, float]]:
    """Measure how far the image bears out the fitted surfaces.

    Returns shares of supported surface, by `sacrum`, `lower` (below S2), `endplate` and hips; and
    the contrast of every foramen's wall, HU, by its name.
    """
    support = border_support(image, grid, fitted.sacrum)
    shares = {
        "sacrum": share_of(support),
        "lower": share_of(support[fitted.lower]),
        "endplate": share_of(support[fitted.endplate]),
    }
    side: Side
    for side, hip in fitted.hips.items():
        shares[f"hip_{side}"] = share_of(border_support(image, grid, hip))
    walls = {
        name: wall_contrast(image, grid, fitted.channels[name], fitted.sacrum, marks)
        for name, marks in fitted.landmarks.items()
    }
    return shares, walls


def confidences(
    shares: dict[str, float],
    walls: dict[str, float],
    open_shares: dict[str, float],
    coarsest_mm: float,
) -> dict[str, float]:
    """Confidence per structure; `sacrum`, hips, `sacral_canal` and every foramen.

    shares, walls: from support_of. open_shares: of each channel's core, found empty by the cut.
    coarsest_mm: largest voxel spacing of the CT; beyond FINE_MM it lowers every figure.
    """
    out = {n: _mapped(shares[n], SUPPORT) for n in ("sacrum", "hip_left", "hip_right")}
    out["sacral_canal"] = _mapped(open_shares.get("sacral_canal", 0.0), OPEN_SHARE)
    levels = _mapped(shares["lower"], LOWER_SUPPORT) * _mapped(shares["endplate"], ENDPLATE_SUPPORT)
    for name, contrast in walls.items():
        level = name.split("_")[1]
        own = _mapped(contrast, WALL_HU.get(level, WALL_HU["s4"]))
        if level in ("s1", "s2", "s3"):
            own = LEAST_OWN + (1.0 - LEAST_OWN) * own
        out[name] = levels * own * _mapped(open_shares.get(name, 0.0), OPEN_SHARE)
    sharp = 1.0 - LOSS_PER_MM * max(0.0, coarsest_mm - FINE_MM)
    return {name: MOST * value * sharp for name, value in out.items()}

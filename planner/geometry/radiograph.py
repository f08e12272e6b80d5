"""Radiographs summed along rays through a CT, with the perspective of a C-arm.

The source lies beyond the patient, the detector on the viewer's side; the picture is as the viewer
sees it from there. Lengths in the picture are those in the plane of the isocentre. Attenuation is
taken as proportional to HU + 1000 (water as 1), without scatter, beam hardening or noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample_rays

SOURCE_TO_ISOCENTRE_MM = 600.0
SOURCE_TO_DETECTOR_MM = 1000.0
"""Usual for mobile C-arms; assumed."""
REACH_MM = 220.0
"""Rays are summed so far before and behind the isocentre."""
STEP_MM = 2.5
AIR_HU = -1000.0
RAYS_AT_A_TIME = 16_384


@dataclass(frozen=True, eq=False)
class Beam:
    """A cone beam. centre: (3,) isocentre, patient LPS, mm. along: (3,) unit vector from the
    viewer's side to the source. up: (3,) unit vector upwards in the picture, square to along."""

    centre: Float
    along: Float
    up: Float

    @classmethod
    def towards(cls, centre: Float, along: ArrayLike, up: ArrayLike) -> Beam:
        """Make a beam whose picture has a given direction upwards, as far as that can be."""
        ahead = np.asarray(along, float) / np.linalg.norm(along)
        upright = np.asarray(up, float) - (np.asarray(up, float) @ ahead) * ahead
        return cls(np.asarray(centre, float), ahead, upright / np.linalg.norm(upright))

    @property
    def right(self) -> Float:
        """(3,) unit vector to the right in the picture."""
        return np.cross(self.along, self.up)

    @property
    def source(self) -> Float:
        """(3,) focal spot, patient LPS, mm."""
        return np.asarray(self.centre + SOURCE_TO_ISOCENTRE_MM * self.along)

    def project(self, points: ArrayLike) -> Float:
        """Map (..., 3) patient points to (..., 2) mm right and up in the isocentre's plane."""
        away = np.asarray(points, float) - self.source
        depth = away @ self.along
        ahead = away * (-SOURCE_TO_ISOCENTRE_MM / depth)[..., None]
        return np.asarray(np.stack([ahead @ self.right, ahead @ self.up], axis=-1))


def radiograph(
    values: NDArray[Any], grid: Grid, beam: Beam, size_mm: float, pixels: int
) -> NDArray[np.float32]:
    """(pixels, pixels) attenuation, mm of water, of a square field; row 0 is the lowest.

    values: (I, J, K) HU on grid. size_mm: side of the field in the isocentre's plane.
    """
    steps = (np.arange(pixels) + 0.5) / pixels * size_mm - size_mm / 2.0
    x, y = np.meshgrid(steps, steps)
    points = beam.centre + x[..., None] * beam.right + y[..., None] * beam.up
    points = points.reshape(-1, 3)
    rays = points - beam.source
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    offsets = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    out = np.empty(len(points), np.float32)
    for first in range(0, len(points), RAYS_AT_A_TIME):
        part = slice(first, first + RAYS_AT_A_TIME)
        found = sample_rays(values, grid, points[part], rays[part], offsets, AIR_HU)
        out[part] = np.maximum(found - AIR_HU, 0.0).sum(axis=1) * (STEP_MM / -AIR_HU)
    return out.reshape(pixels, pixels)

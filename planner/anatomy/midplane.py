"""The midsagittal plane: foramen pairs, refined by mirroring the sacrum's surface onto itself.

Only evidence that is symmetric by nature is used. The S1 endplate, the crest and the tail are not:
they stray by up to 8 mm. Halves of one sacrum differ by millimetres at the joints, so the mirror
registration is robust and all of its points together weigh about as much as the foramen pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from planner.anatomy.material import Material
from planner.errors import UntrustedAnatomyError
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import LEVELS

PAIR_WEIGHTS = {"S1": 1.0, "S2": 1.0, "S3": 1.0, "S4": 0.6, "S5": 0.3}
"""Lower foramina are small, often open at the side, and in five-foramen sacra one-sided."""
FEWEST_PAIRS = 2
PAIR_SD_MM = 1.5
SKEW_SD_MM = 4.0
"""How far a pair's line departs from the plane's normal, each way: levels differ left to right."""
MIRROR_POINTS = 1500
MIRROR_SD_MM = 2.0
MIRROR_WORTH = 30.0
"""Independent observations that the mirrored points are worth together (their errors are patches
of centimetres)."""
FARTHEST_MM = 10.0
UNKNOWN_SCALE = np.array([1.0, 1.0, 50.0])


@dataclass(frozen=True, eq=False)
class Midplane:
    """point: (3,) on the plane between the foramina, patient LPS, mm. left: (3,) unit normal.

    asymmetry_mm: median distance between the sacrum's surface and its mirror image.
    """

    point: Float
    left: Float
    asymmetry_mm: float

    def lateral(self, points: Float) -> Float:
        """(...,) signed distance (mm) of points from the plane, positive to the left."""
        return np.asarray((points - self.point) @ self.left)

    def mirror(self, points: Float) -> Float:
        """(..., 3) mirror image of points."""
        return np.asarray(points - 2.0 * self.lateral(points)[..., None] * self.left)


def find_midplane(material: Material, centres: dict[tuple[str, str], Float]) -> Midplane:
    """Fit the plane to foramen centroids and to the mirrored surface.

    centres: (level, side) -> (3,) centroid of a foramen label, patient LPS, mm.
    Raises UntrustedAnatomyError with fewer than two foramen pairs.
    """
    levels = [v for v in LEVELS if (v, "left") in centres and (v, "right") in centres]
    if len(levels) < FEWEST_PAIRS:
        raise UntrustedAnatomyError(
            f"{len(levels)} foramen pairs were found ({', '.join(levels) or 'none'}), at least "
            f"{FEWEST_PAIRS} are needed for the midsagittal plane. Check the segmentation."
        )
    weights = np.array([PAIR_WEIGHTS[v] for v in levels])
    lefts = np.array([centres[v, "left"] for v in levels])
    rights = np.array([centres[v, "right"] for v in levels])
    across, middles = lefts - rights, 0.5 * (lefts + rights)
    normal = _unit(np.average(across, axis=0, weights=weights))
    point = np.average(middles, axis=0, weights=weights)
    basis = np.linalg.svd(normal[None])[2][1:]
    stride = max(len(material.vertices) // MIRROR_POINTS, 1)
    surface = material.vertices[::stride]
    mirror_weight = np.sqrt(MIRROR_WORTH / len(surface)) / MIRROR_SD_MM

    def plane(x: Float) -> tuple[Float, Float]:
        return _unit(normal + x[:2] @ basis), point + x[2] * normal

    def mirrored(x: Float) -> Float:
        left, origin = plane(x)
        image = surface - 2.0 * ((surface - origin) @ left)[:, None] * left
        far = sample(material.field, material.grid, image, FARTHEST_MM)
        return np.asarray(np.clip(far, -FARTHEST_MM, FARTHEST_MM), np.float64)

    def residuals(x: Float) -> Float:
        left, origin = plane(x)
        off = (middles - origin) @ left / PAIR_SD_MM
        skew = (across - (across @ left)[:, None] * left) / SKEW_SD_MM
        pairs = weights[:, None] * np.column_stack([off, skew])
        # robust by hand: soft L1 on the mirror only, so that a joint's spur does not pull
        far = mirrored(x) / MIRROR_SD_MM
        soft = np.sign(far) * np.sqrt(2.0 * (np.sqrt(1.0 + far**2) - 1.0))
        return np.asarray(np.concatenate([pairs.ravel(), soft * mirror_weight * MIRROR_SD_MM]))

    # samples are float32: unknowns are shifted off zero so that relative steps are real ones,
    # a milliradian and 0.05 mm
    def shifted(unknowns: Float) -> Float:
        return residuals((unknowns - 1.0) * UNKNOWN_SCALE)

    fit = least_squares(shifted, np.ones(3), diff_step=[1e-3, 1e-3, 1e-3])
    best = (fit.x - 1.0) * UNKNOWN_SCALE
    left, origin = plane(best)
    return Midplane(origin, left, float(np.median(np.abs(mirrored(best)))))


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector))

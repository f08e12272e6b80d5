"""Metal in or near the sacrum: screws, plates, needles, coils, a hip stem that streaks.

Metal is what a CT shows above METAL_HU: beyond cortical bone (to about 1900 HU) and most cement
(1000 to 2500 HU in published sacroplasties). Many scanners end at 3071 HU, where every metal lies.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from planner.anatomy.findings.view import segment_name, side_name
from planner.geometry.distance import distance_to
from planner.model.anatomy import LABELS, Anatomy
from planner.model.finding import Finding
from planner.model.volume import Volume

METAL_HU = 2500.0
SMALLEST_MM3 = 20.0
"""A wire of 1 mm over 25 mm; single bright voxels of noise and calcium are far smaller."""
NEAR_MM = 30.0
"""Metal up to this far from the sacrum is told: its streaks reach the ala, and a needle passes the
posterior ilium, where iliosacral screws begin (assumed)."""
MERGE_MM = 6.0
"""Parts closer than this are one implant (the threads of a screw)."""


def find_hardware(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Tell every implant in or near the sacrum; the largest first."""
    low, high = _box(anatomy, volume)
    part = volume.values[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    metal = part > METAL_HU
    grid = volume.grid.crop(low, high)
    spacing = grid.spacing_mm
    if metal.sum() * float(np.prod(spacing)) < SMALLEST_MM3:
        return ()
    joined, count = ndimage.label(distance_to(metal, spacing) <= MERGE_MM / 2.0)
    sacrum = anatomy.grid.to_patient(np.argwhere(anatomy.labels == LABELS["sacrum"])[::7])
    found = []
    for number in range(1, count + 1):
        points = grid.to_patient(np.argwhere(metal & (joined == number)))
        volume_mm3 = len(points) * float(np.prod(spacing))
        if volume_mm3 < SMALLEST_MM3:
            continue
        away = _distance(points, sacrum)
        if away <= NEAR_MM:
            found.append((volume_mm3, _finding(anatomy, points, volume_mm3, away)))
    return tuple(item for _, item in sorted(found, key=lambda pair: -pair[0]))


def _box(anatomy: Anatomy, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Index box of the CT around the sacrum's label and NEAR_MM."""
    where = ndimage.find_objects((anatomy.labels == LABELS["sacrum"]).astype(np.uint8))[0]
    ends = np.array([[s.start, s.stop - 1] for s in where], float).T
    corners = np.array([[ends[(n >> a) & 1, a] for a in range(3)] for n in range(8)])
    ijk = volume.grid.to_ijk(anatomy.grid.to_patient(corners))
    reach = NEAR_MM / volume.grid.spacing_mm
    last = np.array(volume.grid.shape)
    low = np.clip(np.floor(ijk.min(axis=0) - reach), 0, last - 1).astype(int)
    return low, np.clip(np.ceil(ijk.max(axis=0) + reach) + 1, low + 1, last).astype(int)


def _distance(points: np.ndarray, sacrum: np.ndarray) -> float:
    """Least distance (mm) between thinned point sets."""
    few = points[:: max(1, len(points) // 500)]
    return float(np.min(cKDTree(sacrum).query(few)[0]))


def _finding(anatomy: Anatomy, points: np.ndarray, volume_mm3: float, away: float) -> Finding:
    where = "in the sacrum" if away < 1.5 else f"{away:.0f} mm from the sacrum"
    level = segment_name(anatomy, points)
    height = level if level.startswith("above") else f"at the height of {level}"
    centre = anatomy.frame.to_sacrum(points.mean(axis=0))
    return Finding(
        "hardware",
        f"metal {where}, {side_name(anatomy, points)}, {height}: {volume_mm3:.0f} mm3 above "
        f"{METAL_HU:.0f} HU. It may stand in a needle's way, and its streaks can mislead the "
        "borders of bone.",
        measures={
            "volume_mm3": volume_mm3,
            "distance_to_sacrum_mm": away,
            "x_sacrum_mm": centre[0],
            "y_sacrum_mm": centre[1],
            "z_sacrum_mm": centre[2],
        },
    )

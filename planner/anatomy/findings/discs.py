"""Disc spaces by rays across them: a dark gap between two bright endplates.

Rays run along one direction from a lattice of points across it. A ray sees a disc where its HU fall
by CONTRAST_HU below a plate on either side: a peak that stands PLATE_HU over the cancellous bone
beyond it, so that a void under a single plate is no disc. The gap is measured at half of the lower
drop. A disc is seen when enough rays agree on its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.volume import Volume

CONTRAST_HU = 90.0
"""Least drop from each endplate into the gap: disc 60 to 100 HU, osteoporotic endplates 250 and
more (assumed). Cancellous texture of 30 HU, averaged over a ray's bundle, stays below."""
PLATE_HU = 50.0
PLATE_REACH_MM = 6.0
"""Cancellous bone is looked for this far beyond a plate's peak."""
ACROSS_MM = (-8.0, -4.0, 0.0, 4.0, 8.0)
DEEP_MM = (-6.0, -3.0, 0.0, 3.0, 6.0)
BUNDLE_MM = (-1.0, 0.0, 1.0)
"""A ray is the mean of nine: noise falls to a third."""
STEP_MM = 0.5
LEAST_SHARE = 0.5
"""Share of rays that must see the gap."""
AGREEMENT_MM = 3.0
"""Median departure of the rays' gaps from the plane through them that still counts as one disc."""
NOT_IMAGED_HU = -2000.0


@dataclass(frozen=True)
class Disc:
    """height_mm: median over rays, along them. tilt_deg: far border against the rays' plane.

    share: of the rays that see it.
    """

    height_mm: float
    tilt_deg: float
    share: float


def find_disc(
    volume: Volume, centre: Float, axes: Float, reach_mm: tuple[float, float], thickest_mm: float
) -> Disc | None:
    """Look for a disc along axes[:, 2] about a point.

    centre: (3,) patient LPS, mm. axes: (3, 3) columns left, posterior, cranial. reach_mm: of the
    rays. thickest_mm: peaks are looked for this far from the darkest place. None where no disc is
    seen.
    """
    heights = np.arange(reach_mm[0], reach_mm[1] + STEP_MM / 2, STEP_MM)
    gaps, places = [], []
    feet = [(a, d) for a in ACROSS_MM for d in DEEP_MM]
    for across, deep in feet:
        bundle = [
            centre + axes @ np.array([across + i, deep + j, 0.0])
            for i in BUNDLE_MM
            for j in BUNDLE_MM
        ]
        points = np.array(bundle)[:, None, :] + heights[None, :, None] * axes[:, 2]
        values = sample(volume.values, volume.grid, points, NOT_IMAGED_HU)
        if (values <= NOT_IMAGED_HU + 1).any():
            values = values[:, (values > NOT_IMAGED_HU + 1).all(axis=0)]
        gap = _gap(values.mean(axis=0).astype(float), thickest_mm)
        if gap is not None:
            gaps.append(heights[0] + STEP_MM * np.array(gap))
            places.append((across, deep, 1.0))
    share = len(gaps) / len(feet)
    if share < LEAST_SHARE:
        return None
    borders, at = np.array(gaps), np.array(places)
    plane = np.linalg.lstsq(at, borders[:, 1], rcond=None)[0]
    departure = float(np.median(np.abs(borders[:, 1] - at @ plane)))
    if departure > AGREEMENT_MM:
        return None
    tilt = float(np.degrees(np.arctan(np.hypot(plane[0], plane[1]))))
    return Disc(float(np.median(borders[:, 1] - borders[:, 0])), tilt, share)


def _gap(values: Float, thickest_mm: float) -> tuple[float, float] | None:
    """Borders (steps) of the gap of a profile with the largest drop on its lesser side."""
    reach = int(thickest_mm / STEP_MM)
    best, found = CONTRAST_HU, None
    for here in range(2, len(values) - 2):
        before, after = values[max(0, here - reach) : here], values[here + 1 : here + 1 + reach]
        drop = min(before.max(), after.max()) - values[here]
        low, high = here - len(before) + int(before.argmax()), here + 1 + int(after.argmax())
        if drop > best and _is_plate(values[: low + 1][::-1]) and _is_plate(values[high:]):
            best, found = float(drop), here
    if found is None:
        return None
    level = values[found] + best / 2.0
    low = found - int(np.argmax(values[:found][::-1] >= level)) - 1
    high = found + 1 + int(np.argmax(values[found + 1 :] >= level))
    return _cross(values, low, low + 1, level), _cross(values, high - 1, high, level)


def _is_plate(outwards: Float) -> bool:
    """Tell whether HU fall again beyond a peak, the first of the values."""
    return bool(outwards[0] - outwards[: int(PLATE_REACH_MM / STEP_MM) + 1].min() >= PLATE_HU)


def _cross(values: Float, first: int, second: int, level: float) -> float:
    """Place between two steps where a profile passes a level."""
    rise = values[second] - values[first]
    part = (level - values[first]) / rise if abs(rise) > 1e-6 else 0.5
    return first + float(np.clip(part, 0.0, 1.0)) * (second - first)

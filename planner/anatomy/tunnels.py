"""Openings through the sacral plate, found without asking where a template has its foramina.

The plate is unrolled along the row of foramina. From every place on it straight lines are cast to
belly and back, over a fan of directions; what counts is the brightest bone that the darkest of them
meets. In front of and behind an ala there is cortex, however dark its marrow: only where a channel
passes the whole plate does a line find none. So every named foramen should be such a place, and
every such place, between the first foramina and the fourth, should have a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.anatomy.findings.view import View
from planner.geometry.grid import Float
from planner.geometry.sampling import value_at
from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts
from planner.model.anatomy import Anatomy, Foramen

Array = NDArray[Any]

STEP_MM = 1.5
HALF_WIDTH_MM = 42.0
BEYOND_MM = (25.0, 25.0)
"""How far the plate is looked at above the first and below the last named foramina."""
PITCH_DEG, YAW_DEG = np.arange(-50.0, 51.0, 10.0), np.arange(-40.0, 41.0, 10.0)
"""Directions of the lines against the plate's normal: channels run up to 40 degrees askew."""
REACH_MM = 40
MARGIN_MM = 2.0
"""Lines go on this far beyond the labelled bone, so that a cortex just outside it counts."""
SMOOTHING_MM = 1.0
RANGE_HU = (-200.0, 700.0)
OPEN_HU = -200.0
"""Of a place that the labels leave empty although bone surrounds it."""
SPOT_MM, RING_MM = 4.0, (7.0, 11.0)
"""A foramen's darkest place is sought this near its centre; the plate around it is this far off."""
NAMED_MM = 8.0
"""An opening this near a named foramen, on the plate, is that foramen."""
BESIDE_MM = 7.0
"""Openings further beside the row of foramina are the canal's recess, or the plate's edge."""
ABOVE_MM = 4.0
"""How far above S1 openings are asked for a name: further up lies the recess of L5."""


@dataclass(frozen=True)
class Opening:
    """A place at which the plate can be seen through.

    down_mm, lateral_mm: its place on the plate, below the first row and to the left. point: (3,)
    patient LPS, mm. depth_hu: how much darker the way through is than the way to a darker one.
    area_mm2: of the part at least half as dark. name: of the foramen that it is, or empty.
    """

    down_mm: float
    lateral_mm: float
    point: Float
    depth_hu: float
    area_mm2: float
    name: str


@dataclass(frozen=True, eq=False)
class Plate:
    """The plate unrolled.

    points: (S, T, 3) patient LPS, mm. values: (S, T) HU, NaN beside the bone. down: (S,), lateral:
    (T,) coordinates, mm; down is 0 at the first named row.
    """

    points: Float
    values: Float
    down: Float
    lateral: Float

    def place(self, point: Float, left: Float) -> tuple[float, float]:
        """Coordinates of a patient point on the plate: down and lateral, mm."""
        middle = self.points[:, len(self.lateral) // 2]
        across = middle - point
        across = across - np.outer(across @ left, left)
        row = int(np.linalg.norm(across, axis=1).argmin())
        return float(self.down[row]), float((point - middle[row]) @ left)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _see_through(
    hu: Array, solid: Array, points: Array, directions: Array, out: Array, start: int, stop: int
) -> None:
    """Brightest bone on the darkest line through each point.

    points: (N, 3) indices. directions: (N, D, 3) voxels per mm. NaN where a point is not in bone.
    """
    for n in range(start, stop):
        x, y, z = points[n]
        if value_at(solid, x, y, z, 99.0) > 0.0:
            out[n] = np.nan
            continue
        best = 1e9
        for d in range(directions.shape[1]):
            u, v, w = directions[n, d]
            brightest = -1e9
            for way in (-1.0, 1.0):
                before = value_at(hu, x, y, z, -200.0)
                for step in range(1, REACH_MM):
                    t = way * step
                    i, j, k = x + t * u, y + t * v, z + t * w
                    if value_at(solid, i, j, k, 99.0) > MARGIN_MM:
                        break
                    here = value_at(hu, i, j, k, -200.0)
                    brightest = max(brightest, 0.5 * (here + before))
                    before = here
                    if brightest > best:
                        break
                if brightest > best:
                    break
            best = min(best, brightest)
        out[n] = best


def unroll(view: View) -> Plate | None:
    """Unroll the plate of an anatomy; None with fewer than two pairs of foramina."""
    anatomy = view.anatomy
    frame, grid = anatomy.frame, view.fields.grid
    rows = _rows(anatomy)
    if len(rows) < 2:
        return None
    first, last = (a - b for a, b in ((rows[0], rows[1]), (rows[-1], rows[-2])))
    ends = (
        rows[0] + BEYOND_MM[0] * first / np.linalg.norm(first),
        rows[-1] + BEYOND_MM[1] * last / np.linalg.norm(last),
    )
    corners = np.vstack([ends[0], rows, ends[1]])
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    down = np.arange(0.0, at[-1], STEP_MM)
    curve = np.stack([np.interp(down, at, corners[:, n]) for n in range(3)], axis=1)
    along = ndimage.gaussian_filter1d(
        np.gradient(curve, axis=0), 5.0 / STEP_MM, axis=0, mode="nearest"
    )
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    left = frame.axes[:, 0]
    through = np.cross(left, along)
    count = int(HALF_WIDTH_MM / STEP_MM)
    lateral: Float = STEP_MM * np.arange(-count, count + 1.0)
    points = curve[:, None, :] + lateral[:, None] * left
    pitch, yaw = (a.ravel() for a in np.meshgrid(np.radians(PITCH_DEG), np.radians(YAW_DEG)))
    fan = (
        (np.cos(yaw) * np.cos(pitch))[:, None] * through[:, None, :]
        + (np.cos(yaw) * np.sin(pitch))[:, None] * along[:, None, :]
        + np.sin(yaw)[:, None] * left
    )
    inverse = grid.ijk_from_patient[:3, :3].T
    directions = np.repeat(fan @ inverse, len(lateral), axis=0)
    hu = gaussian(np.clip(view.hu, *RANGE_HU), SMOOTHING_MM / float(grid.spacing_mm[0]))
    out = np.empty(len(down) * len(lateral))
    inputs = (grid.to_ijk(points.reshape(-1, 3)), np.ascontiguousarray(directions))
    solid = np.ascontiguousarray(view.fields.solid.values)
    in_parts(_see_through, len(out), np.asarray(hu, np.float32), solid, *inputs, out)
    values = out.reshape(len(down), len(lateral))
    bone = np.isfinite(values)
    values[ndimage.binary_fill_holes(bone) & ~bone] = OPEN_HU
    return Plate(points, values, down - at[1], lateral)


def _rows(anatomy: Anatomy) -> Float:
    """(N, 3) middles between the two foramina of each level that has both, in the midplane."""
    out = []
    for level in ("S1", "S2", "S3", "S4"):
        pair = [anatomy.foramen(level, "left"), anatomy.foramen(level, "right")]
        known = [item.centre for item in pair if item is not None]
        if len(known) == 2:
            middle = anatomy.frame.to_sacrum(np.mean(known, axis=0))
            out.append(anatomy.frame.to_patient((0.0, middle[1], middle[2])))
    return np.array(out).reshape(-1, 3)


def seen_through(plate: Plate, foramen: Foramen, anatomy: Anatomy) -> tuple[float, float]:
    """How well a named foramen can be seen through the plate.

    Returns how much darker, HU, it is than the plate around it, and how far, mm, its darkest part
    lies from its centre; NaN where the plate does not reach there.
    """
    left = anatomy.frame.axes[:, 0]
    places = {item.name: plate.place(item.centre, left) for item in anatomy.foramina}
    down, lateral = plate.down[:, None], plate.lateral[None, :]

    def away(name: str) -> Float:
        return np.asarray(np.hypot(down - places[name][0], lateral - places[name][1]))

    mine = away(foramen.name)
    known = np.isfinite(plate.values)
    spot = known & (mine <= SPOT_MM)
    ring = known & (mine >= RING_MM[0]) & (mine <= RING_MM[1])
    for other in places:
        if other != foramen.name:
            ring &= away(other) > RING_MM[0]
    if not spot.any() or not ring.any():
        return float("nan"), float("nan")
    around = float(np.median(plate.values[ring]))
    near = known & (mine <= RING_MM[0])
    weight = np.where(near, np.clip(around - plate.values, 0.0, None) ** 2, 0.0)
    total = max(float(np.nansum(weight)), 1e-9)
    shift = np.hypot(
        float(np.nansum(weight * (down - places[foramen.name][0]))) / total,
        float(np.nansum(weight * (lateral - places[foramen.name][1]))) / total,
    )
    return around - float(plate.values[spot].min()), float(shift)


def find_openings(plate: Plate, anatomy: Anatomy) -> tuple[Opening, ...]:
    """Find the places between the first and the fourth foramina where the plate is open.

    The deepest first. Depth is topological: how far one must rise to reach a darker place.
    """
    left = anatomy.frame.axes[:, 0]
    places = {item.name: plate.place(item.centre, left) for item in anatomy.foramina}
    if not places:
        return ()
    rows = {
        sign: sorted((d, t) for (d, t) in places.values() if t * sign > 0) for sign in (-1.0, 1.0)
    }
    out = []
    for row, column, depth, area in _basins(plate.values):
        down, lateral = float(plate.down[row]), float(plate.lateral[column])
        known = rows[1.0 if lateral > 0 else -1.0]
        if len(known) < 2:
            continue
        # Half way from S3 to S4 is the end: near the hiatus the plate is open anyway.
        end = (known[2][0] + known[3][0]) / 2 if len(known) > 3 else known[-1][0] + BESIDE_MM
        beside = lateral - float(np.interp(down, *np.array(known).T))
        if not (known[0][0] - ABOVE_MM <= down <= end and abs(beside) <= BESIDE_MM):
            continue
        far = {n: float(np.hypot(down - d, lateral - t)) for n, (d, t) in places.items()}
        name = min(far, key=lambda n: far[n])
        named = name if far[name] <= NAMED_MM else ""
        out.append(Opening(down, lateral, plate.points[row, column], depth, area, named))
    return tuple(sorted(out, key=lambda item: -item.depth_hu))


def _basins(values: Float) -> list[tuple[int, int, float, float]]:
    """Row, column, depth (HU) and area (mm2) of every local minimum: persistence by flooding."""
    size = values.shape
    flat = np.where(np.isfinite(values), values, np.inf).ravel()
    order = [int(n) for n in np.argsort(flat, kind="stable") if np.isfinite(flat[n])]
    parent = np.full(flat.size, -1)
    deaths: dict[int, float] = {}

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = int(parent[n])
        return n

    for here in order:
        row, column = divmod(here, size[1])
        beside = [
            root(a * size[1] + b)
            for a in range(max(row - 1, 0), min(row + 2, size[0]))
            for b in range(max(column - 1, 0), min(column + 2, size[1]))
            if parent[a * size[1] + b] >= 0
        ]
        parent[here] = here
        roots = sorted(set(beside), key=lambda n: (flat[n], n))
        for other in roots[1:]:
            deaths[other] = float(flat[here])
            parent[other] = roots[0]
        if roots:
            parent[here] = roots[0]
    highest = float(np.nanmax(values[np.isfinite(values)], initial=0.0))
    minima = {root(n) for n in order} | set(deaths)
    out = []
    for n in minima:
        depth = min(deaths.get(n, highest) - float(flat[n]), highest - float(flat[n]))
        if depth <= 0.0:
            continue
        low = (flat <= flat[n] + 0.5 * depth).reshape(size)
        parts, _ = ndimage.label(low)
        row, column = divmod(n, size[1])
        area = float((parts == parts[row, column]).sum()) * STEP_MM**2
        out.append((row, column, depth, area))
    return out

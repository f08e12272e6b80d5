"""Paths into a solid through one of its walls: how near to that wall they come again.

A path is on the wall where it enters, and goes away from it: that first rise says nothing. It has
come back where it is nearer by DROP_MM than it was before, or outside the solid again; from then on
the wall counts like any other. Of a path that rises all along only its end counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from planner.geometry.fields import (
    FAR_MM,
    STRIDE_SHARE,
    WORTH_A_THREAD,
    Field,
    Spread,
    _at,
    _variance,
)
from planner.geometry.grid import Float
from planner.geometry.threads import in_parts

Array = NDArray[Any]

DROP_MM = 0.5
"""Fields are true to 0.1 mm; a dip of less is no way back."""
STEP_MM = 0.5
OUT_MM = 0.25
"""A point this far outside the solid has left it."""


@dataclass(frozen=True, eq=False)
class Returns:
    """How near paths come to the wall again; every array has N rows, mm.

    depth: from the start, where the wall begins to count. z: least margin over its spread from
    there on. least: least field value there; -FAR_MM for a path that never meets the solid.
    """

    depth: Float
    z: Float
    least: Float


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _return(
    wall: Array,
    solid: Array,
    starts: Array,
    ends: Array,
    spacing: float,
    radius: float,
    late: Array,
    lead: float,
    care: float,
    to_end: bool,
    spread: Array,
    outside: float,
    depths: Array,
    z: Array,
    least: Array,
    start: int,
    stop: int,
) -> None:
    for n in range(start, stop):
        dx, dy, dz = ends[n] - starts[n]
        length = max(np.sqrt(dx * dx + dy * dy + dz * dz) * spacing, 1e-9)
        inside, back, last = False, False, False
        top, top_depth, first = -FAR_MM, 0.0, 0.0
        depths[n], z[n], least[n] = length, FAR_MM, FAR_MM
        depth, stride = -lead, 0.0
        while not last:
            depth = min(depth + stride, length)
            last = depth >= length
            t = depth / length
            x, y, w = starts[n, 0] + t * dx, starts[n, 1] + t * dy, starts[n, 2] + t * dz
            within = _at(solid, x, y, w, STEP_MM)  # off the grid no distance is known: a step
            if not inside and within >= 0.0:
                stride = max(STEP_MM, STRIDE_SHARE * within)
                continue
            if not inside:
                inside, first = True, depth
            value = _at(wall, x, y, w, outside)
            stride = max(STEP_MM, STRIDE_SHARE * (value - radius - care))
            if not back:
                if value > top:
                    top, top_depth = value, depth
                if (top >= radius and value <= top - DROP_MM) or within > OUT_MM:
                    back = True
                    depths[n] = max(top_depth, 0.0)
                elif (depth - first >= late[n] and top < radius) or (last and to_end):
                    back = True
                    depths[n] = max(depth, 0.0)
            if back:
                least[n] = min(least[n], value)
                variance = _variance(max(depth, 0.0), last, spread)
                z[n] = min(z[n], (value - radius) / np.sqrt(variance))
        if not inside:
            depths[n], z[n], least[n] = 0.0, -FAR_MM, -FAR_MM


def returns_to(
    wall: Field,
    solid: Field,
    starts: Float,
    ends: Float,
    radius_mm: float,
    *,
    spread: Spread | None = None,
    late_mm: Float | float = np.inf,
    lead_mm: float = 0.0,
    care_mm: float = np.inf,
    to_end: bool = True,
) -> Returns:
    """Walk (N, 3) starts to ends, patient LPS, mm, and tell how near they come to the wall again.

    wall: distance to the wall, negative outside behind it; solid: negative inside; on one grid. A
    path may come back once the wall is radius_mm away. late_mm: depth, (N,) or one, behind the
    entry from which the wall counts where it has not been that far away before. lead_mm: so far
    before the start the entry is sought. care_mm: larger margins need not be told exactly. to_end:
    whether the end counts of a path that has not come back. spread: for z.
    """
    count = len(starts)
    known = Spread(0.0, 0.0, 0.0, 1.0) if spread is None else spread
    depth, z, least = np.empty(count), np.empty(count), np.empty(count)
    in_parts(
        _return,
        count,
        wall.values,
        solid.values,
        np.ascontiguousarray(wall.grid.to_ijk(starts)),
        np.ascontiguousarray(wall.grid.to_ijk(ends)),
        wall.step_mm,
        radius_mm,
        np.ascontiguousarray(np.broadcast_to(np.asarray(late_mm, float), count)),
        lead_mm,
        care_mm,
        to_end,
        known.figures,
        wall.outside,
        depth,
        z,
        least,
        grain=WORTH_A_THREAD,
    )
    return Returns(depth, z, least)

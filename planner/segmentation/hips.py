"""Hips near the sacrum: the fitted surface, completed by the bright bone connected with it.

The template's hip is smooth and simple, while the back of the ilium overhangs the sacrum and bounds
both the sacroiliac joint and the way of every needle. There the fitted hip is grown along bright
voxels, never into the sacrum, and its marrow filled. Growing too far costs room to plan in; growing
too little hides a joint.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import box_around, signed_distance, within
from planner.geometry.grid import Grid
from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import SIDES, Side
from planner.segmentation.fit import Fitted
from planner.segmentation.template import Surface

Array = NDArray[Any]

CORTEX_HU = 200.0
"""Iliac cortex after blurring, in osteoporosis as well: it is 1.5 to 2.3 mm thick."""
REACH_MM = 25.0
"""How far from the fitted hip its bone may be: the overhang of the posterior superior spine."""
SACRAL_MARGIN_MM = 1.5
"""Voxels this near the sacrum are its own cortex or the joint's gap (medians 2.4 to 3.8 mm)."""
CORE_MM = 1.0


def complete_hips(
    image: NDArray[np.float32],
    grid: Grid,
    fitted: Fitted,
    sacrum: NDArray[np.bool_],
) -> dict[Side, NDArray[np.bool_]]:
    """Complete both fitted hips in an image of the sacrum's surroundings.

    image: (I, J, K) HU on an isotropic grid. sacrum: (I, J, K) bone with canal and foramina.
    Returns a mask per side.
    """
    spacing = grid.spacing_mm
    l5 = voxelise(fitted.l5.vertices, fitted.l5.faces, grid)
    kept_off = within(sacrum, spacing, SACRAL_MARGIN_MM) | within(l5, spacing, SACRAL_MARGIN_MM)
    bright = (gaussian(image, 0.5) > CORTEX_HU) & ~kept_off
    fields = {side: _distance(fitted.hips[side], grid) for side in SIDES}
    out: dict[Side, NDArray[np.bool_]] = {}
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        field, rival = fields[side], fields[other]
        mine = (field < REACH_MM) & (field < rival)
        core = (field < -CORE_MM) & ~kept_off
        parts, _ = ndimage.label((bright & mine) | core)
        wanted = np.zeros(int(parts.max()) + 1, bool)
        wanted[parts[core]] = True
        grown = wanted[parts] | ((field < 0) & ~sacrum)
        out[side] = fill_rings(grown) & ~sacrum
    return out


def _distance(hip: Surface, grid: Grid) -> NDArray[np.float32]:
    """Signed distance, mm, to a fitted hip on a grid; infinite beyond REACH_MM."""
    mask = voxelise(hip.vertices, hip.faces, grid)
    out = np.full(grid.shape, np.inf, np.float32)
    box = box_around(mask, grid.spacing_mm, REACH_MM + 1.0)
    if mask.any():
        out[box] = signed_distance(mask[box], grid.spacing_mm)
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill_section(section: Array, open_air: Array, stack: Array) -> None:
    """Fill in place what is not joined to the border of an (A, B) section of 0 and 1.

    open_air: (A + 2, B + 2) and stack: (open_air.size,) int64 are room to work in.
    """
    na, nb = open_air.shape
    open_air[:] = False
    open_air[0, 0] = True
    stack[0], count = 0, 1
    while count:
        count -= 1
        a, b = stack[count] // nb, stack[count] % nb
        for c, d in ((a - 1, b), (a + 1, b), (a, b - 1), (a, b + 1)):
            if not (0 <= c < na and 0 <= d < nb) or open_air[c, d]:
                continue
            if 0 < c < na - 1 and 0 < d < nb - 1 and section[c - 1, d - 1]:
                continue
            open_air[c, d] = True
            stack[count] = c * nb + d
            count += 1
    for a in range(na - 2):
        for b in range(nb - 2):
            section[a, b] = not open_air[a + 1, b + 1]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill_sections(mask: Array, out: Array, start: int, stop: int) -> None:
    """Add to out the filled sections of a mask across its first axis."""
    section = np.empty(mask.shape[1:], np.bool_)
    open_air = np.empty((mask.shape[1] + 2, mask.shape[2] + 2), np.bool_)
    stack = np.empty(open_air.size, np.int64)
    for n in range(start, stop):
        section[:] = mask[n]
        _fill_section(section, open_air, stack)
        out[n] |= section


def fill_rings(mask: NDArray[np.bool_], axes: tuple[int, ...] = (0, 1, 2)) -> NDArray[np.bool_]:
    """Fill what is ringed by bone in a section across any of the axes: marrow, not pelvis."""
    out = mask.copy()
    box = box_around(mask, np.ones(3), 0.0)
    if not mask.any():
        return out
    for axis in axes:
        sections, filled = np.moveaxis(mask[box], axis, 0), np.moveaxis(out[box], axis, 0)
        in_parts(_fill_sections, len(sections), sections, filled)
    return out

"""Hips near the sacrum: the fitted surface, completed by the bright bone connected with it.

The template's hip is smooth and simple, while the back of the ilium overhangs the sacrum and bounds
both the sacroiliac joint and the way of every needle. There the fitted hip is grown along bright
voxels, never into the sacrum, and its marrow filled. Growing too far costs room to plan in; growing
too little hides a joint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import distance_to, signed_distance
from planner.geometry.grid import Grid
from planner.geometry.voxelise import voxelise
from planner.model.anatomy import SIDES, Side
from planner.segmentation.fit import Fitted

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
    kept_off = distance_to(sacrum, spacing) <= SACRAL_MARGIN_MM
    if l5.any():
        kept_off |= distance_to(l5, spacing) <= SACRAL_MARGIN_MM
    bright = (ndimage.gaussian_filter(image, 0.5) > CORTEX_HU) & ~kept_off
    fields = {}
    for side in SIDES:
        mask = voxelise(fitted.hips[side].vertices, fitted.hips[side].faces, grid)
        fields[side] = signed_distance(mask, spacing) if mask.any() else None
    out: dict[Side, NDArray[np.bool_]] = {}
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        field, rival = fields[side], fields[other]
        if field is None:
            out[side] = np.zeros(grid.shape, bool)
            continue
        mine = field < REACH_MM if rival is None else (field < REACH_MM) & (field < rival)
        core = (field < -CORE_MM) & ~kept_off
        parts, _ = ndimage.label((bright & mine) | core)
        wanted = np.unique(parts[core])
        grown = np.isin(parts, wanted[wanted > 0]) | ((field < 0) & ~sacrum)
        out[side] = _filled(grown) & ~sacrum
    return out


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what is ringed by bone in a section along any axis: marrow, not pelvis."""
    out = mask.copy()
    for axis in range(3):
        sections, filled = np.moveaxis(mask, axis, 0), np.moveaxis(out, axis, 0)
        for section, target in zip(sections, filled, strict=True):
            if section.any():
                target |= ndimage.binary_fill_holes(section)
    return out

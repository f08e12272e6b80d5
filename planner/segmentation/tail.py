"""The lower end of the sacrum: S5, fused coccyx and the thin edges beside S4.

How far the sacrum reaches down varies by more than the cut's band, but nothing else of bone is
near: below S4 whatever is bright and joined to the bone found belongs to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.distance import deeper, within
from planner.geometry.grid import Grid
from planner.geometry.smoothing import gaussian
from planner.segmentation.fit import Fitted

REACH_MM = 28.0
"""How far below the bone found the growth may go: a fused first coccygeal vertebra and more."""
BESIDE_MM = 12.0
"""How far beside the bone found it may go; only its very end may grow further, downwards."""
SMOOTHING_MM = 0.8
BRIGHT_SHARE = 0.45
"""Place of the threshold between soft tissue and the bone found at the same height."""
LEAST_HU, MOST_HU = 110.0, 260.0
"""Bounds of the threshold: muscle with its noise, and thin cortex blurred by thick slices."""
SOFT_HU = 50.0
CLOSING_MM = 2.5
CORE_MM = 1.0
"""Depth inside a fitted foramen from which it is kept free."""


def grow_tail(
    image: NDArray[np.float32],
    grid: Grid,
    bone: NDArray[np.bool_],
    fitted: Fitted,
    channels: dict[str, NDArray[np.float32]],
) -> NDArray[np.bool_]:
    """Add to the bone what is joined to it below the S4 foramina.

    image: (I, J, K) HU on an isotropic grid. bone: (I, J, K) the cut. channels: signed distances
    to the fitted channels, mm.
    """
    marks = fitted.landmarks
    third, fourth = (
        np.mean([marks[f"foramen_{level}_{side}"][1] for side in ("left", "right")], axis=0)
        for level in ("s3", "s4")
    )
    down = (fourth - third) / np.linalg.norm(fourth - third)
    i, j, k = (np.arange(n) for n in grid.shape)
    slope = down @ grid.patient_from_ijk[:3, :3]
    depth = slope[0] * i[:, None, None] + slope[1] * j[:, None] + slope[2] * k
    depth += grid.origin @ down
    below = depth > (third + fourth) @ down / 2.0
    seed = bone & below
    if not seed.any():
        return bone
    spacing = grid.spacing_mm
    smooth = gaussian(image, SMOOTHING_MM / spacing)
    level = SOFT_HU + BRIGHT_SHARE * (float(np.median(smooth[seed])) - SOFT_HU)
    near = within(bone, spacing, BESIDE_MM)
    end = float((fitted.sacrum.vertices @ down).max())
    reachable = below & (depth < end + REACH_MM)
    for name, distance in channels.items():
        if "_s4_" in name or "_s3_" in name:
            reachable &= distance > -CORE_MM
    bright = reachable & (smooth > np.clip(level, LEAST_HU, MOST_HU))
    ahead = depth > float(depth[seed].max()) - BESIDE_MM
    parts, _ = ndimage.label((bright & (near | ahead)) | seed)
    joined = np.zeros(int(parts.max()) + 1, bool)
    joined[parts[seed]] = True
    grown = joined[parts]
    closed = deeper(within(grown, spacing, CLOSING_MM), spacing, CLOSING_MM) & reachable
    return np.asarray(bone | grown | closed)

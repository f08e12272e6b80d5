"""Where the bone's border lies within the voxels that the cut chose.

A cut answers voxel by voxel; the grey values know more. Each place of the cut's border looks along
its normal for the steepest drop, and a smooth field of such shifts is taken off the distance to
the border.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.geometry.distance import isosurface
from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample, sample_rays
from planner.geometry.smoothing import gaussian

REACH_MM = 1.25
"""A voxel and a quarter: further off lies another border."""
STEP_MM = 0.25
HALF_BASE_MM = 0.75
"""Half the distance over which the drop is taken."""
FULL_DROP_HU = 150.0
WINDOW_MM = 1.2
RIDGE = 0.15
"""Weight of staying, against the drop's of up to 1."""
ROUNDS = 2
HU_RANGE = (-150.0, 700.0)


def steepest_drop(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float
) -> tuple[Float, Float]:
    """(N,) shifts along the normals to the steepest drop, mm, and weights, 0 to 1."""
    pad = round(HALF_BASE_MM / STEP_MM)
    count = round(2 * REACH_MM / STEP_MM) + 1
    offsets = -REACH_MM + STEP_MM * np.arange(count)
    wide = -REACH_MM - HALF_BASE_MM + STEP_MM * np.arange(count + 2 * pad)
    profile = np.clip(sample_rays(image, grid, points, normals, wide, -100.0), *HU_RANGE)
    drop = profile[:, : -2 * pad] - profile[:, 2 * pad :]
    value = drop - 30.0 * (offsets / REACH_MM) ** 2
    best = np.clip(np.argmax(value, axis=1), 1, count - 2)
    rows = np.arange(len(points))
    left, here, right = (value[rows, best + n] for n in (-1, 0, 1))
    bend = left - 2 * here + right
    part = np.where(bend < -1e-6, 0.5 * (left - right) / np.minimum(bend, -1e-6), 0.0)
    shift = offsets[best] + STEP_MM * np.clip(part, -0.5, 0.5)
    return shift, np.clip(drop[rows, best] / FULL_DROP_HU, 0.0, 1.0)


def settle_border(
    distance: NDArray[np.float32], grid: Grid, image: NDArray[np.float32], image_grid: Grid
) -> NDArray[np.float32]:
    """Move a border to the steepest drop of the image near it.

    distance: (I, J, K) signed distance on grid, isotropic, mm, negative inside. Returns the same
    with its zero moved by at most REACH_MM a round; true to distance near the border only.
    """
    out = distance.copy()
    for _ in range(ROUNDS):
        points, _ = isosurface(out, grid)
        slope = [
            sample(np.ascontiguousarray(part), grid, points, 0.0)
            for part in np.gradient(out, float(grid.spacing_mm[0]))
        ]
        normals = np.stack(slope, axis=1).astype(float) @ grid.direction.T
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
        shifts, weights = steepest_drop(image, image_grid, points, normals)
        index = np.rint(grid.to_ijk(points)).astype(int)
        index = np.clip(index, 0, np.array(grid.shape) - 1)
        flat = np.ravel_multi_index(tuple(index.T), grid.shape)

        near = _gathered(weights, flat, grid) + RIDGE * _gathered(np.ones(len(points)), flat, grid)
        out -= _gathered(weights * shifts, flat, grid) / np.maximum(near, 1e-4)
    return out


def _gathered(values: Float, cells: NDArray[np.int64], grid: Grid) -> NDArray[np.float32]:
    """Sum values into the voxels at flat indices, blurred by the window."""
    total = np.bincount(cells, weights=values, minlength=int(np.prod(grid.shape)))
    field = total.reshape(grid.shape).astype(np.float32)
    sigma = WINDOW_MM / float(grid.spacing_mm[0])
    return gaussian(field, sigma, truncate=2.5)

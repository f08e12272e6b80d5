"""Shift a plane within itself, for stacks whose planes travel sideways (gantry tilt).

Each slice of a tilted stack is a true picture of its own plane; only its place within that plane
differs from its neighbour's. A shift per slice therefore puts the stack onto an orthogonal grid
without interpolation between slices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A shift this close to whole voxels moves nothing visible and is done without interpolation.
WHOLE_VOXEL = 1e-3


def shift_into(
    target: NDArray[np.int16], plane: NDArray[np.int16], right: float, down: float, outside: int
) -> None:
    """Write a plane into a larger one at a fractional place, linearly interpolated.

    target, plane: (rows, columns), HU. right, down: where in the target the plane's first pixel
    lies, in voxels, not negative. Target voxels that the plane does not reach become `outside`.
    """
    column, across = _split(right)
    row, along = _split(down)
    rows, columns = plane.shape
    total = np.zeros((rows + 1, columns + 1), np.float32)
    weight = np.zeros_like(total)
    for step_row, share_row in ((0, 1 - along), (1, along)):
        for step_column, share_column in ((0, 1 - across), (1, across)):
            share = np.float32(share_row * share_column)
            if share == 0:
                continue
            place = np.s_[step_row : step_row + rows, step_column : step_column + columns]
            total[place] += share * plane
            weight[place] += share
    # At the rim the plane covers a voxel in part: the rest of it is outside.
    blended = np.rint(total + (1 - weight) * outside).astype(np.int16)
    target[...] = outside
    height = min(rows + 1, target.shape[0] - row)
    width = min(columns + 1, target.shape[1] - column)
    target[row : row + height, column : column + width] = blended[:height, :width]


def _split(shift: float) -> tuple[int, float]:
    whole = int(np.floor(shift + WHOLE_VOXEL))
    rest = shift - whole
    return whole, rest if rest > WHOLE_VOXEL else 0.0

"""The order in which voxels are stored, and how to be independent of it.

One and the same lattice can be stored in 48 ways: its axes permuted and reversed, the affine with
them. What is computed on it must not depend on which. So work is done in one order, in which the
array's axes run as nearly as may be along x, y and z, and results are put back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid

DIGITS = 7
"""Decimals (mm, and cosines) to which an affine is rounded: reversing an axis moves the origin to
the other end, and the sums differ in the last bits."""


@dataclass(frozen=True)
class StorageOrder:
    """How to take an array to the common order.

    axes: the stored axis that comes first, second, third. reverse: whether it then runs backwards.
    """

    axes: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """View an (I, J, K) array in the common order."""
        return values.transpose(self.axes)[self._steps()]

    def undo(self, values: NDArray[Any]) -> NDArray[Any]:
        """View an array of the common order as it was stored."""
        back = np.argsort(self.axes)
        return values[self._steps()].transpose(tuple(int(n) for n in back))

    def grid(self, grid: Grid) -> Grid:
        """The lattice in the common order, its affine rounded to DIGITS."""
        shape = np.array(grid.shape)[list(self.axes)]
        affine = np.eye(4)
        affine[:3, :3] = grid.patient_from_ijk[:3, list(self.axes)]
        affine[:3, :3] *= np.where(self.reverse, -1.0, 1.0)
        first = np.zeros(3)
        first[list(self.axes)] = np.where(self.reverse, shape - 1, 0)
        affine[:3, 3] = grid.to_patient(first)
        size = (int(shape[0]), int(shape[1]), int(shape[2]))
        return Grid(size, np.round(affine, DIGITS), grid.frame_of_reference_uid)

    def _steps(self) -> tuple[slice, slice, slice]:
        one, two, three = (slice(None, None, -1 if back else 1) for back in self.reverse)
        return one, two, three


def in_common_order(values: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """An (I, J, K) array, contiguous in some order, and its lattice in the common order."""
    order = common_order(grid)
    out = order.apply(values)
    if not (out.flags.c_contiguous or out.flags.f_contiguous):
        out = np.ascontiguousarray(out)
    return out, order.grid(grid)


def common_order(grid: Grid) -> StorageOrder:
    """Find the order of axes that lies nearest to x, y, z."""
    direction: Float = np.round(grid.direction, DIGITS)
    best = max(permutations(range(3)), key=lambda p: sum(abs(direction[n, p[n]]) for n in range(3)))
    reverse = tuple(bool(direction[n, best[n]] < 0) for n in range(3))
    return StorageOrder((best[0], best[1], best[2]), (reverse[0], reverse[1], reverse[2]))

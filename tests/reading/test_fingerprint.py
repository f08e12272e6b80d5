"""The hash follows voxels and geometry, and nothing else."""

from __future__ import annotations

import numpy as np

from planner.geometry.grid import Grid
from planner.reading.fingerprint import fingerprint

VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
GRID = Grid.from_axes((3, 4, 5), (1, 2, 3), (0.8, 0.8, 1.25))


def test_memory_order_changes_nothing():
    assert fingerprint(VALUES, GRID) == fingerprint(np.asfortranarray(VALUES), GRID)


def test_rounding_of_the_last_bits_changes_nothing():
    near = Grid.from_axes((3, 4, 5), (1, 2, 3 + 1e-12), (0.8, 0.8, 1.25))
    assert fingerprint(VALUES, GRID) == fingerprint(VALUES, near)


def test_voxels_and_geometry_change_it():
    other = VALUES.copy()
    other[1, 2, 3] += 1
    moved = Grid.from_axes((3, 4, 5), (1, 2, 3.001), (0.8, 0.8, 1.25))
    turned = Grid.from_axes((3, 4, 5), (1, 2, 3), (0.8, 0.8, 1.25), np.diag([-1, -1, 1]))
    hashes = {
        fingerprint(VALUES, GRID),
        fingerprint(other, GRID),
        fingerprint(VALUES, moved),
        fingerprint(VALUES, turned),
    }
    assert len(hashes) == 4


def test_the_recipe_is_fixed():
    """A plan is compared with its CT by this hash years later."""
    assert fingerprint(VALUES, GRID) == RECORDED


RECORDED = "8a8507bd32edce1a81214df6fb224d52a4fc81799e1097f8a05dc5aeb6c9d1b7"

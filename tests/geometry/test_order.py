"""One lattice, stored in all 48 ways, is one lattice."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.geometry.order import common_order

OBLIQUE = np.linalg.qr(np.array([[1.0, 0.2, -0.1], [-0.25, 1.0, 0.1], [0.05, -0.2, 1.0]]))[0]
OBLIQUE = OBLIQUE * np.sign(np.diag(OBLIQUE))


def stored(values: np.ndarray, grid: Grid, axes: tuple, reverse: tuple) -> tuple:
    """The same voxels with axes permuted and reversed, the affine with them."""
    affine = np.eye(4)
    affine[:3, :3] = grid.patient_from_ijk[:3, list(axes)] * np.where(reverse, -1.0, 1.0)
    shape = np.array(grid.shape)[list(axes)]
    first = np.zeros(3)
    first[list(axes)] = np.where(reverse, shape - 1, 0)
    affine[:3, 3] = grid.to_patient(first)
    steps = tuple(slice(None, None, -1 if back else 1) for back in reverse)
    return values.transpose(axes)[steps], Grid(tuple(shape), affine, "1.2.3")


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("reverse", list(product((False, True), repeat=3)))
def test_every_order_of_storage_comes_to_the_same_array_and_grid(axes, reverse) -> None:
    whole = Grid.from_axes((4, 5, 6), (10.0, -3.0, 71.5), (0.7, 0.8, 1.25), OBLIQUE, "1.2.3")
    values = np.random.default_rng(0).integers(0, 99, whole.shape)
    wanted, order = values, common_order(whole)
    assert order.axes == (0, 1, 2)
    assert not any(order.reverse)
    mixed, grid = stored(values, whole, axes, reverse)
    order = common_order(grid)
    np.testing.assert_array_equal(order.apply(mixed), wanted)
    np.testing.assert_array_equal(order.undo(order.apply(mixed)), mixed)
    again = order.grid(grid)
    np.testing.assert_array_equal(
        again.patient_from_ijk, common_order(whole).grid(whole).patient_from_ijk
    )
    assert again.frame_of_reference_uid == "1.2.3"
    assert again.same_as(whole)


def test_a_turned_grid_keeps_its_voxels_and_moves_its_points() -> None:
    grid = Grid.from_axes((4, 5, 6), (10.0, -3.0, 71.5), (0.7, 0.8, 1.25), OBLIQUE, "1.2.3")
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    out = grid.turned(turn)
    points = [(0, 0, 0), (3, 1, 5), (0.5, 4, 2)]
    np.testing.assert_allclose(out.to_patient(points), grid.to_patient(points) @ turn.T)
    assert out.frame_of_reference_uid == ""  # it is another frame
    np.testing.assert_allclose(out.spacing_mm, grid.spacing_mm)

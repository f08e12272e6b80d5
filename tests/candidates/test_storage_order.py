"""One and the same scan, its voxels stored in other orders, gives one and the same plan."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import planner
from planner.anatomy import derive_anatomy
from planner.geometry.grid import Grid
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory
from planner.model.volume import Volume
from tests.scoring.toy import flesh
from tests.support import toy

Order = tuple[tuple[int, int, int], tuple[bool, bool, bool]]


def stored(values: NDArray[np.generic], grid: Grid, order: Order) -> tuple[NDArray, Grid]:  # type: ignore[type-arg]
    """The same voxels with axes permuted and reversed, and the affine with them."""
    axes, reverse = order
    view = values.transpose(axes)[tuple(slice(None, None, -1 if r else 1) for r in reverse)]
    affine = grid.patient_from_ijk.copy()
    affine[:3, :3] = affine[:3, list(axes)] * np.where(reverse, -1.0, 1.0)
    first = np.zeros(3)
    first[list(axes)] = np.where(reverse, np.array(view.shape) - 1, 0)
    affine[:3, 3] = grid.to_patient(first)
    return np.ascontiguousarray(view), Grid(view.shape, affine)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scan() -> tuple[NDArray[np.uint8], Grid, Volume]:
    labels, grid, _ = toy.toy_labels("straight", (1.6, 1.6, 2.0), yaw_deg=3.0)
    return labels, grid, flesh(derive_anatomy(labels, grid, source="provided"))


def plan(
    scan: tuple[NDArray[np.uint8], Grid, Volume], order: Order
) -> tuple[ScoredTrajectory, ...]:
    labels, grid = stored(scan[0], scan[1], order)
    values, lattice = stored(scan[2].values, scan[2].grid, order)
    volume, configuration = Volume(values, lattice, scan[2].source), Configuration()
    anatomy = derive_anatomy(labels, grid, source="provided")
    found = planner.propose(anatomy, volume, configuration)
    return planner.rank(planner.score(found, anatomy, volume, configuration), configuration)


@pytest.mark.parametrize(
    "order",
    [
        ((0, 1, 2), (True, False, False)),
        ((0, 1, 2), (False, True, True)),
        ((2, 0, 1), (False, True, False)),
    ],
)
def test_the_order_of_voxels_changes_nothing(
    scan: tuple[NDArray[np.uint8], Grid, Volume], order: Order
) -> None:
    usual, other = plan(scan, ((0, 1, 2), (False, False, False))), plan(scan, order)
    assert len(usual) > 5
    for one, two in zip(usual, other, strict=True):
        assert (one.id, one.rank, one.trajectory.level) == (two.id, two.rank, two.trajectory.level)
        for name in ("skin_entry", "bone_entry", "tip"):
            a, b = getattr(one.trajectory, name), getattr(two.trajectory, name)
            assert np.abs(a - b).max() < 1e-3, (one.id, name)
        for structure, clearance in one.clearances.items():
            again = two.clearances[structure].distance_mm
            assert clearance.distance_mm == pytest.approx(again, abs=1e-3)

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from planner.geometry.grid import Grid
from planner.geometry.propagation import nearest_seed_distances

from .conftest import CENTRE
from .grids import awkward_grids, centres

CAP_MM = 12.0


@pytest.fixture(params=["identity", "permuted", "oblique", "oblique_left_handed"])
def lattice(request: pytest.FixtureRequest) -> Grid:
    """An isotropic grid; others are not promised."""
    return awkward_grids((36, 38, 40), (1.2, 1.2, 1.2), CENTRE)[request.param]


def shell(centre: np.ndarray) -> np.ndarray:
    """Points of a sphere, most of them between voxel centres."""
    directions = np.random.default_rng(4).normal(size=(20_000, 3))
    return centre + 12.0 * directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_distances_are_those_of_a_search_through_all_points(
    lattice: Grid, centre: np.ndarray
) -> None:
    seeds = shell(centre)
    found = nearest_seed_distances(seeds, lattice, np.ones(lattice.shape, bool), CAP_MM)
    exact = cKDTree(seeds).query(centres(lattice).reshape(-1, 3))[0].reshape(lattice.shape)
    over = (found - np.minimum(exact, CAP_MM)) / lattice.spacing_mm.min()
    assert over.min() > -1e-4  # never too small
    assert over.mean() < 0.02
    assert over.max() < 0.6


def test_unwanted_voxels_and_far_ones_get_the_cap(lattice: Grid, centre: np.ndarray) -> None:
    wanted = np.zeros(lattice.shape, bool)
    wanted[5:30, 8:35, 3:38] = True
    found = nearest_seed_distances(shell(centre), lattice, wanted, 4.0)
    assert (found[~wanted] == 4.0).all()
    assert found.max() == 4.0
    assert found[wanted].min() < 1.0

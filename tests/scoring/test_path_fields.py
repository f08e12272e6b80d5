"""Fields along paths, on an oblique grid, against what can be written down by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from planner.geometry.fields import (
    Field,
    Spread,
    displaced_minima,
    exit_distances,
    least_margins,
    path_minimum,
    settling_depths,
)
from planner.geometry.grid import Grid
from planner.geometry.propagation import nearest_seed_distances
from tests.scoring.toy import rotation

AXES = rotation(33.0) @ np.diag([1.0, -1.0, 1.0])
GRID = Grid.from_axes((41, 43, 45), (5.0, -7.0, 11.0), (1.0, 1.0, 1.0), AXES)
SURE = Spread(1.0, 0.0, 0.0, 0.0)


def slab() -> Field:
    """Distance to the plane k = 0 of the grid, mm."""
    k = np.broadcast_to(np.arange(45, dtype=np.float32), GRID.shape)
    return Field(GRID, np.ascontiguousarray(k))


def ball(radius: float) -> Field:
    """Signed distance to a ball in the middle of the grid."""
    ijk = np.stack(np.indices(GRID.shape), -1) - 20.0
    return Field(GRID, (np.linalg.norm(ijk, axis=-1) - radius).astype(np.float32))


def test_slab_margin_is_exact() -> None:
    start, end = GRID.to_patient([[20, 20, 30.0]]), GRID.to_patient([[22, 20, 5.5]])
    z, least = least_margins(slab(), start, end, 1.5, SURE, -np.inf)
    assert least[0] == pytest.approx(4.0, abs=1e-4)
    assert z[0] == pytest.approx(4.0, abs=1e-4)
    assert path_minimum(slab(), start, end)[0] == pytest.approx(5.5, abs=1e-4)


def test_margin_below_the_floor_stops_the_walk() -> None:
    start, end = GRID.to_patient([[20, 20, 30.0]]), GRID.to_patient([[22, 20, 2.0]])
    z, least = least_margins(slab(), start, end, 1.5, SURE, 1.0)
    assert z[0] == -np.inf
    assert least[0] < 1.0


def test_depth_spread_counts_at_the_tip_only() -> None:
    start, end = GRID.to_patient([[20, 20, 30.0]]), GRID.to_patient([[20, 20, 10.0]])
    z, _ = least_margins(slab(), start, end, 0.0, Spread(3.0, 0.0, 4.0, 0.0), -np.inf)
    assert z[0] == pytest.approx(10.0 / 5.0, abs=1e-3)


def test_leaving_a_ball_and_missing_the_grid() -> None:
    centre = GRID.to_patient([[20.0, 20, 20]])
    out = exit_distances(ball(8.0), centre, AXES[:, 1][None], 100.0)
    assert out[0] == pytest.approx(8.0, abs=0.1)
    far = GRID.to_patient([[200.0, 20, 20]])
    assert path_minimum(ball(8.0), far, far + 5)[0] == slab().outside


def test_settling_is_the_last_time_below() -> None:
    start, end = GRID.to_patient([[20, 20, 0.0]]), GRID.to_patient([[20, 20, 20.0]])
    assert settling_depths(slab(), start, end, 2.5)[0] == pytest.approx(2.5, abs=0.01)
    back = settling_depths(slab(), end, start, 2.5)[0]
    assert back == pytest.approx(20.0, abs=0.01)


def test_displaced_path_without_moves_is_the_path() -> None:
    stack = np.stack([slab().values, ball(5.0).values], axis=-1)
    start, end = GRID.to_patient([5.0, 20, 33]), GRID.to_patient([35.0, 22, 9])
    found = displaced_minima(stack, GRID, start, end, np.zeros((1, 5)), 0.25)[0]
    assert found[0] == pytest.approx(path_minimum(slab(), start[None], end[None])[0], abs=0.01)
    assert found[1] == pytest.approx(path_minimum(ball(5.0), start[None], end[None])[0], abs=0.1)
    shifted = displaced_minima(stack, GRID, start, end, np.array([[0, 0, 0, 0, 2.0]]), 0.25)[0]
    step = 24.0 / np.linalg.norm(end - start)
    assert shifted[0] == pytest.approx(9.0 - 2 * step, abs=0.01)


def test_propagated_distances_agree_with_a_tree() -> None:
    rng = np.random.default_rng(4)
    seeds = GRID.to_patient(rng.uniform(2, 38, (60, 3)))
    wanted = np.ones(GRID.shape, bool)
    found = nearest_seed_distances(seeds, GRID, wanted, 50.0)
    points = GRID.to_patient(np.stack(np.indices(GRID.shape), -1).reshape(-1, 3))
    exact = cKDTree(seeds).query(points)[0].reshape(GRID.shape)
    assert (found >= exact - 1e-4).all()
    assert np.mean(found - exact) < 0.01
    assert (found - exact).max() < 0.7

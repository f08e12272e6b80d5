"""Fields along paths, on an oblique grid, against what can be written down by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from planner.geometry.fields import (
    FAR_MM,
    Field,
    Spread,
    exit_distances,
    least_margins,
    path_minimum,
    settling_depths,
)
from planner.geometry.grid import Grid
from planner.geometry.propagation import nearest_seed_distances
from planner.geometry.stacks import LANES, displaced_paths, stack_minima
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
    fields = [slab(), ball(5.0), slab(), ball(8.0), slab()]
    stack = np.stack([field.values for field in fields], axis=-1)
    start, end = GRID.to_patient([5.0, 20, 33]), GRID.to_patient([35.0, 22, 9])
    found = stack_minima(stack, GRID, *displaced_paths(start, end, np.zeros((1, 5))), 0.25)[0]
    assert found[0] == pytest.approx(path_minimum(slab(), start[None], end[None])[0], abs=0.01)
    assert found[1] == pytest.approx(path_minimum(ball(5.0), start[None], end[None])[0], abs=0.1)
    longer = displaced_paths(start, end, np.array([[0, 0, 0, 0, 2.0]]))
    shifted = stack_minima(stack, GRID, *longer, 0.25)[0]
    step = 24.0 / np.linalg.norm(end - start)
    assert shifted[0] == pytest.approx(9.0 - 2 * step, abs=0.01)


def test_a_stack_is_walked_as_its_fields_are() -> None:
    rng = np.random.default_rng(8)
    stack = rng.normal(size=(*GRID.shape, LANES)).astype(np.float32)
    starts = GRID.to_patient(rng.uniform(-4, 46, (50, 3)))
    ends = GRID.to_patient(rng.uniform(-4, 46, (50, 3)))
    found = stack_minima(stack, GRID, starts, ends, 0.5)
    for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / 0.5)))
        points = start + np.linspace(0, 1, count + 1)[:, None] * (end - start)
        on = ((GRID.to_ijk(points) >= 0) & (GRID.to_ijk(points) <= np.array(GRID.shape) - 1)).all(1)
        for lane in range(LANES):
            field = Field(GRID, np.ascontiguousarray(stack[..., lane]))
            least = field.at(points[on]).min() if on.any() else FAR_MM
            assert found[n, lane] == pytest.approx(least, abs=1e-4)


def test_a_stack_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="stack of 5 fields"):
        stack_minima(
            np.zeros((*GRID.shape, 2), np.float32), GRID, GRID.corners(), GRID.corners(), 1
        )


def test_strides_do_not_step_over_a_wall() -> None:
    thin = Field(GRID, np.minimum(slab().values, ball(5.0).values))
    rng = np.random.default_rng(3)
    starts = GRID.to_patient(rng.uniform(6, 34, (200, 3)))
    along = rng.normal(size=(200, 3))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    inside = Field(GRID, -thin.values, 1.0)
    found = exit_distances(inside, starts, along, 60.0)
    steps = np.arange(0.0, 60.0, 0.02)
    for start, direction, distance in zip(starts, along, found, strict=True):
        ijk = GRID.to_ijk(start + steps[:, None] * direction)
        on = ((ijk >= 0) & (ijk <= np.array(GRID.shape) - 1)).all(axis=1)
        values = np.where(on, inside.at(start + steps[:, None] * direction), 1.0)
        # Where a ray only grazes a wall, between two strides, it may be missed; a crossing never.
        touch = steps[np.argmax(values >= 0)]
        beyond = steps[np.argmax(values >= 0.15)]
        assert touch - 0.5 <= distance <= beyond + 0.5


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

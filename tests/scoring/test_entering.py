"""How near paths come to the wall they entered through: what counts of it, and from where."""

from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.entering import Returns, returns_to
from planner.geometry.fields import FAR_MM, Field, Spread
from planner.geometry.grid import Grid

GRID = Grid((60, 40, 40), np.eye(4))
RADIUS = 1.5


def slab(*notches: tuple[float, float, float]) -> tuple[Field, Field]:
    """Bone below y = 30 and its distance to the top; notches: x from, x to, and the bottom's y."""
    y = np.indices(GRID.shape)[1].astype(float)
    height = np.full(GRID.shape[0], 30.0)
    for low, high, bottom in notches:
        height[int(low) : int(high) + 1] = bottom
    depth = (height[:, None, None] - y).astype(np.float32)
    return Field(GRID, depth), Field(GRID, -depth)


def walk(
    fields: tuple[Field, Field], start: tuple[float, ...], end: tuple[float, ...], **how: float
) -> Returns:
    points = GRID.to_patient(np.array([[*start, 20.0], [*end, 20.0]]))
    return returns_to(*fields, points[:1], points[1:], RADIUS, **how)  # type: ignore[arg-type]


def test_of_a_path_that_goes_away_only_its_end_counts() -> None:
    found = walk(slab(), (10, 30), (40, 10))
    assert found.least[0] == pytest.approx(20.0, abs=0.05)
    assert found.depth[0] == pytest.approx(np.hypot(30, 20))
    # of its first part, up to a check, nothing does
    assert walk(slab(), (10, 30), (40, 10), to_end=False).least[0] == FAR_MM


def test_a_path_that_comes_back_counts_from_its_deepest_point() -> None:
    fields = slab((30, 34, 20.0))
    found = walk(fields, (10, 30), (50, 10))  # 10 mm below the notch's floor at x = 30 .. 34
    flat = walk(slab(), (10, 30), (50, 10))
    assert flat.least[0] == pytest.approx(20.0, abs=0.05)
    assert found.least[0] == pytest.approx(0.0, abs=0.6)
    assert found.depth[0] == pytest.approx(19.0 * np.hypot(40, 20) / 40, abs=1.2)


def test_a_tip_outside_the_wall_is_negative() -> None:
    points = GRID.to_patient(np.array([[10, 30, 20.0], [25, 26, 20.0], [45, 34, 20.0]]))
    bent = returns_to(*slab(), points[1:2], points[2:], RADIUS)
    assert bent.least[0] == pytest.approx(-4.0, abs=0.05)


def test_a_path_beside_the_bone_misses_it() -> None:
    assert walk(slab(), (10, 33), (50, 31)).least[0] == -FAR_MM
    assert walk(slab(), (10, 31), (50, 29), lead_mm=8.0).least[0] == pytest.approx(1.0, abs=0.05)


def test_a_path_that_begins_off_the_grid_is_walked_into_it() -> None:
    fields = slab((30, 34, 20.0))
    near, far = walk(fields, (10, 30), (50, 10)), walk(fields, (-30, 50), (50, 10))
    assert far.least[0] == pytest.approx(near.least[0], abs=0.3)


def test_from_late_on_the_wall_counts_where_it_is_still_near() -> None:
    found = walk(slab(), (10, 30), (50, 26), late_mm=10.0)
    assert found.least[0] == pytest.approx(1.0, abs=0.1)
    assert found.depth[0] == pytest.approx(10.0, abs=1.1)
    steep = walk(slab(), (10, 30), (50, 10), late_mm=10.0)
    assert steep.least[0] == pytest.approx(20.0, abs=0.05)


def test_ripples_of_the_border_are_no_way_back() -> None:
    found = walk(slab((22, 24, 29.7)), (10, 30), (50, 10))
    assert found.least[0] == pytest.approx(20.0, abs=0.05)


def test_z_is_the_margin_over_its_spread_at_the_end() -> None:
    spread = Spread(3.0, 0.0, 4.0, 0.0)
    found = walk(slab(), (10, 30), (10, 10), spread=spread)  # type: ignore[arg-type]
    assert found.z[0] == pytest.approx((20.0 - RADIUS) / 5.0, abs=0.01)

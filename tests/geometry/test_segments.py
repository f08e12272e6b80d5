"""Distances between segments against sampling, and crossing in the plane."""

from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.segments import cross_in_plane, point_distance, segment_distance


def test_distances_agree_with_dense_sampling() -> None:
    rng = np.random.default_rng(3)
    part = np.linspace(0, 1, 401)[:, None]
    for _ in range(60):
        a, b, c, d = rng.uniform(-10, 10, (4, 3))
        one, other = a + part * (b - a), c + part * (d - c)
        naive = np.linalg.norm(one[:, None] - other[None], axis=2).min()
        exact = segment_distance(a, b, c, d)
        assert exact <= naive + 1e-9
        assert exact == pytest.approx(naive, abs=0.05)
        assert exact == pytest.approx(segment_distance(d, c, b, a))


def test_parallel_and_degenerate_segments() -> None:
    x = np.array([10.0, 0.0, 0.0])
    zero = np.zeros(3)
    up = np.array([0.0, 3.0, 0.0])
    assert segment_distance(zero, x, up, x + up) == pytest.approx(3.0)
    assert segment_distance(zero, x, 3 * x, 4 * x) == pytest.approx(20.0)
    assert segment_distance(zero, zero, up, up) == pytest.approx(3.0)
    assert point_distance(up, zero, zero) == pytest.approx(3.0)


def test_crossing_in_the_plane() -> None:
    a, b = np.array([0.0, 0.0]), np.array([2.0, 2.0])
    c, d = np.array([0.0, 2.0]), np.array([2.0, 0.0])
    assert cross_in_plane(a, b, c, d)
    assert not cross_in_plane(a, b, c, c + 0.4 * (d - c))
    assert not cross_in_plane(a, b, b, d)  # touching ends

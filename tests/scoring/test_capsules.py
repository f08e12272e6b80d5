"""Segment against triangles: the fast kernel against a slow, obvious oracle."""

from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.capsules import Triangles, nearest_on_triangles


def naive(start: np.ndarray, end: np.ndarray, corners: np.ndarray) -> float:
    """Least distance between dense samples of the segment and of every triangle."""
    along = start + np.linspace(0, 1, 81)[:, None] * (end - start)
    u, v = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))
    inside = u + v <= 1 + 1e-9
    u, v = u[inside][:, None], v[inside][:, None]
    best = np.inf
    for a, b, c in corners:
        on = a + u * (b - a) + v * (c - a)
        best = min(best, np.linalg.norm(along[:, None] - on[None], axis=2).min())
    return float(best)


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_dense_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.normal(0, 4, (5, 3, 3)) + rng.normal(0, 6, 3)
    start, end = rng.normal(0, 8, (2, 3))
    faces = np.arange(15).reshape(5, 3)
    found = nearest_on_triangles(start, end, Triangles.of(corners.reshape(-1, 3), faces))
    slow = naive(start, end, corners)
    assert found.distance_mm <= slow + 1e-9
    assert found.distance_mm >= slow - 0.35
    on_axis = start + found.fraction * (end - start)
    assert np.linalg.norm(on_axis - found.witness) == pytest.approx(found.distance_mm, abs=1e-9)


def test_parallel_above_a_plate_is_exact() -> None:
    plate = Triangles.of(
        np.array([[-9, -9, 0], [9, -9, 0], [0, 9, 0]], float), np.array([[0, 1, 2]])
    )
    found = nearest_on_triangles(np.array([-1.0, 0, 3]), np.array([1.0, 0, 3]), plate)
    assert found.distance_mm == pytest.approx(3.0, abs=1e-12)


def test_crossing_is_zero_with_its_place() -> None:
    plate = Triangles.of(
        np.array([[-9, -9, 0], [9, -9, 0], [0, 9, 0]], float), np.array([[0, 1, 2]])
    )
    found = nearest_on_triangles(np.array([0.0, 0, 1]), np.array([0.0, 0, -3]), plate)
    assert found.distance_mm == 0.0
    assert found.fraction == pytest.approx(0.25)
    np.testing.assert_allclose(found.witness, 0.0, atol=1e-12)


def test_nothing_is_infinitely_far() -> None:
    none = Triangles.of(np.empty((0, 3)), np.empty((0, 3), np.int64))
    assert nearest_on_triangles(np.zeros(3), np.ones(3), none).distance_mm == np.inf

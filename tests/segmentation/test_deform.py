"""Borders are sought on balls whose radius is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample
from planner.segmentation.deform import (
    CELL_MM,
    HU_RANGE,
    RIDGE,
    border_wishes,
    joint_wishes,
    smooth_displacement,
)

RADIUS = 20.0


def ball_image(shell_hu: float, inside_hu: float, outside_hu: float) -> tuple[np.ndarray, Grid]:
    grid = Grid.from_axes((64, 64, 64), (-31.5, -31.5, -31.5), (1, 1, 1))
    ijk = np.indices(grid.shape).reshape(3, -1).T
    r = np.linalg.norm(grid.to_patient(ijk), axis=1).reshape(grid.shape)
    image = np.where(r < RADIUS, inside_hu, outside_hu)
    image = np.where((r < RADIUS) & (r > RADIUS - 2.0), shell_hu, image)
    return image.astype(np.float32), grid


def directions(n: int = 400) -> Float:
    d = np.random.default_rng(1).normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


@pytest.mark.parametrize("start", [17.0, 19.0, 22.0])
@pytest.mark.parametrize("inside_hu", [-40.0, 150.0])
def test_the_outer_flank_of_a_shell_is_found(start: float, inside_hu: float) -> None:
    image, grid = ball_image(400.0, inside_hu, 40.0)
    d = directions()
    shifts, weights = border_wishes(image, grid, start * d, d, 6.0)
    assert np.median(start + shifts) == pytest.approx(RADIUS, abs=0.8)
    assert np.percentile(np.abs(start + shifts - RADIUS), 95) < 1.6
    assert weights.min() > 0.3


def test_no_border_has_no_weight() -> None:
    image, grid = ball_image(40.0, 40.0, 40.0)
    d = directions()
    _, weights = border_wishes(image, grid, 20 * d, d, 6.0)
    assert weights.max() == 0.0


def test_a_joint_is_taken_at_the_near_gap_and_not_behind_the_next_bone() -> None:
    grid = Grid.from_axes((80, 20, 20), (0, 0, 0), (1, 1, 1))
    profile = np.full(80, 20.0)
    profile[36:39] = 400.0  # sacral cortex
    profile[39:42] = 80.0  # gap, centred at 40
    profile[42:45] = 700.0  # iliac cortex
    profile[45:50] = 60.0  # thin iliac marrow: a deeper valley than the gap
    profile[50:53] = 700.0
    profile[53:] = 40.0
    image = np.broadcast_to(profile[:, None, None], grid.shape).astype(np.float32)
    points = np.array([[37.0, 10, 10], [41.0, 10, 10]])
    normals = np.tile([1.0, 0, 0], (2, 1))
    shifts, weights = joint_wishes(np.ascontiguousarray(image), grid, points, normals, 6.0)
    # the border lies at 38.5; behind the ilium it would be sought beyond 44
    assert np.allclose(points[:, 0] + shifts, 38.5, atol=1.5)
    assert weights.min() > 0.4


def test_a_pure_translation_is_recovered_from_wishes_along_normals() -> None:
    d = directions(3000)
    points, move = 30 * d, np.array([2.0, -1.0, 0.5])
    shifts = d @ move
    out = smooth_displacement(points, d, shifts, np.ones(len(d)), 40.0, points)
    # the ridge holds back: the direction is right and more than half of the way is made
    length = np.linalg.norm(out, axis=1)
    cosine = (out @ move) / (length * np.linalg.norm(move))
    assert np.median(cosine) > 0.97
    assert 0.3 < np.median(length) / np.linalg.norm(move) <= 1.0


def test_no_wish_moves_nothing() -> None:
    d = directions()
    out = smooth_displacement(20 * d, d, np.zeros(len(d)), np.ones(len(d)), 10.0, 20 * d)
    assert np.abs(out).max() == 0.0


def slow_border_wishes(
    image: np.ndarray, grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """The same search with whole arrays, at steps of 0.5 mm."""
    offsets = np.arange(-reach_mm - 3.0, reach_mm + 3.5, 0.5)
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    profile = np.clip(sample(image, grid, where, -100.0), *HU_RANGE)
    inside = ndimage.maximum_filter1d(profile, 5, axis=1, origin=2)
    outside = np.roll(ndimage.uniform_filter1d(profile, 5, axis=1), -4, axis=1)
    edge = np.roll(profile, 2, axis=1) - np.roll(profile, -2, axis=1)
    strength = np.clip(edge, 0, 350) + 0.5 * np.clip(inside - outside, 0, 350)
    usable = np.abs(offsets) <= reach_mm
    value = strength[:, usable] - 60.0 * (offsets[usable] / reach_mm) ** 2
    best = np.argmax(value, axis=1)
    found = strength[:, usable][np.arange(len(points)), best]
    return offsets[usable][best], np.clip((found - 60.0) / 240.0, 0.0, 1.0)


@pytest.mark.parametrize("reach_mm", [3.0, 6.0])
def test_the_search_for_borders_is_the_slow_one(reach_mm: float) -> None:
    image, grid = ball_image(400.0, 100.0, 40.0)
    image += np.random.default_rng(7).normal(0, 60, image.shape).astype(np.float32)
    d = directions()
    points = np.random.default_rng(8).uniform(15.0, 34.0, (len(d), 1)) * d  # some leave the image
    shifts, weights = border_wishes(image, grid, points, d, reach_mm)
    wanted_shifts, wanted_weights = slow_border_wishes(image, grid, points, d, reach_mm)
    assert len(np.unique(wanted_shifts)) > 8
    assert np.array_equal(shifts, wanted_shifts)
    np.testing.assert_allclose(weights, wanted_weights, atol=1e-5)


def test_displacements_solve_least_squares_in_every_cell() -> None:
    rng = np.random.default_rng(9)
    d = directions(500)
    points, shifts, weights = 12 * d, rng.normal(0, 2, 500), rng.uniform(0, 1, 500)
    sigma, at = 5.0, 12 * d[:50]
    low = np.minimum(points.min(axis=0), at.min(axis=0)) - 2 * CELL_MM
    high = np.maximum(points.max(axis=0), at.max(axis=0)) + 2 * CELL_MM
    grid = Grid.around(np.stack([low, high]), CELL_MM)
    index = tuple(np.rint(grid.to_ijk(points)).astype(int).T)

    def gather(values: Float) -> Float:
        total = np.zeros((*grid.shape, *values.shape[1:]))
        np.add.at(total, index, values)
        widths = [sigma / CELL_MM] * 3 + [0] * (total.ndim - 3)
        return ndimage.gaussian_filter(total, widths, truncate=2.5)

    matrix = gather(weights[:, None, None] * d[:, :, None] * d[:, None, :])
    matrix += (RIDGE * gather(np.ones(500)) + 1e-6)[..., None, None] * np.eye(3)
    right = gather((weights * shifts)[:, None] * d)
    field = np.linalg.solve(matrix, right[..., None])[..., 0]
    wanted = np.stack([sample(field[..., a].copy(), grid, at, 0.0) for a in range(3)], axis=1)
    found = smooth_displacement(points, d, shifts, weights, sigma, at)
    assert np.abs(wanted).max() > 0.2
    np.testing.assert_allclose(found, wanted, atol=1e-4)

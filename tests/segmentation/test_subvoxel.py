"""A ball of bone with a blurred border, whose true radius lies between voxels."""

import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.distance import isosurface, signed_distance
from planner.geometry.grid import Grid
from planner.segmentation.subvoxel import REACH_MM, settle_border, steepest_drop

SHAPE = (48, 48, 48)
COARSE = Grid.from_axes(SHAPE, (-23.5, -23.5, -23.5), (1.0, 1.0, 1.0))
TURNED = Grid.from_axes(
    SHAPE,
    (23.5, -23.5, 23.5),
    (1.0, 1.0, 1.0),
    np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]]),
)


def radius_of(grid: Grid) -> np.ndarray:
    index = np.stack(np.indices(grid.shape), axis=-1)
    return np.asarray(np.linalg.norm(grid.to_patient(index), axis=-1))


def ball(grid: Grid, radius_mm: float, outside_hu: float = 40.0) -> np.ndarray:
    share = np.clip(radius_mm - radius_of(grid) + 0.5, 0.0, 1.0)
    image = outside_hu + (400.0 - outside_hu) * share
    return ndimage.gaussian_filter(image, 0.6).astype(np.float32)


@pytest.mark.parametrize("grid", [COARSE, TURNED], ids=["as stored", "turned"])
@pytest.mark.parametrize("off_mm", [-0.8, 0.0, 0.8])
def test_moves_a_border_onto_the_ball(grid: Grid, off_mm: float) -> None:
    rough = signed_distance(radius_of(grid) < 15.3 + off_mm, grid.spacing_mm, 0.5)
    before, _ = isosurface(rough, grid)
    settled, _ = isosurface(settle_border(rough, grid, ball(grid, 15.3), grid), grid)
    error = np.linalg.norm(settled, axis=1) - 15.3
    assert np.abs(error).mean() < 0.15
    assert np.percentile(np.abs(error), 95) < 0.35
    assert np.abs(error).mean() < np.abs(np.linalg.norm(before, axis=1) - 15.3).mean()


def test_leaves_a_border_where_the_image_says_nothing() -> None:
    rough = signed_distance(radius_of(COARSE) < 15.3, COARSE.spacing_mm, 0.5)
    settled = settle_border(rough, COARSE, np.full(SHAPE, 40.0, np.float32), COARSE)
    near = np.abs(rough) < 1.5
    assert np.abs(settled - rough)[near].max() < 0.05


def test_a_drop_beyond_reach_moves_nothing_further_than_reach() -> None:
    image = ball(COARSE, 15.0)
    points = np.array([[11.0, 0.0, 0.0], [15.4, 0.0, 0.0]])
    shifts, weights = steepest_drop(image, COARSE, points, np.array([[1.0, 0, 0]] * 2))
    assert np.abs(shifts).max() <= REACH_MM
    assert weights[0] < 0.1
    assert shifts[1] == pytest.approx(-0.4, abs=0.15)
    assert weights[1] > 0.9

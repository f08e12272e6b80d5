"""The joint's sheet on a made-up joint: bone below, ilium above, both borders known."""

import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.grid import Grid
from planner.segmentation.joint import REACH_MM, find_joint
from planner.segmentation.template import Surface, vertex_normals

GRID = Grid.from_axes((50, 60, 60), (-20.0, -30.0, -30.0), (1.0, 1.0, 1.0))


def joint_image(bow_mm: float, ilium_mm: float = 8.0) -> np.ndarray:
    """Marrow, thin plate, gap of 2.4 mm, thick plate, thin ilium; the sacrum ends at `border`."""
    x = np.stack(np.indices(GRID.shape), axis=-1) + GRID.origin
    depth = x[..., 0] - border(x[..., 1], x[..., 2], bow_mm)
    image = np.full(GRID.shape, 60.0)
    image[depth > -1.5] = 330.0
    image[depth > 0.0] = 40.0
    image[depth > 2.4] = 650.0
    image[depth > 5.0] = 120.0
    image[depth > 2.4 + ilium_mm - 2.0] = 650.0
    image[depth > 2.4 + ilium_mm] = 40.0
    return ndimage.gaussian_filter(image, 0.7).astype(np.float32)


def border(y: np.ndarray, z: np.ndarray, bow_mm: float) -> np.ndarray:
    return bow_mm * np.cos(y / 20.0) * np.cos(z / 20.0)


def sheet_surface(x_mm: float, outward: float) -> Surface:
    """A flat patch of 40 x 40 mm whose normals look along +x or -x."""
    y, z = np.meshgrid(np.arange(-20.0, 21.0), np.arange(-20.0, 21.0), indexing="ij")
    vertices = np.stack([np.full(y.size, x_mm), y.ravel(), z.ravel()], axis=1)
    index = np.arange(y.size).reshape(y.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    faces = faces if outward > 0 else faces[:, ::-1]
    return Surface(vertices, faces, vertex_normals(vertices, faces))


@pytest.mark.parametrize("off_mm", [-5.0, -2.0, 2.0, 5.0])
@pytest.mark.parametrize("bow_mm", [0.0, 4.0])
def test_finds_the_border_from_five_millimetres_off(off_mm: float, bow_mm: float) -> None:
    image = joint_image(bow_mm)
    sacrum = sheet_surface(off_mm + bow_mm / 2, 1.0)
    hip = sheet_surface(2.4 + 8.0, 1.0)  # its far cortex gives the brightness of a plate
    sheet = find_joint(image, GRID, sacrum, np.ones(len(sacrum.vertices), bool), hip)
    assert sheet is not None
    y, z = np.meshgrid(np.arange(-15.0, 16.0, 3), np.arange(-15.0, 16.0, 3))
    true = np.stack([border(y, z, bow_mm), y, z], axis=-1).reshape(-1, 3)
    heights, support = sheet.above(true)
    assert np.isfinite(heights).all()
    assert np.abs(heights).mean() < 0.7
    assert np.abs(heights).max() < 1.6
    assert support.mean() > 0.4


def test_does_not_take_the_marrow_of_a_thin_ilium_for_the_joint() -> None:
    """From 5 mm too far out the iliac marrow is the nearer valley."""
    image = joint_image(0.0, ilium_mm=7.0)
    sacrum = sheet_surface(5.0, 1.0)
    sheet = find_joint(
        image, GRID, sacrum, np.ones(len(sacrum.vertices), bool), sheet_surface(9.4, 1.0)
    )
    assert sheet is not None
    heights, _ = sheet.above(np.array([[0.0, 0.0, 0.0], [0.0, 9.0, -9.0]]))
    assert np.abs(heights).max() < 1.2


def test_says_nothing_of_points_beside_or_far_behind() -> None:
    sacrum = sheet_surface(0.0, 1.0)
    sheet = find_joint(
        joint_image(0.0), GRID, sacrum, np.ones(len(sacrum.vertices), bool), sheet_surface(10, 1.0)
    )
    assert sheet is not None
    points = np.array([[-REACH_MM - 3, 0, 0], [REACH_MM + 3, 0, 0], [0, 200, 0]])
    heights, support = sheet.above(points)
    assert np.isnan(heights).all()
    assert (support == 0).all()


def test_gives_up_without_a_joint() -> None:
    sacrum = sheet_surface(0.0, 1.0)
    facing = np.zeros(len(sacrum.vertices), bool)
    assert find_joint(joint_image(0.0), GRID, sacrum, facing, sacrum) is None

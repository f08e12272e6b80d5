from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from planner.geometry.distance import enclosed_volume, isosurface
from planner.geometry.grid import Grid
from planner.geometry.voxelise import voxelise

from .grids import centres

TURN = Rotation.from_euler("xyz", (21.0, 14.0, -33.0), degrees=True).as_matrix()
HALF = np.array([13.1, 9.7, 6.3])
QUADS = np.array(
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]]
)


def box(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a turned box of half sizes HALF, triangles facing outwards."""
    bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)]) * 2 - 1
    faces = np.concatenate([QUADS[:, [0, 1, 2]], QUADS[:, [0, 2, 3]]])
    vertices = centre + (bits * HALF) @ TURN.T
    if enclosed_volume(vertices, faces) < 0:
        faces = faces[:, ::-1]
    return vertices, np.ascontiguousarray(faces)


def beyond_box(grid: Grid, centre: np.ndarray) -> np.ndarray:
    """How far every voxel centre lies beyond the nearest plane of the box, mm; inside < 0."""
    return (np.abs((centres(grid) - centre) @ TURN) - HALF).max(axis=-1)


def test_the_box_is_a_box() -> None:
    vertices, faces = box(np.zeros(3))
    assert enclosed_volume(vertices, faces) == pytest.approx(8 * HALF.prod())


def test_a_box_fills_the_voxels_whose_centres_it_holds(cube: Grid, centre: np.ndarray) -> None:
    found = voxelise(*box(centre), cube)
    beyond = beyond_box(cube, centre)
    clear = np.abs(beyond) > 1e-3
    assert clear.mean() > 0.999
    assert (found == (beyond < 0))[clear].all()


def test_thick_and_uneven_voxels(awkward: Grid, centre: np.ndarray) -> None:
    found = voxelise(*box(centre), awkward)
    assert found.any()
    assert not found.all()
    beyond = beyond_box(awkward, centre)
    clear = np.abs(beyond) > 1e-3
    assert (found == (beyond < 0))[clear].all()


def test_the_direction_of_the_triangles_does_not_matter(cube: Grid, centre: np.ndarray) -> None:
    vertices, faces = box(centre)
    inward = np.ascontiguousarray(faces[:, ::-1])
    np.testing.assert_array_equal(voxelise(vertices, faces, cube), voxelise(vertices, inward, cube))


def test_a_sphere_comes_back_from_its_surface(cube: Grid, centre: np.ndarray) -> None:
    exact = np.linalg.norm(centres(cube) - centre - 0.2, axis=-1) - 14.0
    vertices, faces = isosurface(exact, cube)
    found = voxelise(vertices, faces, cube)
    # Flat triangles lie up to edge^2 / 8r inside a sphere: 0.02 mm here.
    clear = np.abs(exact) > 0.03
    assert (found == (exact < 0))[clear].all()
    volume = found.sum() * cube.spacing_mm.prod()
    assert volume == pytest.approx(4.0 / 3.0 * np.pi * 14.0**3, rel=0.01)


def test_the_part_outside_the_grid_is_left_out(cube: Grid, centre: np.ndarray) -> None:
    shifted = centre + cube.direction @ np.array([20.0, -19.0, 3.0])
    found = voxelise(*box(shifted), cube)
    beyond = beyond_box(cube, shifted)
    clear = np.abs(beyond) > 1e-3
    assert found.any()
    assert (found == (beyond < 0))[clear].all()


def test_a_surface_elsewhere_fills_nothing(cube: Grid, centre: np.ndarray) -> None:
    found = voxelise(*box(centre + 500.0), cube)
    assert found.shape == cube.shape
    assert not found.any()


def test_a_surface_larger_than_the_grid_fills_what_lies_in_it(awkward: Grid) -> None:
    middle = awkward.corners().mean(axis=0)
    vertices, faces = box(middle)
    reach = np.linalg.norm(awkward.corners() - middle, axis=1).max()
    assert voxelise(middle + 10.0 * reach * (vertices - middle), faces, awkward).all()
    assert not voxelise(vertices + 50.0 * reach, faces, awkward).any()
    upper = middle + 10.0 * reach * (vertices - middle + HALF[0] * TURN[:, 0])
    inside = beyond_plane(awkward, middle) > 0
    assert 0.2 < inside.mean() < 0.8
    assert np.array_equal(voxelise(upper, faces, awkward), inside)


def beyond_plane(grid: Grid, centre: np.ndarray) -> np.ndarray:
    """How far every voxel centre lies beyond a plane through the centre, along TURN's x axis."""
    return (centres(grid) - centre) @ TURN[:, 0]

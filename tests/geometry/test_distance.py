from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.distance import (
    box_around,
    deeper,
    distance_to,
    enclosed_volume,
    face_normals,
    isosurface,
    signed_distance,
    to_polydata,
    within,
)
from planner.geometry.grid import Grid

from .grids import centres

RADIUS = 15.0
OFF = np.array([0.31, -0.47, 0.23])
"""No sphere of these tests is centred on a voxel."""


def from_sphere(grid: Grid, centre: np.ndarray, radius: float = RADIUS) -> np.ndarray:
    """Signed distance of every voxel centre to a sphere, negative inside."""
    return np.linalg.norm(centres(grid) - (centre + OFF), axis=-1) - radius


def assert_closed(faces: np.ndarray) -> None:
    """Every edge belongs to two triangles that run through it in opposite directions."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)


def test_a_sphere_of_voxels_has_the_distances_of_the_sphere(cube: Grid, centre: np.ndarray) -> None:
    exact = from_sphere(cube, centre)
    found = signed_distance(exact < 0, cube.spacing_mm)
    assert found.dtype == np.float32
    wrong = np.abs(found - exact) / cube.spacing_mm.max()
    even = np.ptp(cube.spacing_mm) < 1e-6
    assert wrong.max() <= (0.6 if even else 0.7)
    assert wrong.mean() <= 0.3


def test_a_little_smoothing_brings_the_sphere_closer(cube: Grid, centre: np.ndarray) -> None:
    exact = from_sphere(cube, centre)
    near = np.abs(exact) < 4.0
    rough = signed_distance(exact < 0, cube.spacing_mm)
    smooth = signed_distance(exact < 0, cube.spacing_mm, smooth_mm=1.0)
    worst = np.abs(smooth - exact)[near].max() / cube.spacing_mm.max()
    assert worst <= 0.7
    assert np.std((smooth - exact)[near]) < np.std((rough - exact)[near])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 0.5, 1.2)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_border_is_the_face_between_two_voxels(
    spacing: tuple[float, float, float], axis: int
) -> None:
    mask = np.zeros((12, 12, 12), bool)
    half = [slice(None)] * 3
    half[axis] = slice(0, 6)
    mask[tuple(half)] = True
    for smooth in (0.0, 1.0):
        line = np.moveaxis(signed_distance(mask, spacing, smooth), axis, 0)[:, 6, 6]
        assert line[5] < 0 < line[6]
        assert line[5] == pytest.approx(-line[6], abs=1e-5)  # zero half way: at index 5.5
        steps = np.diff(line)
        assert (steps > 0).all()
        inner = [n for n in range(2, 9) if n != 5]
        if smooth == 0.0:
            np.testing.assert_allclose(steps[inner], spacing[axis], atol=1e-5)


def test_negative_inside_and_the_same_as_scipy() -> None:
    rng = np.random.default_rng(5)
    mask = ndimage.gaussian_filter(rng.normal(size=(20, 24, 18)), 2.0) > 0.02
    spacing = (0.8, 1.1, 2.4)
    field = signed_distance(mask, spacing)
    assert ((field < 0) == mask).all()
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    np.testing.assert_allclose(field, np.where(mask, 0.4 - inside, outside - 0.4), atol=1e-4)
    np.testing.assert_allclose(distance_to(mask, spacing), outside, atol=1e-4)


def test_the_distance_to_nothing() -> None:
    empty = np.zeros((3, 4, 5), bool)
    assert np.isinf(distance_to(empty, np.ones(3))).all()
    with pytest.raises(ValueError, match="signed distance of an empty mask is not defined"):
        signed_distance(empty, np.ones(3))


def test_isosurface_of_a_sphere_on_every_grid(cube: Grid, centre: np.ndarray) -> None:
    vertices, faces = isosurface(from_sphere(cube, centre), cube)
    assert_closed(faces)
    away = vertices - (centre + OFF)
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), RADIUS, atol=0.03)
    outwards = np.einsum("ij,ij->i", face_normals(vertices, faces), away[faces].mean(axis=1))
    assert (outwards[np.ptp(vertices[faces], axis=1).max(axis=1) > 1e-3] > 0).all()
    exact = 4.0 / 3.0 * np.pi * RADIUS**3
    assert enclosed_volume(vertices, faces) == pytest.approx(exact, rel=0.01)


def test_the_level_is_met_on_either_side(cube: Grid, centre: np.ndarray) -> None:
    field = from_sphere(cube, centre)
    for level in (-3.0, 2.0):
        vertices, _ = isosurface(field, cube, level)
        radii = np.linalg.norm(vertices - (centre + OFF), axis=1)
        np.testing.assert_allclose(radii, RADIUS + level, atol=0.04)


def test_a_surface_is_closed_at_the_border_of_its_grid(awkward: Grid, centre: np.ndarray) -> None:
    field = from_sphere(awkward, centre, radius=9.0)  # larger than the grid on some sides
    vertices, faces = isosurface(field, awkward)
    assert_closed(faces)
    assert enclosed_volume(vertices, faces) > 0
    index = awkward.to_ijk(vertices)
    assert (index >= -1.0).all()
    assert (index <= np.array(awkward.shape)).all()


def test_no_surface_where_the_level_is_not_met(awkward: Grid) -> None:
    vertices, faces = isosurface(np.full(awkward.shape, 5.0), awkward)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_normals_of_degenerate_triangles_are_zero() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], float)
    normals = face_normals(vertices, np.array([[0, 1, 2], [0, 1, 3]]))
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, 0]])


def test_polydata_has_the_same_triangles() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]], float)
    data = to_polydata(vertices, np.array([[0, 1, 2], [3, 2, 1]]))
    assert data.GetNumberOfPolys() == 2
    assert [data.GetCell(1).GetPointId(n) for n in range(3)] == [3, 2, 1]
    assert data.GetPoint(3) == (2.0, 0.0, 0.0)


def blob() -> np.ndarray:
    rng = np.random.default_rng(5)
    mask = np.zeros((30, 34, 28), bool)
    mask[4:24, 5:29, :18] = ndimage.gaussian_filter(rng.normal(size=(20, 24, 18)), 2.0) > 0.02
    return mask


def test_the_box_around_a_mask() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3, 4:6, 8] = True
    assert box_around(mask, np.array([1.0, 1.0, 2.0]), 1.5) == (
        slice(1, 6),
        slice(2, 8),
        slice(7, 9),
    )
    assert np.zeros((4, 4, 4))[box_around(np.zeros((4, 4, 4), bool), np.ones(3), 2.0)].size == 0


@pytest.mark.parametrize("reach_mm", [0.0, 1.5, 4.0])
def test_within_and_deeper_are_bounds_on_the_distance(reach_mm: float) -> None:
    mask, spacing = blob(), np.array([0.8, 1.1, 2.4])
    near = distance_to(mask, spacing) <= reach_mm
    assert np.array_equal(within(mask, spacing, reach_mm), near)
    deep = distance_to(~mask, spacing) > reach_mm
    assert np.array_equal(deeper(mask, spacing, reach_mm), deep)
    assert near.sum() >= deep.sum() > 0


def test_within_and_deeper_at_the_ends() -> None:
    none, all_of = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    assert not within(none, np.ones(3), 9.0).any()
    assert not deeper(none, np.ones(3), 0.0).any()
    assert deeper(all_of, np.ones(3), 9.0).all()  # there is no voxel outside

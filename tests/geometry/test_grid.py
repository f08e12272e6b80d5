from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.geometry.grid import Grid

from .grids import FRAME_UID, centres, grids, indices, points

EXACT = {"rtol": 0, "atol": 1e-8}
factors = st.tuples(*[st.integers(1, 4)] * 3)


def outer_corners(grid: Grid) -> np.ndarray:
    """(8, 3) corners of the box that the voxels fill."""
    bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
    return grid.to_patient(bits * np.array(grid.shape) - 0.5)


@given(grids(), points)
def test_index_to_patient_and_back(grid: Grid, index: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(grid.to_ijk(grid.to_patient(index)), index, **EXACT)


@given(grids(), points)
def test_patient_to_index_and_back(grid: Grid, point: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(grid.to_patient(grid.to_ijk(point)), point, **EXACT)


@given(grids(), points)
def test_the_affine_is_what_its_name_says(grid: Grid, index: tuple[float, float, float]) -> None:
    homogeneous = grid.patient_from_ijk @ np.array([*index, 1.0])
    np.testing.assert_allclose(grid.to_patient(index), homogeneous[:3], **EXACT)
    np.testing.assert_allclose(grid.ijk_from_patient @ grid.patient_from_ijk, np.eye(4), atol=1e-9)


@given(grids())
def test_steps_along_the_axes_are_the_spacing(grid: Grid) -> None:
    for axis in range(3):
        step = grid.to_patient(np.eye(3)[axis]) - grid.to_patient(np.zeros(3))
        np.testing.assert_allclose(step, grid.spacing_mm[axis] * grid.direction[:, axis], **EXACT)
    np.testing.assert_allclose(grid.direction.T @ grid.direction, np.eye(3), atol=1e-9)
    rebuilt = Grid.from_axes(grid.shape, grid.origin, grid.spacing_mm, grid.direction, FRAME_UID)
    assert rebuilt.same_as(grid)


def test_the_fixture_has_both_hands(awkward: Grid, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["awkward"]
    left = "left_handed" in name or name == "swapped"
    assert (np.linalg.det(awkward.direction) < 0) == left


def test_inside_reaches_half_a_voxel_beyond_the_outer_centres(awkward: Grid) -> None:
    top = np.array(awkward.shape) - 0.5
    assert awkward.contains(awkward.to_patient([[-0.499] * 3, top - 0.001])).all()
    for axis in range(3):
        for place in (-0.501, top[axis] + 0.001):
            index = top / 2
            index[axis] = place
            assert not awkward.contains(awkward.to_patient(index))


def test_points_of_any_leading_shape(awkward: Grid) -> None:
    index = np.zeros((4, 2, 5, 3))
    assert awkward.to_patient(index).shape == index.shape
    assert awkward.contains(awkward.to_patient(index)).shape == (4, 2, 5)


@given(grids(6), factors)
def test_subdivided_grid_covers_the_same_box(grid: Grid, parts: tuple[int, int, int]) -> None:
    fine = grid.subdivide(parts)
    assert fine.shape == tuple(n * m for n, m in zip(grid.shape, parts, strict=True))
    np.testing.assert_allclose(outer_corners(fine), outer_corners(grid), **EXACT)
    np.testing.assert_allclose(fine.spacing_mm * parts, grid.spacing_mm, **EXACT)
    assert fine.frame_of_reference_uid == grid.frame_of_reference_uid


@given(grids(4), factors)
def test_a_voxel_lies_in_the_middle_of_its_parts(grid: Grid, parts: tuple[int, int, int]) -> None:
    fine = grid.subdivide(parts)
    ni, nj, nk = grid.shape
    a, b, c = parts
    blocks = centres(fine).reshape(ni, a, nj, b, nk, c, 3)
    np.testing.assert_allclose(blocks.mean(axis=(1, 3, 5)), centres(grid), **EXACT)


def test_subdividing_refuses_less_than_one(awkward: Grid) -> None:
    with pytest.raises(ValueError, match="at least 1, got"):
        awkward.subdivide((1, 0, 2))


@given(grids(), st.data())
def test_a_crop_keeps_every_voxel_in_its_place(grid: Grid, data: st.DataObject) -> None:
    start = np.array([data.draw(st.integers(0, n - 1)) for n in grid.shape])
    pairs = zip(start, grid.shape, strict=True)
    stop = np.array([data.draw(st.integers(int(a) + 1, n)) for a, n in pairs])
    part = grid.crop(start, stop)
    assert part.shape == tuple(stop - start)
    np.testing.assert_allclose(centres(part), grid.to_patient(indices(part) + start), **EXACT)
    assert part.frame_of_reference_uid == grid.frame_of_reference_uid


@pytest.mark.parametrize(
    ("start", "stop"), [((-1, 0, 0), (2, 2, 2)), ((0, 0, 0), (99, 2, 2)), ((3, 3, 3), (3, 4, 4))]
)
def test_a_crop_must_fit(
    awkward: Grid, start: tuple[int, int, int], stop: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="does not fit into shape"):
        awkward.crop(start, stop)


@given(grids())
def test_a_grid_is_the_same_as_itself(grid: Grid) -> None:
    assert grid.same_as(Grid(grid.shape, grid.patient_from_ijk, FRAME_UID))
    assert grid.same_as(Grid(grid.shape, grid.patient_from_ijk))  # no frame known


@given(grids(), st.integers(0, 2), st.sampled_from((-1.0, 1.0)))
def test_a_shift_of_a_fiftieth_of_a_voxel_is_seen(grid: Grid, axis: int, sign: float) -> None:
    affine = grid.patient_from_ijk.copy()
    affine[axis, 3] += sign * 0.02 * np.sqrt(3) * grid.spacing_mm.min()
    moved = Grid(grid.shape, affine, FRAME_UID)
    assert not grid.same_as(moved)
    assert not moved.same_as(grid)


def test_other_grids_are_not_the_same(awkward: Grid) -> None:
    affine = awkward.patient_from_ijk
    ni, nj, nk = awkward.shape
    assert not awkward.same_as(Grid((ni, nj, nk + 1), affine, FRAME_UID))
    assert not awkward.same_as(Grid(awkward.shape, affine, FRAME_UID + ".9"))
    # The same box walked the other way round: equal corners as a set, but not voxel by voxel.
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] = awkward.to_patient((ni - 1, 0, 0))
    assert not awkward.same_as(Grid(awkward.shape, flipped, FRAME_UID))


def test_a_grid_cannot_be_changed(awkward: Grid) -> None:
    for array in (awkward.patient_from_ijk, awkward.ijk_from_patient):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        awkward.shape = (1, 1, 1)  # type: ignore[misc]


def test_a_grid_does_not_follow_the_array_it_was_made_of() -> None:
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 3] = 99.0
    assert grid.origin[0] == 0.0


def broken(row: int, column: int, value: float) -> np.ndarray:
    affine = np.eye(4)
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((2, 2, 2), broken(0, 1, 0.01), "must be orthogonal.*largest cosine between two axes"),
        ((2, 2, 2), broken(1, 1, 0.0), "spacing must be positive"),
        ((2, 2, 2), broken(0, 3, np.nan), "must be a finite"),
        ((2, 2, 2), np.eye(3), r"finite \(4, 4\) matrix"),
        ((2, 2, 2), broken(3, 0, 0.1), "end in the row 0 0 0 1"),
        ((2, 0, 2), np.eye(4), "three positive sizes, got"),
        ((2, 2), np.eye(4), "three positive sizes, got"),
    ],
)
def test_what_is_no_grid_is_refused(shape: tuple, affine: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Grid(shape, affine)


def test_rounding_of_a_written_orientation_is_accepted() -> None:
    Grid((2, 2, 2), broken(0, 1, 1e-4))


@given(grids(), st.lists(points, min_size=1, max_size=6), st.floats(0, 9))
def test_a_grid_around_points_holds_them_with_their_margin(
    axes: Grid, cloud: list[tuple[float, float, float]], margin: float
) -> None:
    spread = np.array(cloud) * 0.05
    grid = Grid.around(spread, 2.5, margin, axes.direction, FRAME_UID)
    np.testing.assert_allclose(grid.spacing_mm, 2.5, **EXACT)
    reach = np.concatenate([spread + margin * d for d in (*axes.direction.T, *-axes.direction.T)])
    index = grid.to_ijk(reach)
    assert (index >= -1e-9).all()
    assert (index <= np.array(grid.shape) - 1 + 1e-9).all()
    assert (index.min(axis=0) < 1e-6).all()  # and wastes no row on the near side

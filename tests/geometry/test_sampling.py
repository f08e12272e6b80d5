from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import ndimage

from planner.geometry.grid import Grid
from planner.geometry.sampling import (
    resample,
    resample_with_itk,
    sample,
    sample_rays,
    to_sitk,
)

from .grids import centres, indices

OUTSIDE = -777.0
SLOPE = np.array([0.7, -1.9, 3.1])


def noise(grid: Grid, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 100, grid.shape).astype(np.float32)


def scattered(grid: Grid, count: int = 600) -> np.ndarray:
    """Patient points in and around a grid."""
    index = np.random.default_rng(8).uniform(-2, np.array(grid.shape) + 1, (count, 3))
    return grid.to_patient(index)


def oracle(values: np.ndarray, grid: Grid, where: np.ndarray) -> np.ndarray:
    """What scipy makes of it: linear, clamped within the outer half voxels, OUTSIDE beyond."""
    index = np.moveaxis(grid.to_ijk(where), -1, 0)
    found = ndimage.map_coordinates(values.astype(float), index, order=1, mode="nearest")
    return np.where(grid.contains(where), found, OUTSIDE)


def test_agrees_with_scipy(awkward: Grid) -> None:
    values, where = noise(awkward), scattered(awkward)
    found = sample(values, awkward, where, OUTSIDE)
    assert (found == OUTSIDE).any()
    assert (found != OUTSIDE).any()
    np.testing.assert_allclose(found, oracle(values, awkward, where), atol=1e-3)


def test_voxel_centres_give_the_voxels(awkward: Grid) -> None:
    values = noise(awkward)
    np.testing.assert_allclose(sample(values, awkward, centres(awkward), OUTSIDE), values, atol=0.1)


def test_a_field_linear_in_patient_space_is_met_exactly(awkward: Grid) -> None:
    values = centres(awkward) @ SLOPE
    inner = np.random.default_rng(1).uniform(0, np.array(awkward.shape) - 1, (200, 3))
    where = awkward.to_patient(inner)
    np.testing.assert_allclose(sample(values, awkward, where, OUTSIDE), where @ SLOPE, atol=2e-3)


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint8])
def test_every_voxel_type_gives_float32(dtype: type) -> None:
    grid = Grid((3, 3, 3), np.eye(4))
    values = np.arange(27, dtype=dtype).reshape(3, 3, 3)
    found = sample(values, grid, [0.5, 1.0, 1.0], OUTSIDE)
    assert found.dtype == np.float32
    assert found.shape == ()
    assert found == pytest.approx(8.5)


def test_an_axis_of_one_voxel() -> None:
    grid = Grid((1, 2, 1), np.eye(4))
    values = np.array([[[1.0], [3.0]]])
    where = [[0, 0.5, 0], [0.4, 1.2, -0.4], [0.6, 0, 0]]
    np.testing.assert_allclose(sample(values, grid, where, OUTSIDE), [2.0, 3.0, OUTSIDE])


def test_arrays_must_fit_their_grid(awkward: Grid, other: Grid) -> None:
    with pytest.raises(ValueError, match="does not fit the grid"):
        sample(np.zeros((2, 2, 2)), awkward, np.zeros(3), 0.0)
    with pytest.raises(ValueError, match="does not fit the grid"):
        resample(np.zeros((2, 2, 2)), awkward, other, 0.0)


def test_an_image_of_simpleitk_lies_where_the_grid_does(awkward: Grid) -> None:
    values = noise(awkward)
    image = to_sitk(values, awkward)
    for index in ((0, 0, 0), (3, 5, 6), (8, 0, 2)):
        place = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(place, awkward.to_patient(index), atol=1e-9)
        assert image.GetPixel(index) == pytest.approx(values[index])


def test_resampling_is_sampling_at_the_new_centres(awkward: Grid, other: Grid) -> None:
    values = noise(awkward)
    found = resample(values, awkward, other, OUTSIDE)
    assert found.dtype == np.float32
    wanted = sample(values, awkward, centres(other), OUTSIDE)
    assert (wanted != OUTSIDE).mean() > 0.15
    assert (wanted == OUTSIDE).mean() > 0.15
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_resampling_there_and_back_again(awkward: Grid, other: Grid) -> None:
    values = noise(other)
    found = resample(values, other, awkward, OUTSIDE)
    np.testing.assert_allclose(found, sample(values, other, centres(awkward), OUTSIDE), atol=0.05)


def test_resampling_onto_the_own_grid_changes_nothing(awkward: Grid) -> None:
    values = noise(awkward)
    np.testing.assert_allclose(resample(values, awkward, awkward, OUTSIDE), values, atol=0.05)


def test_nearest_keeps_labels_and_their_type(awkward: Grid, other: Grid) -> None:
    labels = np.random.default_rng(2).integers(1, 16, awkward.shape).astype(np.uint8)
    found = resample(labels, awkward, other, 0, nearest=True)
    assert found.dtype == np.uint8
    index = awkward.to_ijk(centres(other))
    inside = awkward.contains(centres(other))
    # A tie between two voxels may go either way.
    clear = (np.abs(index - np.rint(index)) < 0.49).all(axis=-1)
    top = np.array(awkward.shape) - 1
    i, j, k = np.moveaxis(np.clip(np.rint(index).astype(int), 0, top), -1, 0)
    wanted = np.where(inside, labels[i, j, k], 0)
    assert (found == wanted)[clear].all()
    assert clear.mean() > 0.8


def test_voxels_keep_their_value_on_a_permuted_flipped_copy(awkward: Grid) -> None:
    values = noise(awkward)
    ni, _, nk = awkward.shape
    affine = awkward.patient_from_ijk[:, [2, 0, 1, 3]].copy()
    affine[:3, 0] *= -1
    affine[:3, 3] = awkward.to_patient((0, 0, nk - 1))
    twin = Grid((nk, ni, awkward.shape[1]), affine)
    found = resample(values, awkward, twin, OUTSIDE)
    np.testing.assert_allclose(found, np.transpose(values, (2, 0, 1))[::-1], atol=0.05)


def test_grids_of_different_frames_are_not_mixed(awkward: Grid, other: Grid) -> None:
    stranger = Grid(other.shape, other.patient_from_ijk, "1.2.3")
    with pytest.raises(ValueError, match="different frames of reference"):
        resample(noise(awkward), awkward, stranger, OUTSIDE)
    unknown = Grid(other.shape, other.patient_from_ijk)
    assert resample(noise(awkward), awkward, unknown, OUTSIDE).shape == other.shape


def test_indices_run_i_first() -> None:
    grid = Grid((2, 3, 4), np.eye(4))
    assert indices(grid)[1, 2, 3].tolist() == [1, 2, 3]


def test_rays_are_samples_along_lines(awkward: Grid) -> None:
    values, points = noise(awkward), scattered(awkward, 80)
    directions = np.random.default_rng(6).normal(size=points.shape)
    offsets = np.linspace(-2.0, 3.0, 9)
    where = points[:, None] + offsets[:, None] * directions[:, None]
    found = sample_rays(values, awkward, points, directions, offsets, OUTSIDE)
    assert found.shape == (80, 9)
    np.testing.assert_allclose(found, oracle(values, awkward, where), atol=1e-3)


def test_the_memory_order_changes_nothing(awkward: Grid, other: Grid) -> None:
    values = noise(awkward)
    turned, part = np.asfortranarray(values), np.repeat(values, 2, axis=1)[:, ::2]
    where = scattered(awkward)
    for same in (turned, part):
        np.testing.assert_allclose(
            sample(same, awkward, where, OUTSIDE),
            sample(values, awkward, where, OUTSIDE),
            atol=1e-4,
        )
        np.testing.assert_allclose(
            resample(same, awkward, other, OUTSIDE),
            resample(values, awkward, other, OUTSIDE),
            atol=1e-4,
        )


def test_resampling_is_simpleitks(awkward: Grid, other: Grid) -> None:
    values = noise(awkward)
    wanted = resample_with_itk(values, awkward, other, OUTSIDE)
    found = resample(values, awkward, other, OUTSIDE)
    assert 0.15 < (found == OUTSIDE).mean() < 0.85
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_the_number_of_threads_changes_nothing(awkward: Grid, other: Grid) -> None:
    values, before = noise(awkward), numba.get_num_threads()
    found = []
    for count in range(1, before + 1):
        numba.set_num_threads(count)
        found.append(resample(values, awkward, other, OUTSIDE))
    numba.set_num_threads(before)
    assert all(np.array_equal(found[0], again) for again in found)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_parallel_grids_are_resampled_as_any(awkward: Grid, signs: tuple[int, int, int]) -> None:
    values = noise(awkward)
    direction = awkward.direction * signs
    middle = awkward.corners().mean(axis=0)
    spacing = 0.71 * awkward.spacing_mm
    origin = middle - direction @ (spacing * 6.3)
    target = Grid.from_axes((13, 14, 15), origin, spacing, direction)
    found = resample(values, awkward, target, OUTSIDE)
    wanted = sample(values, awkward, centres(target), OUTSIDE)
    assert (wanted != OUTSIDE).mean() > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-3)

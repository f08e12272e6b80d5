"""The contrast of a pose against its slow form, and the correlation's stencil."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.geometry.sampling import sample
from planner.segmentation.localise import EMPTY_MM, _Contrast, _stencil
from planner.segmentation.pose import Pose
from planner.segmentation.template import Surface

CELL_MM = 8.0


@pytest.fixture
def surface() -> Surface:
    d = np.random.default_rng(1).normal(size=(900, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return Surface(30.0 * d, np.zeros((0, 3), int), d)


@pytest.mark.parametrize("count", [1, 3])
def test_the_contrast_of_a_pose(
    surface: Surface, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: count)
    grid = Grid.from_axes((20, 21, 22), (-36.0, -41.0, -44.0), (4.0, 4.0, 4.0))
    boneness = np.random.default_rng(2).uniform(size=grid.shape).astype(np.float32)
    smaller = Surface(0.5 * surface.vertices, surface.faces, surface.normals)
    contrast = _Contrast(boneness, grid, [(surface, 1.0), (smaller, 0.5)])
    pose = Pose(np.array([3.0, -2.0, 1.0]), np.array([20.0, -9.0, 4.0]), np.array([0.1, -0.1, 0.0]))
    points = np.concatenate([surface.vertices, smaller.vertices])
    where, out = pose.apply(points), pose.turn(np.concatenate([surface.normals] * 2))
    inside = sample(contrast.field, grid, where - out, 0.0)
    outside = sample(contrast.field, grid, where + 7.0 * out, 0.0)
    each = inside - 0.6 * outside
    wanted = (each[:900].mean() + 0.5 * each[900:].mean()) / 1.5
    assert (outside == 0.0).any()  # some look out of the field
    assert contrast(pose) == pytest.approx(wanted, abs=1e-6)


def test_a_stencil_weighs_bone_against_the_shell_around_it(surface: Surface) -> None:
    weights = np.where(np.arange(900) % 2, 1.0, 1.5)
    kernel, low = _stencil(surface.vertices, weights, CELL_MM)
    np.testing.assert_allclose(low, surface.vertices.min(axis=0) - EMPTY_MM[1])
    index = np.rint((surface.vertices - low) / CELL_MM).astype(int)
    wanted = np.zeros(kernel.shape)
    np.maximum.at(wanted, tuple(index.T), weights)
    np.testing.assert_allclose(kernel[wanted > 0], (wanted / wanted.sum())[wanted > 0], rtol=1e-5)
    bone = np.argwhere(wanted > 0)
    cells = np.stack(np.indices(kernel.shape), axis=-1)
    away = CELL_MM * np.linalg.norm(cells[..., None, :] - bone, axis=-1).min(axis=-1)
    assert np.array_equal(kernel < 0, (away > EMPTY_MM[0]) & (away < EMPTY_MM[1]))
    assert kernel[kernel < 0].sum() == pytest.approx(-1.0, rel=1e-4)

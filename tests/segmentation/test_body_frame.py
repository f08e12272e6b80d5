"""How the body lies: kernels against their slow form, and the turns of a made-up pelvis."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from planner.geometry.grid import Grid
from planner.segmentation.body_frame import (
    EMPTY_MM,
    Correlator,
    Stencils,
    search_turns,
    turn_of,
)
from planner.segmentation.template import build_template

CELL_MM = 8.0


@pytest.fixture(scope="module")
def stencils() -> Stencils:
    return Stencils(build_template(), CELL_MM)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_a_stencil_weighs_bone_against_the_shell_around_it(
    stencils: Stencils, scale: float
) -> None:
    axes = Rotation.from_euler("xyz", (35.0, -10.0, 62.0), degrees=True).as_matrix()
    kernel, low = stencils.turned(axes, scale)
    points = scale * stencils.points @ axes.T
    index = np.rint((points - low) / CELL_MM).astype(int)
    wanted = np.zeros(kernel.shape)
    np.maximum.at(wanted, tuple(index.T), stencils.weights)
    np.testing.assert_allclose(kernel[wanted > 0], (wanted / wanted.sum())[wanted > 0], rtol=1e-5)
    assert kernel[kernel < 0].sum() == pytest.approx(-1.0, rel=1e-4)
    # The shell is looked up in a coarse field: right but for a rim of half a cell.
    cells = low + CELL_MM * np.stack(np.indices(kernel.shape), axis=-1).reshape(-1, 3)
    away = np.array([np.linalg.norm(points - cell, axis=1).min() for cell in cells[::7]])
    empty = (kernel < 0).ravel()[::7]
    assert empty[(away > EMPTY_MM[0] + CELL_MM / 2) & (away < EMPTY_MM[1] - CELL_MM / 2)].all()
    assert not empty[(away < EMPTY_MM[0] - CELL_MM / 2) | (away > EMPTY_MM[1] + CELL_MM / 2)].any()


@pytest.mark.parametrize(
    "rotation_deg", [(39.0, 0.0, 0.0), (80.0, -25.0, 55.0), (0.0, 20.0, -85.0), (40.0, 0.0, 175.0)]
)
def test_every_turn_of_a_pelvis_is_found(rotation_deg: tuple[float, float, float]) -> None:
    template = build_template()
    turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    surfaces = [template.sacrum, *template.hips.values()]
    points = np.concatenate([s.vertices for s in surfaces]) @ turn.T + (12.0, -40.0, 300.0)
    native = np.linalg.qr(np.array([[1.0, 0.1, 0.0], [-0.1, 1.0, 0.05], [0.0, -0.05, 1.0]]))[0]
    native *= np.sign(np.diag(native))
    grid = Grid.around(points @ native, CELL_MM, 24.0)
    bone = np.zeros(grid.shape, np.float32)
    bone[tuple(np.rint(grid.to_ijk(points @ native)).astype(int).T)] = 1.0
    best = search_turns(Correlator(bone, grid, native, template))[0]
    away = Rotation.from_matrix(turn_of(best.rotation_deg).T @ turn_of(rotation_deg))
    assert np.degrees(away.magnitude()) < 8.0
    np.testing.assert_allclose(best.place, (12.0, -40.0, 300.0), atol=CELL_MM)
    assert best.value > 0.5

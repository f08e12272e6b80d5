from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.model.volume import CtSource, Volume

GRID = Grid.from_axes((3, 4, 5), (1, 2, 3), (0.8, 0.9, 2.0), np.eye(3)[:, [2, 0, 1]])
SOURCE = CtSource("nrrd", sha256="0")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_voxels_are_kept_as_they_are_and_read_only(dtype: type) -> None:
    values = np.zeros(GRID.shape, dtype)
    volume = Volume(values, GRID, SOURCE)
    assert volume.values is values
    with pytest.raises(ValueError, match="read-only"):
        volume.values[0, 0, 0] = 1


def test_voxels_must_fit_the_grid() -> None:
    with pytest.raises(ValueError, match=r"voxels \(5, 4, 3\) do not fit the grid \(3, 4, 5\)"):
        Volume(np.zeros((5, 4, 3), np.int16), GRID, SOURCE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_voxels_are_hounsfield_units(dtype: type) -> None:
    with pytest.raises(TypeError, match="must be int16 or float32, got"):
        Volume(np.zeros(GRID.shape, dtype), GRID, SOURCE)

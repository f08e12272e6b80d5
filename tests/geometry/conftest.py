"""The standing fixture: no frame is tested on the identity alone."""

from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.grid import Grid

from .grids import NAMES, awkward_grids

CENTRE = np.array([4.5, -11.25, 703.0])
SHIFTED = np.array([1.5, -9.0, 700.5])


@pytest.fixture(params=NAMES)
def awkward(request: pytest.FixtureRequest) -> Grid:
    """A small grid, anisotropic throughout, about CENTRE."""
    return awkward_grids((9, 8, 7), (1.7, 2.3, 3.1), CENTRE)[request.param]


@pytest.fixture(params=NAMES)
def cube(request: pytest.FixtureRequest) -> Grid:
    """A grid of 1.2 mm about CENTRE that holds a sphere of 15 mm radius."""
    return awkward_grids((40, 42, 44), (1.2, 1.2, 1.2), CENTRE)[request.param]


@pytest.fixture
def centre() -> np.ndarray:
    return CENTRE


@pytest.fixture
def other() -> Grid:
    """A grid that overlaps the small ones in part, with axes of its own."""
    return awkward_grids((10, 11, 6), (2.1, 1.3, 2.9), SHIFTED)["oblique_left_handed"]

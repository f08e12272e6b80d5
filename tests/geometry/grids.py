"""Grids that no test may be fooled by, and random ones for laws."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from planner.geometry.grid import Grid

FRAME_UID = "1.2.826.0.1.3680043.8.498.7"

OBLIQUE = Rotation.from_euler("xyz", (12.3, -17.1, 31.0), degrees=True).as_matrix()
MIRROR = np.diag([1.0, 1.0, -1.0])


def awkward_grids(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], centre: np.ndarray
) -> dict[str, Grid]:
    """Grids of one shape about one centre, by what is awkward in them.

    spacing_mm: along i, j, k; `thick` and `anisotropic` change it by up to a half.
    """

    def build(direction: np.ndarray, stretch: tuple[float, float, float] = (1, 1, 1)) -> Grid:
        spacing = np.array(spacing_mm) * stretch
        half = direction @ ((np.array(shape) - 1) / 2.0 * spacing)
        return Grid.from_axes(shape, centre - half, spacing, direction, FRAME_UID)

    return {
        "identity": build(np.eye(3)),
        "negative": build(np.diag([-1.0, -1.0, 1.0])),
        "permuted": build(np.eye(3)[:, [2, 0, 1]]),
        "left_handed": build(MIRROR),
        "swapped": build(np.eye(3)[:, [1, 0, 2]]),
        "oblique": build(OBLIQUE),
        "oblique_left_handed": build(OBLIQUE @ MIRROR),
        "thick": build(OBLIQUE.T, (1.0, 1.0, 1.5)),
        "anisotropic": build(OBLIQUE @ np.eye(3)[:, [1, 2, 0]], (1.3, 0.8, 1.1)),
    }


NAMES = tuple(awkward_grids((2, 2, 2), (1, 1, 1), np.zeros(3)))

lengths = st.floats(-1e3, 1e3, allow_nan=False, width=32)
points = st.tuples(lengths, lengths, lengths)


@st.composite
def grids(draw: st.DrawFn, most: int = 12) -> Grid:
    """Draw a grid of either handedness, any orientation, origin and spacing."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    order = draw(st.permutations(range(3)))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    shape = draw(st.tuples(*[st.integers(1, most)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.2, 5.0)] * 3))
    return Grid.from_axes(shape, draw(points), spacing, (turned * signs)[:, list(order)], FRAME_UID)


def indices(grid: Grid) -> np.ndarray:
    """(I, J, K, 3) integer index of every voxel."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)


def centres(grid: Grid) -> np.ndarray:
    """(I, J, K, 3) patient position of every voxel centre."""
    return grid.to_patient(indices(grid))

"""Radiographs against what a pinhole and a ruler say."""

from __future__ import annotations

import numpy as np
import pytest

from planner.geometry.grid import Grid
from planner.geometry.radiograph import SOURCE_TO_ISOCENTRE_MM, Beam, radiograph

GRID = Grid.around(np.array([(-60.0, -60, -60), (60, 60, 60)]), 1.5)
POINTS = GRID.to_patient(np.stack(np.indices(GRID.shape), -1))


def phantom(centre: tuple[float, float, float] | None = None) -> np.ndarray:
    """A slab of water, 40 mm thick in y, and perhaps a dense ball."""
    values = np.where(np.abs(POINTS[..., 1]) < 20, 0, -1000).astype(np.int16)
    if centre is not None:
        values[np.linalg.norm(POINTS - centre, axis=-1) < 5] = 3000
    return values


def test_water_is_as_thick_as_it_is() -> None:
    beam = Beam.towards(np.zeros(3), (0, -1, 0), (0, 0, 1))
    image = radiograph(phantom(), GRID, beam, 20.0, 11)
    assert image[5, 5] == pytest.approx(40.0, abs=2.5)


@pytest.mark.parametrize(
    ("along", "up"),
    [((0, -1, 0), (0, 0, 1)), ((0.2, -1, -0.4), (0, 0, 1)), ((-1, 0.1, 0), (0, 0, 1))],
)
def test_a_ball_lies_where_it_is_projected(along: tuple, up: tuple) -> None:
    place = np.array([18.0, -12.0, 22.0])
    beam = Beam.towards(np.zeros(3), along, up)
    size, pixels = 100.0, 101
    change = radiograph(phantom(tuple(place)), GRID, beam, size, pixels)
    change = change - radiograph(phantom(), GRID, beam, size, pixels)
    rows, columns = np.nonzero(change > change.max() / 2)
    found = np.array([columns.mean(), rows.mean()]) - (pixels - 1) / 2
    assert found == pytest.approx(beam.project(place), abs=1.5)


def test_right_in_the_picture_from_behind_is_the_patients_right() -> None:
    beam = Beam.towards(np.zeros(3), (0, -1, 0), (0, 0, 1))
    assert beam.project((-10.0, 0, 0)) == pytest.approx([10, 0])
    assert beam.project((0, 0, 10.0)) == pytest.approx([0, 10])


def test_what_is_nearer_to_the_source_is_larger() -> None:
    beam = Beam.towards(np.zeros(3), (0, -1, 0), (0, 0, 1))
    far = beam.project((-10.0, -50.0, 0))[0]
    assert far == pytest.approx(10 * SOURCE_TO_ISOCENTRE_MM / (SOURCE_TO_ISOCENTRE_MM - 50))

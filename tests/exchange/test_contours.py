"""Outlines of masks: the pixels inside them, their area, and where they lie in the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from scipy import ndimage

from planner.exchange import Handover
from planner.exchange.contours import (
    contains,
    labels_on_plane,
    outlines,
    polygons,
    signed_area,
    to_patient,
    to_pixels,
)
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS


def filled(shape: tuple[int, ...], found: list[NDArray[np.float64]]) -> NDArray[np.int64]:
    """How many polygons hold each pixel centre, by the parity of crossings."""
    out = np.zeros(shape, int)
    for row, column in np.ndindex(*shape):
        # Off the vertices' heights, so that no crossing hangs on rounding.
        point = np.array([column, row]) + 1e-6
        out[row, column] = sum(contains(polygon, point) for polygon in found)
    return out


def pieces_and_holes(mask: NDArray[np.bool_]) -> tuple[int, int]:
    outside = ndimage.label(~np.pad(mask, 1), np.ones((3, 3)))[1]
    return ndimage.label(mask)[1], outside - 1


def random_masks() -> list[NDArray[np.bool_]]:
    rng = np.random.default_rng(7)
    out = [rng.random(rng.integers(1, 13, 2)) < rng.uniform(0.2, 0.9) for _ in range(60)]
    smooth = ndimage.gaussian_filter(rng.random((40, 50)), 1.5) > 0.5  # islands within holes
    return [*out, smooth, np.ones((3, 4), bool), np.zeros((3, 4), bool)]


@pytest.mark.parametrize("mask", random_masks())
def test_the_pixels_inside_are_those_of_the_mask(mask: NDArray[np.bool_]) -> None:
    found = polygons(mask)
    assert (filled(mask.shape, found) == mask).all()
    assert len(found) == pieces_and_holes(mask)[0]


@pytest.mark.parametrize("mask", random_masks())
def test_the_area_is_that_of_the_pixels_less_half_a_pixel_per_loop(
    mask: NDArray[np.bool_],
) -> None:
    pieces, holes = pieces_and_holes(mask)
    area = sum(signed_area(polygon) for polygon in polygons(mask))
    assert area == pytest.approx(mask.sum() - (pieces - holes) / 2, abs=1e-9)


def test_a_ring_is_one_outline_that_other_ways_of_filling_leave_open() -> None:
    ring = np.hypot(*(np.indices((21, 21)) - 10)) < 9
    ring &= np.hypot(*(np.indices((21, 21)) - 10)) > 4
    (polygon,) = polygons(ring)
    places = np.stack(np.indices(ring.shape)[::-1], axis=-1).reshape(-1, 2)
    # Filled by winding number, as matplotlib does, a keyhole stays a hole; nested loops would not.
    inside = Outline(np.vstack([polygon, polygon[:1]]), closed=True).contains_points(places)
    assert (inside.reshape(ring.shape) == ring).all()


def test_straight_stretches_have_no_vertices_of_their_own() -> None:
    (polygon,) = polygons(np.ones((30, 40), bool))
    assert len(polygon) == 8


def test_pixels_and_patient_are_each_other_s_inverse(handover: Handover) -> None:
    plane = replace(
        handover.planes[3], orientation=(0.8, 0.6, 0.0, 0.0, 0.0, -1.0), spacing_mm=(0.5, 0.75)
    )
    origin = np.array(plane.position)
    assert to_patient(plane, np.array([4.0, 2.0])) == pytest.approx(
        origin + 4 * 0.75 * np.array([0.8, 0.6, 0]) + 2 * 0.5 * np.array([0, 0, -1.0])
    )
    places = np.array([[4.0, 2.0], [-1.5, 7.25]])
    assert to_pixels(plane, to_patient(plane, places)) == pytest.approx(places)


def test_labels_of_another_grid_are_taken_at_the_nearest_voxel(handover: Handover) -> None:
    """A label map that is oblique to the CT, and only covers part of it."""
    plane = handover.planes[10]
    turn = np.deg2rad(30.0)
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    middle = to_patient(plane, np.array([plane.columns / 2, plane.rows / 2]))
    grid = Grid.from_axes(
        (31, 23, 5), middle - axes @ [15 * 0.7, 11 * 0.9, 1.6], (0.7, 0.9, 0.8), axes
    )
    labels = np.random.default_rng(1).integers(0, 3, grid.shape).astype(np.uint8)
    found, (row, column) = labels_on_plane(labels, grid, plane)
    seen = 0
    for r, c in np.ndindex(plane.rows, plane.columns):
        ijk = np.rint(grid.to_ijk(to_patient(plane, np.array([c, r])))).astype(int)
        inside = (ijk >= 0).all() and (ijk < grid.shape).all()
        expected = labels[tuple(ijk)] if inside else 0
        in_box = 0 <= r - row < found.shape[0] and 0 <= c - column < found.shape[1]
        assert (found[r - row, c - column] if in_box else 0) == expected
        seen += inside
    assert seen > 100


def test_outlines_come_by_name_and_on_their_side(handover: Handover) -> None:
    anatomy = handover.opened.anatomy
    k = int(np.argmax(anatomy.mask("hip_left").sum(axis=(0, 1))))
    found: dict[str, list[NDArray[np.float64]]] = {}
    for name, polygon in outlines(anatomy.labels, anatomy.grid, handover.planes[k]):
        found.setdefault(name, []).append(to_patient(handover.planes[k], polygon))
    on_plane = anatomy.labels[:, :, k]
    assert set(found) == {name for name, value in LABELS.items() if (on_plane == value).any()}
    left, right = np.concatenate(found["hip_left"]), np.concatenate(found["hip_right"])
    assert left[:, 0].min() > right[:, 0].max()  # LPS: x grows to the patient's left

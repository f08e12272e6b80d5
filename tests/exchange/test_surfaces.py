"""Surfaces: closed, outwards, as large as the voxels, thinned by no more than is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import vtk

from planner.exchange import Handover, surfaces
from planner.exchange.surfaces import (
    THINNED_MM,
    Surface,
    apart_mm,
    is_closed,
    needle_end,
    needle_surface,
    path_start,
    segment_surfaces,
    surface_of,
)
from planner.geometry.distance import to_polydata
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from tests.exchange.meshes import assert_is_cylinder, bad_edges, flux_mm3, skin_in_view, volume_mm3
from tests.support import toy


def test_segments_are_closed_outward_and_as_large_as_their_voxels(handover: Handover) -> None:
    anatomy = handover.opened.anatomy
    present = {name for name, value in LABELS.items() if (anatomy.labels == value).any()}
    found = segment_surfaces(handover)
    assert [item.name for item in found] == [name for name in LABELS if name in present]
    assert len(found) >= 10
    voxel = float(np.prod(anatomy.grid.spacing_mm))
    for item in found:
        data = to_polydata(item.vertices, item.faces)
        assert bad_edges(data) == 0, item.name
        voxels = float(anatomy.mask(item.name).sum()) * voxel
        assert item.voxels_ml == pytest.approx(voxels / 1000.0)
        assert volume_mm3(data) == pytest.approx(voxels, rel=0.07), item.name
        assert flux_mm3(data) == pytest.approx(volume_mm3(data), rel=1e-3), item.name


def test_segments_lie_where_their_voxels_do(handover: Handover) -> None:
    anatomy = handover.opened.anatomy
    for item in segment_surfaces(handover):
        centres = anatomy.grid.to_patient(np.argwhere(anatomy.mask(item.name)))
        half = 0.6 * float(anatomy.grid.spacing_mm.max())
        low, high = centres.min(axis=0), centres.max(axis=0)
        assert np.abs(item.vertices.min(axis=0) - low).max() < 3 * half, item.name
        assert np.abs(item.vertices.max(axis=0) - high).max() < 3 * half, item.name
        inside = vtk.vtkImplicitPolyDataDistance()
        inside.SetInput(to_polydata(item.vertices, item.faces))
        middle = centres.mean(axis=0)
        deep = centres[np.argsort(np.linalg.norm(centres - middle, axis=1))[:20]]
        if item.name.startswith("foramen"):
            assert all(inside.EvaluateFunction(point) < 0 for point in deep), item.name


def ball(radius_mm: float) -> tuple[np.ndarray, Grid]:
    _, grid, _ = toy.toy_labels("oblique", (1.2, 1.2, 1.5))
    index = np.stack(np.indices(grid.shape), axis=-1)
    middle = grid.to_patient(np.array(grid.shape) / 2.0)
    return np.linalg.norm(grid.to_patient(index) - middle, axis=-1) < radius_mm, grid


def test_thinning_is_measured_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, grid = ball(15.0)
    thin = surface_of("l5", mask, grid)
    monkeypatch.setattr(surfaces, "THINNER", ())
    smooth = surface_of("l5", mask, grid)
    assert thin is not None and smooth is not None
    assert len(smooth.faces) == thin.smooth_faces
    assert smooth.thinned_mm == 0.0
    assert len(thin.faces) <= 0.51 * thin.smooth_faces
    pairs = [(thin, smooth), (smooth, thin)]
    apart = max(one_sided(one, other) for one, other in pairs)
    assert 0.01 < apart <= thin.thinned_mm + 1e-3
    assert thin.thinned_mm <= THINNED_MM
    radius = np.linalg.norm(thin.vertices - thin.vertices.mean(axis=0), axis=1)
    assert np.abs(radius - 15.0).max() < 1.2  # and it is the ball, within a voxel


def one_sided(one: Surface, other: Surface) -> float:
    """Largest distance of the vertices of one to the other, by VTK's locator."""
    locator = vtk.vtkStaticCellLocator()
    locator.SetDataSet(to_polydata(other.vertices, other.faces))
    locator.BuildLocator()
    nearest, cell, part = [0.0, 0.0, 0.0], vtk.reference(0), vtk.reference(0)
    squared = vtk.reference(0.0)
    most = 0.0
    for point in one.vertices:
        locator.FindClosestPoint(point, nearest, cell, part, squared)
        most = max(most, float(squared.get()))
    return float(np.sqrt(most))


def test_a_surface_that_cannot_be_thinned_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "THINNED_MM", 0.0)
    item = surface_of("l5", *ball(9.0))
    assert item is not None
    assert len(item.faces) == pytest.approx(item.smooth_faces, rel=0.01)
    assert item.thinned_mm == 0.0
    assert is_closed(item.faces)


@pytest.mark.parametrize("axes", toy.AWKWARD)
def test_surfaces_face_outwards_on_every_grid(axes: str) -> None:
    labels, grid, _ = toy.toy_labels(axes, (1.2, 1.2, 1.5))
    mask = labels == LABELS["foramen_s1_left"]
    item = surface_of("foramen_s1_left", mask, grid)
    assert item is not None
    data = to_polydata(item.vertices, item.faces)
    assert bad_edges(data) == 0
    assert flux_mm3(data) == pytest.approx(1000.0 * item.voxels_ml, rel=0.07)
    centres = grid.to_patient(np.argwhere(mask))
    for end in (np.min, np.max):
        assert np.abs(end(item.vertices, axis=0) - end(centres, axis=0)).max() < 1.5


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_and_border_structures_are_closed_too(size: int) -> None:
    grid = Grid.from_axes((8, 7, 6), (-310.0, 95.5, 1204.2), (0.8, 0.8, 1.25))
    for corner in ((0, 0, 0), (3, 3, 2), (8 - size, 7 - size, 6 - size)):
        mask = np.zeros(grid.shape, bool)
        mask[tuple(slice(c, c + size) for c in corner)] = True
        item = surface_of("l5", mask, grid)
        assert item is not None
        data = to_polydata(item.vertices, item.faces)
        assert len(item.faces) >= 4
        assert bad_edges(data) == 0
        assert flux_mm3(data) > 0
    assert surface_of("l5", np.zeros(grid.shape, bool), grid) is None
    full = surface_of("l5", np.ones(grid.shape, bool), grid)
    assert full is not None
    assert full.volume_ml > 0


def test_distances_of_surfaces_count_either_way() -> None:
    corners = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    spike = corners.copy()
    spike[3] = (0, 0, 14)
    assert apart_mm(corners, faces, corners, faces) == pytest.approx(0.0, abs=1e-9)
    assert apart_mm(corners, faces, spike, faces) == pytest.approx(4.0, abs=1e-6)
    assert apart_mm(spike, faces, corners, faces) == pytest.approx(4.0, abs=1e-6)
    assert is_closed(faces)
    assert not is_closed(faces[:3])
    assert not is_closed(np.vstack([faces[:3], faces[3:, ::-1]]))


@pytest.mark.parametrize("needle_mm", [150.0, None])
def test_a_needle_reaches_from_its_tip_to_its_hub(
    handover: Handover, needle_mm: float | None
) -> None:
    for path in handover.paths:
        item = skin_in_view(path, needle_mm)
        made = needle_surface(item)
        data = to_polydata(made.vertices, made.faces)
        assert bad_edges(data) == 0
        assert is_closed(made.faces)
        assert_is_cylinder(made.vertices, needle_end(item), item.tip_mm, item.needle.gauge)
        radius = item.needle.outer_diameter_mm / 2.0
        length = float(np.linalg.norm(needle_end(item) - item.tip_mm))
        assert flux_mm3(data) == pytest.approx(np.pi * radius**2 * length, rel=5e-3)
        assert length == pytest.approx(needle_mm or item.skin_to_tip_mm, abs=1e-3)
        bone, tip = np.array(item.bone_entry_mm), np.array(item.tip_mm)
        along = (tip - bone) / np.linalg.norm(tip - bone)
        np.testing.assert_allclose((tip - needle_end(item)) / length, along, atol=1e-3)


def test_what_is_not_known_of_the_skin_is_not_drawn(handover: Handover) -> None:
    item = skin_in_view(handover.paths[0], 150.0)
    assert item.skin_entry_mm != item.bone_entry_mm
    assert path_start(item).tolist() == list(item.skin_entry_mm)
    hidden = item.model_copy(update={"guidance": None, "measures": {"skin_in_view": 0.0}})
    assert path_start(hidden).tolist() == list(item.bone_entry_mm)
    assert needle_end(hidden).tolist() == list(item.bone_entry_mm)
    assert item.guidance is not None
    unseen = item.guidance.model_copy(update={"skin_in_view": False})
    told = item.model_copy(update={"guidance": unseen})
    assert path_start(told).tolist() == list(item.bone_entry_mm)
    assert needle_end(told).tolist() == list(item.bone_entry_mm)


def test_surfaces_are_made_once_for_an_anatomy_and_always_alike(handover: Handover) -> None:
    first = segment_surfaces(handover)
    assert segment_surfaces(replace(handover)) is first
    other = replace(handover.opened, anatomy=replace(handover.opened.anatomy))
    again = segment_surfaces(replace(handover, opened=other))
    assert again is not first
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.vertices, two.vertices)
        np.testing.assert_array_equal(one.faces, two.faces)

"""The toy pelvis on awkward grids: exact landmarks, sides, refusals."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from planner.anatomy import derive_anatomy
from planner.errors import PlannerError, UnsuitableCtError, UntrustedAnatomyError
from planner.geometry.distance import enclosed_volume, face_normals
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS, REGIONS, Anatomy, Region
from tests.support.toy import AWKWARD, JOINT_GAP_MM, LENGTH_MM, ToyTruth, toy_labels

COARSE = (1.25, 1.25, 1.25)
THICK = (1.0, 1.0, 3.0)


@lru_cache(maxsize=8)
def derived(
    axes: str, spacing: tuple[float, float, float] = (1.25, 1.25, 1.25)
) -> tuple[Anatomy, ToyTruth]:
    labels, grid, truth = toy_labels(axes, spacing, yaw_deg=9.0)
    return derive_anatomy(labels, grid, source="builtin"), truth


@pytest.fixture(scope="module")
def toy() -> tuple[Anatomy, ToyTruth]:
    return derived("straight")


def areas_by_region(anatomy: Anatomy) -> dict[Region, float]:
    corners = anatomy.surface.vertices[anatomy.surface.faces]
    edge = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * np.linalg.norm(edge, axis=1)
    return {r: float(area[anatomy.surface.regions == n].sum()) for n, r in enumerate(REGIONS)}


@pytest.mark.parametrize(
    ("axes", "spacing", "limit_mm"),
    [*((a, COARSE, 0.7) for a in AWKWARD), ("straight", THICK, 1.2)],
)
def test_landmarks_are_the_same_on_every_grid(
    axes: str, spacing: tuple[float, float, float], limit_mm: float
) -> None:
    anatomy, truth = derived(axes, spacing)
    origin = truth.frame.to_sacrum(anatomy.frame.origin)
    assert abs(origin[0]) < 0.3
    assert abs(origin[2]) < 0.3
    turned = np.degrees(np.arccos(np.clip((anatomy.frame.axes * truth.frame.axes).sum(0), -1, 1)))
    assert turned.max() < 2.0  # the steps of a 1.25 mm oblique grid
    assert len(anatomy.foramina) == 8
    for item in anatomy.foramina:
        key = item.level, item.side
        assert np.linalg.norm(item.centre - truth.centre[key]) < limit_mm
        assert np.linalg.norm(item.ventral - truth.ventral[key]) < limit_mm
        assert np.linalg.norm(item.dorsal - truth.dorsal[key]) < limit_mm
        assert item.width_mm == pytest.approx(truth.width_mm[item.level], abs=2.0 * limit_mm)
    assert anatomy.warnings == ()


def test_same_labels_give_the_same_numbers(toy: tuple[Anatomy, ToyTruth]) -> None:
    labels, grid, _ = toy_labels("straight", COARSE, yaw_deg=9.0)
    again = derive_anatomy(labels, grid, source="provided", confidences={"sacrum": 0.3})
    first = toy[0]
    assert np.array_equal(again.surface.vertices, first.surface.vertices)
    assert np.array_equal(again.surface.regions, first.surface.regions)
    assert np.array_equal(again.axis, first.axis)
    assert np.array_equal(again.frame.axes, first.frame.axes)
    assert again.confidence == 0.3


def test_a_larger_field_of_view_changes_nothing(toy: tuple[Anatomy, ToyTruth]) -> None:
    labels, grid, _ = toy_labels("straight", COARSE, yaw_deg=9.0)
    pad = 9
    affine = grid.patient_from_ijk.copy()
    affine[:3, 3] = grid.to_patient([-pad] * 3)
    wide = np.pad(labels, pad)
    shape = (wide.shape[0], wide.shape[1], wide.shape[2])
    again = derive_anatomy(wide, Grid(shape, affine), source="builtin")
    assert np.allclose(again.surface.vertices, toy[0].surface.vertices, atol=1e-6)
    assert np.array_equal(again.surface.regions, toy[0].surface.regions)


def test_mirrored_patient_swaps_sides(toy: tuple[Anatomy, ToyTruth]) -> None:
    labels, grid, _ = toy_labels("straight", COARSE, yaw_deg=9.0)
    swap = np.arange(max(LABELS.values()) + 1, dtype=np.uint8)
    for name, value in LABELS.items():
        if name.endswith("_left"):
            other = LABELS[name.replace("_left", "_right")]
            swap[value], swap[other] = other, value
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ grid.patient_from_ijk
    mirrored = derive_anatomy(swap[labels], Grid(grid.shape, affine), source="builtin")
    flip = np.array([-1.0, 1.0, 1.0])
    for item in toy[0].foramina:
        twin = mirrored.foramen(item.level, "right" if item.side == "left" else "left")
        assert twin is not None
        assert np.allclose(twin.centre, item.centre * flip, atol=0.15)
    assert np.allclose(mirrored.frame.origin, toy[0].frame.origin * flip, atol=0.15)


def test_swapped_side_is_refused() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    left, right = LABELS["foramen_s2_left"], LABELS["foramen_s2_right"]
    wrong = labels.copy()
    wrong[labels == left], wrong[labels == right] = right, left
    with pytest.raises(UntrustedAnatomyError, match="side is swapped"):
        derive_anatomy(wrong, grid, source="provided")


def test_all_sides_swapped_are_refused() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    wrong = labels.copy()
    for level in ("s1", "s2", "s3", "s4"):
        left, right = LABELS[f"foramen_{level}_left"], LABELS[f"foramen_{level}_right"]
        wrong[labels == left], wrong[labels == right] = right, left
    with pytest.raises(UntrustedAnatomyError, match="sides are swapped"):
        derive_anatomy(wrong, grid, source="provided")


def test_mixed_levels_are_refused() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    upper, lower = LABELS["foramen_s2_left"], LABELS["foramen_s3_left"]
    wrong = labels.copy()
    wrong[labels == upper], wrong[labels == lower] = lower, upper
    with pytest.raises(UntrustedAnatomyError, match="levels are mixed up"):
        derive_anatomy(wrong, grid, source="provided")


@pytest.mark.parametrize("axis", [1, 2])
def test_a_volume_mirrored_front_back_or_upside_down_is_refused(axis: int) -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    flip = np.eye(4)
    flip[axis, axis] = -1.0
    wrong = Grid(grid.shape, flip @ grid.patient_from_ijk)
    with pytest.raises(UnsuitableCtError, match="contradict the scan's coordinate frame") as caught:
        derive_anatomy(labels, wrong, source="provided")
    assert caught.value.exit_status == 3


def test_missing_parts_are_refused_or_named() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    with pytest.raises(UntrustedAnatomyError, match="ml of sacrum"):
        derive_anatomy(np.zeros_like(labels), grid, source="provided")
    bare = np.where(labels == LABELS["sacral_canal"], 0, labels).astype(np.uint8)
    with pytest.raises(UntrustedAnatomyError, match="no sacral_canal"):
        derive_anatomy(bare, grid, source="provided")
    one = np.where(labels == LABELS["foramen_s3_left"], 0, labels).astype(np.uint8)
    anatomy = derive_anatomy(one, grid, source="provided")
    assert anatomy.foramen("S3", "left") is None
    assert "foramen_s3_left was not found" in anatomy.warnings
    assert anatomy.confidence == 0.0  # nothing can be said of the clearance to it


def test_wrong_calls_are_value_errors() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    with pytest.raises(ValueError, match="do not fit"):
        derive_anatomy(labels[:-1], grid, source="provided")
    with pytest.raises(ValueError, match="uint8"):
        derive_anatomy(labels.astype(np.int16), grid, source="provided")  # type: ignore[arg-type]


def test_cut_off_tail_is_named_or_refused() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    for keep in (0.15, 0.5, 0.8):
        start = int(labels.shape[2] * keep)
        cut = np.ascontiguousarray(labels[:, :, start:])
        part = grid.crop((0, 0, start), grid.shape)
        try:
            anatomy = derive_anatomy(cut, part, source="provided")
        except PlannerError as error:
            assert "\n" not in str(error)
        else:
            assert any("border of the scan" in w for w in anatomy.warnings)


def test_regions_cover_the_surface_where_they_should(toy: tuple[Anatomy, ToyTruth]) -> None:
    anatomy, truth = toy
    surface = anatomy.surface
    assert surface.regions.shape == (len(surface.faces),)
    assert surface.regions.max() < len(REGIONS)
    assert enclosed_volume(surface.vertices, surface.faces) > 0
    area = areas_by_region(anatomy)
    assert min(area.values()) > 100.0
    where = truth.frame.to_sacrum(surface.vertices[surface.faces].mean(axis=1))
    facing = truth.frame.direction_to_sacrum(face_normals(surface.vertices, surface.faces))
    of = {r: surface.regions == n for n, r in enumerate(REGIONS)}
    assert np.abs(where[of[Region.SACROILIAC], 0]).min() > 40.0
    assert np.mean(facing[of[Region.ANTERIOR], 1] < 0) > 0.95
    assert np.mean(facing[of[Region.POSTERIOR], 1] > -0.2) > 0.95
    assert np.mean(facing[of[Region.SUPERIOR], 2] > 0.5) > 0.95
    assert where[of[Region.INFERIOR], 2].max() < -LENGTH_MM + 12.0
    assert np.abs(where[of[Region.CANAL], 0]).max() < 18.0


def test_sacroiliac_surface_is_guessed_and_named_without_a_hip(
    toy: tuple[Anatomy, ToyTruth],
) -> None:
    labels, grid, truth = toy_labels("straight", COARSE, yaw_deg=9.0)
    bare = np.where(labels == LABELS["hip_right"], 0, labels).astype(np.uint8)
    anatomy = derive_anatomy(bare, grid, source="provided")
    assert any(w.startswith("hip_right is missing") for w in anatomy.warnings)
    joint = anatomy.surface.regions == REGIONS.index(Region.SACROILIAC)
    where = truth.frame.to_sacrum(anatomy.surface.vertices[anatomy.surface.faces].mean(axis=1))
    assert (where[joint, 0] < -40).sum() > 0.8 * (where[joint, 0] > 40).sum()
    assert JOINT_GAP_MM < 4.0


def test_curves_run_down_the_bodies_and_the_canal(toy: tuple[Anatomy, ToyTruth]) -> None:
    anatomy, truth = toy
    axis = truth.frame.to_sacrum(anatomy.axis)
    canal = truth.frame.to_sacrum(anatomy.canal_axis)
    for curve in (axis, canal):
        assert (np.diff(curve[:, 2]) < 0).all()
        assert np.abs(curve[:, 0]).max() < 1.0
    assert axis[-1, 2] < -LENGTH_MM + 8.0
    assert canal[-1, 2] == pytest.approx(-88.0, abs=4.0)
    level = np.interp(-canal[:, 2], -axis[:, 2], axis[:, 1])
    assert (canal[:, 1] > level).all()

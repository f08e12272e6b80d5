"""Findings on the toy pelvis: each fires where it should, and none on a plain sacrum."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.toy import LEVEL_Z, patient_frame, toy_labels

from planner.anatomy import derive_anatomy
from planner.anatomy.findings import FINDINGS, look_for_findings, to_warnings
from planner.anatomy.findings.dense_region import find_dense_region
from planner.anatomy.findings.density import find_density
from planner.anatomy.findings.dysmorphism import find_dysmorphism
from planner.anatomy.findings.fracture import find_fracture
from planner.anatomy.findings.hardware import find_hardware
from planner.anatomy.findings.numbering import find_numbering
from planner.geometry.distance import distance_to
from planner.model.anatomy import LABELS, Anatomy
from planner.model.finding import Finding, Weight
from planner.model.volume import CtSource, Volume

SOFT_HU, CANCELLOUS_HU, CORTEX_HU = 40.0, 90.0, 550.0
BONES = ("sacrum", "hip_left", "hip_right", "l5")


@cache
def toy(axes: str = "straight") -> Anatomy:
    labels, grid, _ = toy_labels(axes)
    return derive_anatomy(labels, grid, source="provided")


@cache
def plain(axes: str = "straight") -> np.ndarray:
    """HU of the toy: a cortex of 1.5 mm about cancellous bone, with a little texture."""
    labels, grid, _ = toy_labels(axes)
    hu = np.full(labels.shape, SOFT_HU, np.float32)
    for name in BONES:
        bone = labels == LABELS[name]
        depth = distance_to(~bone, grid.spacing_mm)
        hu[bone] = np.where(depth[bone] <= 1.5, CORTEX_HU, CANCELLOUS_HU)
    return hu + np.random.default_rng(3).normal(0, 15, hu.shape).astype(np.float32)


def places(axes: str = "straight") -> np.ndarray:
    """(I, J, K, 3) sacral-frame place of every voxel."""
    labels, grid, _ = toy_labels(axes)
    return patient_frame().to_sacrum(grid.to_patient(np.stack(np.indices(labels.shape), axis=-1)))


def scan(hu: np.ndarray, axes: str = "straight") -> Volume:
    return Volume(hu.astype(np.int16), toy_labels(axes)[1], CtSource("toy", sha256=""))


def only(found: tuple[Finding, ...]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def test_a_plain_sacrum_has_records_only():
    found = look_for_findings(toy(), scan(plain()))
    assert to_warnings(found) == ()
    assert {item.name for item in found} == {"density", "dysmorphism", "s1_numbering"}
    assert all(item.weight is Weight.RECORD for item in found)
    assert len(FINDINGS) == 6


@pytest.mark.parametrize(
    "axes",
    [
        "straight",
        pytest.param("oblique", marks=pytest.mark.slow),
        pytest.param("permuted", marks=pytest.mark.slow),
    ],
)
def test_a_screw_is_told_with_side_level_and_volume(axes: str):
    x, y, z = np.moveaxis(places(axes), -1, 0)
    hu = plain(axes).copy()
    rod = (np.hypot(y - 5, z + 15) < 3.0) & (x > 25) & (x < 60)
    hu[rod] = 3000
    item = only(find_hardware(toy(axes), scan(hu, axes)))
    assert "in the sacrum, left, at the height of S1" in item.message
    voxel_mm3 = float(np.prod(toy_labels(axes)[1].spacing_mm))
    assert item.measures["volume_mm3"] == pytest.approx(rod.sum() * voxel_mm3)
    assert item.measures["distance_to_sacrum_mm"] < 1.5
    assert item.measures["x_sacrum_mm"] == pytest.approx(42.5, abs=1.5)


def test_metal_far_away_and_specks_are_not_told():
    x, y, z = np.moveaxis(places(), -1, 0)
    hu = plain().copy()
    hu[np.linalg.norm(places() - (30, 0, -20), axis=-1) < 1.3] = 3000
    assert find_hardware(toy(), scan(hu)) == ()
    far = np.linalg.norm(places() - (0, 46, 20), axis=-1) < 3.0
    hu[far] = 3000
    found = find_hardware(toy(), scan(hu))
    assert all(item.measures["distance_to_sacrum_mm"] <= 30.0 for item in found)


def test_cement_is_told_and_cortex_is_not():
    ball = np.linalg.norm(places() - (-38, 15, -18), axis=-1) < 6.0
    hu = np.where(ball, 1500.0, plain())
    item = only(find_dense_region(toy(), scan(hu)))
    assert "right, S1" in item.message
    assert "cement of an earlier treatment" in item.message
    # Its rim shares voxels with what lies around.
    assert 1250 < item.measures["mean_hu"] < 1500
    assert item.measures["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 216, rel=0.25)
    assert find_dense_region(toy(), scan(plain())) == ()


def test_a_dense_lesion_is_not_called_cement():
    ball = np.linalg.norm(places() - (38, 15, -18), axis=-1) < 6.0
    item = only(find_dense_region(toy(), scan(np.where(ball, 750.0, plain()))))
    assert "cement of an earlier treatment" not in item.message


def test_density_is_told_side_by_side():
    x, y, z = np.moveaxis(places(), -1, 0)
    hu = plain().copy()
    inside = (toy_labels()[0] == LABELS["sacrum"]) & (hu < 300)
    hu[inside & (x > 24)] -= 140
    item = only(find_density(toy(), scan(hu)))
    assert item.weight is Weight.NOTE
    assert item.measures["ala_left_mean_hu"] == pytest.approx(CANCELLOUS_HU - 140, abs=8)
    assert item.measures["ala_right_mean_hu"] == pytest.approx(CANCELLOUS_HU, abs=8)
    assert "low bone density" in item.message
    usual = only(find_density(toy(), scan(plain())))
    assert usual.weight is Weight.RECORD


def test_a_vertical_band_is_a_fracture_sign_on_its_side():
    x, y, z = np.moveaxis(places(), -1, 0)
    hu = plain().copy()
    marrow = (toy_labels()[0] == LABELS["sacrum"]) & (hu < 300)
    hu[marrow] += (110 * np.exp(-(((-x - 39) / 3.0) ** 2)))[marrow]
    item = only(find_fracture(toy(), scan(hu)))
    assert "right ala" in item.message
    assert "foramen" not in item.message
    assert item.measures["lateral_mm"] == pytest.approx(39, abs=1.5)
    assert item.measures["length_mm"] >= 30
    assert find_fracture(toy(), scan(plain())) == ()


def test_a_band_beside_a_foramen_names_it():
    x, y, z = np.moveaxis(places(), -1, 0)
    hu = plain().copy()
    marrow = (toy_labels()[0] == LABELS["sacrum"]) & (hu < 300)
    hu[marrow] += (140 * np.exp(-(((x - 31) / 2.0) ** 2)))[marrow]
    item = only(find_fracture(toy(), scan(hu)))
    distance = item.measures["foramen_s1_left_mm"]
    assert item.measures["lateral_mm"] == pytest.approx(31, abs=2.0)
    # A line of sight that is not straight brings the sheet nearer at its front or back.
    assert 1.0 < distance < 31 - 21 - 5.5 + 1.0
    assert ("S1 foramen" in item.message) == (distance <= 2.0)


def test_the_numbering_rests_on_what_is_seen():
    item = only(find_numbering(toy(), scan(plain())))
    assert item.weight is Weight.RECORD
    assert item.measures["l5_s1_disc_mm"] == pytest.approx(9.0, abs=1.0)
    assert item.measures["foramen_pairs_count"] == len(LEVEL_Z)
    assert "L5/S1 disc" in item.message


def test_a_field_cut_above_s1_does_not_settle_the_numbering():
    x, y, z = np.moveaxis(places(), -1, 0)
    grid = toy_labels()[1]
    top = int(np.floor(grid.to_ijk(toy().frame.to_patient([0, 0, 6.0]))[2]))
    cut = Volume(
        plain()[:, :, :top].astype(np.int16),
        grid.crop((0, 0, 0), (*grid.shape[:2], top)),
        CtSource("toy", sha256=""),
    )
    item = only(find_numbering(toy(), cut))
    assert item.weight is Weight.WARNING
    assert "not settled" in item.message
    assert "L5/S1 disc is not seen" in item.message


def test_a_missing_disc_speaks_against_the_numbering():
    x, y, z = np.moveaxis(places(), -1, 0)
    fused = (np.abs(x) < 24) & (np.abs(y) < 16) & (z > -3) & (z < 12)
    item = only(find_numbering(toy(), scan(np.where(fused, CANCELLOUS_HU, plain()))))
    assert item.weight is Weight.WARNING
    assert "no disc is seen above the S1 endplate" in item.message


def test_a_tall_disc_below_s1_speaks_for_a_lumbarised_one():
    x, y, z = np.moveaxis(places(), -1, 0)
    bone = (toy_labels()[0] == LABELS["sacrum"]) & (np.abs(x) < 20)
    # The S1/S2 joint lies at the S1 foramina, on planes across the axis.
    height = (places() - (0, 12, -27)) @ np.array([0.0, -0.33, 0.94])
    hu = plain().copy()
    hu[bone & (np.abs(height) < 5.0)] = CORTEX_HU
    hu[bone & (np.abs(height) < 3.5)] = SOFT_HU
    item = only(find_numbering(toy(), scan(hu)))
    assert "lumbarised S1" in item.message
    assert item.measures["s1_s2_disc_mm"] == pytest.approx(7.0, abs=1.5)


def test_bone_on_the_ala_is_told_with_its_side():
    x, y, z = np.moveaxis(places(), -1, 0)
    block = (x > 30) & (x < 48) & (y > -2) & (y < 14) & (z < 8) & (z > -12)
    hu = np.where(block & (toy_labels()[0] == 0), 400.0, plain())
    item = only(find_numbering(toy(), scan(hu)))
    assert item.weight is Weight.WARNING
    assert "touches" in item.message
    assert "left ala" in item.message
    assert item.measures["touching_left_mm2"] > 100
    assert item.measures["touching_right_mm2"] < 10


def test_steep_narrow_alae_are_dysmorphic():
    labels, grid, _ = toy_labels()
    x, y, z = np.moveaxis(places(), -1, 0)
    low = (labels == LABELS["sacrum"]) & (z > -6 - 0.8 * (np.abs(x) - 24)) & (np.abs(x) > 24)
    steep = labels.copy()
    steep[low] = 0
    anatomy = derive_anatomy(steep, grid, source="provided")
    item = only(find_dysmorphism(anatomy, scan(plain())))
    usual = only(find_dysmorphism(toy(), scan(plain())))
    assert item.weight is Weight.NOTE
    assert usual.weight is Weight.RECORD
    assert item.measures["transsacral_corridor_mm"] < 7.3
    assert usual.measures["transsacral_corridor_mm"] > 10.0
    for side in ("left", "right"):
        name = f"coronal_{side}_deg"
        assert item.measures[name] > usual.measures[name] + 5.0


def test_a_finding_keeps_plain_figures():
    item = Finding("x", "words", measures={"a_mm": np.float32(2.5)})
    assert dict(item.measures) == {"a_mm": 2.5}
    with pytest.raises(TypeError):
        item.measures["a_mm"] = 3.0  # type: ignore[index]

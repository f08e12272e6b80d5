"""Laws of the parametric sacrum and pelvis."""

import dataclasses

import numpy as np
import pytest

from planner.shape import (
    REGIONS,
    PelvisParameters,
    SacrumParameters,
    canal_centreline,
    canal_distance,
    femur_distance,
    foramen_distance,
    foramen_landmarks,
    hip_distance,
    l5_distance,
    sacral_axis,
    sacrum_distance,
    sacrum_hull_distance,
    surface_regions,
)

MEAN = SacrumParameters()
LEANING = dataclasses.replace(
    MEAN,
    left_width_scale=1.08,
    left_foramen_shift_mm=(2.0, -1.0, 1.5),
    right_foramen_shift_mm=(-1.0, 0.5, 0.0),
)
FIVE = dataclasses.replace(MEAN, foramen_pairs=5, residual_disc_mm=4.0)
MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    """Points (N, 3) every 4 mm around the sacrum, off the symmetry plane."""
    axes = np.arange(-68.5, 69, 4.0), np.arange(-45.2, 65, 4.0), np.arange(-130.1, 16, 4.0)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("function", [sacrum_distance, sacrum_hull_distance, canal_distance])
def test_mirrored_parameters_swap_sides(grid, function):
    there = function(grid, LEANING)
    back = function(grid * MIRROR, LEANING.mirrored())
    np.testing.assert_allclose(there, back, atol=1e-3)


def test_mirrored_parameters_swap_foramina_and_hips(grid):
    one = foramen_distance(grid, LEANING, "S2", "left")
    other = foramen_distance(grid * MIRROR, LEANING.mirrored(), "S2", "right")
    np.testing.assert_allclose(one, other, atol=1e-3)
    pelvis = PelvisParameters()
    one = hip_distance(grid, "left", LEANING, pelvis)
    other = hip_distance(grid * MIRROR, "right", LEANING.mirrored(), pelvis)
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("p", [MEAN, LEANING, FIVE])
def test_landmarks_lie_inside_their_channels_and_outside_bone(p):
    landmarks = foramen_landmarks(p)
    assert [m.level for m in landmarks[: p.foramen_pairs]] == list(p.levels)
    assert len(landmarks) == 2 * p.foramen_pairs
    for mark in landmarks:
        points = np.stack([mark.centre, mark.ventral, mark.dorsal])
        assert (foramen_distance(points, p, mark.level, mark.side) < 0).all()
        assert (sacrum_distance(points, p) > 0).all()
        assert (mark.centre[0] > 0) == (mark.side == "left")


@pytest.mark.parametrize("p", [MEAN, FIVE])
def test_channels_open_on_both_faces_of_the_hull(p):
    for mark in foramen_landmarks(p):
        for opening in (mark.ventral, mark.dorsal):
            outward = opening - mark.centre
            line = opening + np.linspace(0, 9, 37)[:, None] * outward / np.linalg.norm(outward)
            inside = foramen_distance(line, p, mark.level, mark.side) < 0
            outside = sacrum_hull_distance(line, p) > 0
            assert (inside & outside).any(), (mark.level, mark.side)


def test_channel_volumes_are_positive_and_plausible():
    axes = [np.arange(0.0, 41), np.arange(-25.0, 50), np.arange(-125.0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    hull = sacrum_hull_distance(points, MEAN) < 0
    for level in MEAN.levels:
        volume = (hull & (foramen_distance(points, MEAN, level, "left") < 0)).sum()
        assert 300 < volume < 8000, (level, volume)


def test_hull_contains_bone_and_canal_is_free_of_bone(grid):
    for p in (MEAN, LEANING, FIVE):
        bone = sacrum_distance(grid, p)
        assert (sacrum_hull_distance(grid, p) <= bone + 1e-4).all()
        assert not ((bone < 0) & (canal_distance(grid, p) < 0)).any()


def test_centrelines_run_in_canal_and_bodies():
    assert (canal_distance(canal_centreline(MEAN), MEAN) < 0).all()
    axis = sacral_axis(MEAN)
    np.testing.assert_allclose(axis[0], 0, atol=1e-6)
    assert (sacrum_hull_distance(axis[2:-8], MEAN) < 0).all()
    assert (np.diff(axis[:, 2]) < 0).all()
    steps = np.linalg.norm(np.diff(axis, axis=0), axis=1)
    np.testing.assert_allclose(steps, 1.0, atol=0.01)


def test_gradient_is_about_one_near_the_surface(grid):
    near = grid[np.abs(sacrum_distance(grid, MEAN)) < 2.0]
    step = 0.25
    shifts = step * np.eye(3)
    gradient = np.stack(
        [
            (sacrum_distance(near + s, MEAN) - sacrum_distance(near - s, MEAN)) / (2 * step)
            for s in shifts
        ],
        axis=1,
    )
    length = np.linalg.norm(gradient, axis=1)
    assert 0.9 < np.median(length) < 1.1
    assert np.percentile(length, 5) > 0.6
    assert np.percentile(length, 95) < 1.3


@pytest.mark.parametrize("sex", ["F", "M"])
def test_samples_are_plausible_and_differ(sex):
    sizes = set()
    for seed in range(30):
        p = SacrumParameters.sample(np.random.default_rng(seed), sex)
        p.validate()
        sizes.add(p.width_mm)
        for mark in foramen_landmarks(p) if seed < 3 else ():  # building the tables is slow
            own = foramen_distance(mark.centre[None], p, mark.level, mark.side)
            assert own[0] < 0
    assert len(sizes) > 25
    again = SacrumParameters.sample(np.random.default_rng(3), sex)
    assert again == SacrumParameters.sample(np.random.default_rng(3), sex)


def test_asymmetry_shows(grid):
    bone = sacrum_distance(grid, LEANING) < 0
    reflected = sacrum_distance(grid * MIRROR, LEANING) < 0
    assert (bone != reflected).sum() > 0.02 * bone.sum()


@pytest.mark.parametrize(
    ("field", "value", "grown"),
    [("width_mm", 130.0, True), ("mammillary_height_mm", 6.0, True), ("tail_mm", -5.0, False)],
)
def test_size_parameters_act_on_the_volume(grid, field, value, grown):
    changed = dataclasses.replace(MEAN, **{field: value})
    before = (sacrum_hull_distance(grid, MEAN) < 0).sum()
    after = (sacrum_hull_distance(grid, changed) < 0).sum()
    assert (after > before) == grown and after != before


def test_a_steep_ala_falls_and_turns_back_laterally():
    # Dysmorphic alae run from cranial and central to caudal and lateral (Miller and Routt 2012),
    # their corridors forward and upward to the midline (BMC Musculoskelet Disord 2023;24:536).
    steep = dataclasses.replace(MEAN, ala_coronal_deg=45.0)
    top = np.array([[45.0, 8.0, -6.0]])
    assert sacrum_hull_distance(top, MEAN)[0] < 0 < sacrum_hull_distance(top, steep)[0]
    turned = dataclasses.replace(MEAN, ala_axial_deg=35.0)
    front, back = np.array([[45.0, -12.0, -22.0]]), np.array([[45.0, 20.0, -22.0]])
    assert sacrum_hull_distance(front, MEAN)[0] < 0 < sacrum_hull_distance(front, turned)[0]
    assert sacrum_hull_distance(back, MEAN)[0] > 0 > sacrum_hull_distance(back, turned)[0]


def test_parameter_errors_are_all_listed():
    bad = dataclasses.replace(
        MEAN, width_mm=500.0, foramen_pairs=7, canal_ap_mm=(1.0,), pitch_deg=float("nan")
    )
    with pytest.raises(ValueError, match="implausible sacrum") as caught:
        bad.validate()
    for name in ("width_mm is 500", "foramen_pairs is 7", "canal_ap_mm has 1", "pitch_deg is nan"):
        assert name in str(caught.value)
    with pytest.raises(ValueError, match="joint_gap_mm is -1"):
        PelvisParameters(joint_gap_mm=-1.0).validate()


def test_unknown_foramen_is_refused():
    with pytest.raises(ValueError, match="no foramen S5 left"):
        foramen_distance(np.zeros((1, 3)), MEAN, "S5", "left")
    with pytest.raises(ValueError, match="needs"):
        sacrum_distance(np.zeros((4, 2)), MEAN)


def test_pelvis_keeps_clear_of_the_sacrum(grid):
    pelvis = PelvisParameters()
    hull = sacrum_hull_distance(grid, MEAN)
    for side in ("left", "right"):
        hip = hip_distance(grid, side, MEAN, pelvis)
        assert (hip < 0).any()
        assert (hull[hip < 0] >= pelvis.joint_gap_mm - 1e-3).all()
        femur = femur_distance(grid, side, MEAN, pelvis)
        assert not ((femur < 0) & (hip < 0)).any()
    wide = np.stack(
        np.meshgrid(np.arange(-60, 61, 3.0), np.arange(-25, 90, 3.0), np.arange(-25, 60, 3.0)), -1
    ).reshape(-1, 3)
    l5 = l5_distance(wide, MEAN)
    assert (l5 < 0).any()
    assert not ((l5 < 0) & (sacrum_hull_distance(wide, MEAN) < 0)).any()


def test_joint_gap_is_the_parameter():
    pelvis = PelvisParameters(joint_gap_mm=3.0)
    rng = np.random.default_rng(0)
    points = rng.uniform((35, -30, -70), (75, 10, -10), (60000, 3))
    hip = hip_distance(points, "left", MEAN, pelvis)
    hull = sacrum_hull_distance(points, MEAN)
    hull_near = hull[(hip < 0.2) & (hull < 4.0)]
    assert len(hull_near) > 100
    assert 2.7 < hull_near.min() < 3.2


def test_regions_of_known_places():
    axes = np.arange(-60.5, 61, 2.0), np.arange(-25.2, 50, 2.0), np.arange(-115.1, 8, 2.0)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = points[np.abs(sacrum_distance(points, MEAN)) < 0.7]
    normals = np.stack(
        [sacrum_distance(points + s, MEAN) - sacrum_distance(points - s, MEAN) for s in np.eye(3)],
        axis=1,
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    names = surface_regions(points, normals, MEAN)
    assert set(names) == set(REGIONS)
    auricular = points[names == "auricular"]
    assert (np.abs(auricular[:, 0]) > 30).all()
    endplate = (np.hypot(points[:, 0], points[:, 1]) < 10) & (points[:, 2] > -3)
    assert (names[endplate] == "superior").all()
    assert points[names == "superior"][:, 2].min() > -30
    assert points[names == "inferior"][:, 2].max() < -80

"""Set-up figures against needles whose angles are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.guidance import Guidance
from planner.model.trajectory import Needle, ScoredTrajectory, Technique, Trajectory
from planner.scoring.guidance import entry_in_words, guide, iliac_spine, sacral_views, view_along
from tests.scoring import toy

SUBJECT = toy.anatomy(0.0, (0.0, 0.0, 0.0))  # sacral axes are patient axes
CT = Grid.from_axes((100, 100, 60), (-100, -100, -150), (2.0, 2.0, 4.0), np.eye(3))


def along(rotation: float, tilt: float) -> Float:
    """Unit vector to the front, turned to the patient's left, then up; degrees."""
    a, b = np.radians(rotation), np.radians(tilt)
    return np.array([np.cos(b) * np.sin(a), -np.cos(b) * np.cos(a), np.sin(b)])


def needle(direction: Float, entry: tuple[float, float, float]) -> ScoredTrajectory:
    start = np.array(entry, float)
    path = Trajectory(
        Technique.SHORT_AXIS,
        "left" if entry[0] > 0 else "right",
        "S1",
        start - 40 * direction,
        start,
        start + 25 * direction,
        Needle("11G"),
    )
    return ScoredTrajectory("n", 1, path, {}, {"any": 0.0}, (), 1.0, {})


def setup_of(item: ScoredTrajectory, subject: Anatomy = SUBJECT) -> Guidance:
    return guide([item], subject, CT, Configuration())[item.id]


def test_ct_angles_and_depths() -> None:
    found = setup_of(needle(along(10, -20), (30, 14, -30)))
    assert found.in_plane_deg == pytest.approx(10.0)
    assert found.cranial_deg == pytest.approx(-20.0)
    assert found.skin_to_bone_mm == pytest.approx(40.0)
    assert found.skin_to_tip_mm == pytest.approx(65.0)
    assert found.needle_length_mm == 100.0
    skin = np.array([30.0, 14.0, -30.0]) - 40 * along(10, -20)
    assert found.skin_z_mm == pytest.approx(skin[2])
    assert found.skin_slice == round((skin[2] + 150) / 4) + 1
    assert found.skin_lateral_mm == pytest.approx(skin[0])


def test_a_skin_entry_across_the_midline_is_negative() -> None:
    found = setup_of(needle(along(60, 0), (20, 14, -30)))
    assert found.skin_lateral_mm == pytest.approx(20 - 40 * np.sin(np.radians(60)))
    assert found.skin_lateral_mm < 0
    mirrored = setup_of(needle(along(-60, 0), (-20, 14, -30)))
    assert mirrored.skin_lateral_mm == pytest.approx(found.skin_lateral_mm)


def test_the_tilted_gantry_holds_the_needle() -> None:
    """A slice tilted about the left-right axis contains both that axis and the needle."""
    direction = along(25, 18)
    tilt = np.radians(setup_of(needle(direction, (30, 14, -30)))
                      .gantry_tilt_deg)  # fmt: skip
    normal = np.array([0.0, np.sin(tilt), np.cos(tilt)])  # front edge up for positive tilt
    assert direction @ normal == pytest.approx(0.0, abs=1e-9)
    assert tilt > 0


def test_mirrored_needles_differ_in_sign_only() -> None:
    left = setup_of(needle(along(12, 5), (30, 14, -30)))
    right = setup_of(needle(along(-12, 5), (-30, 14, -30)))
    assert right.in_plane_deg == pytest.approx(-left.in_plane_deg)
    assert right.down_the_barrel.rotation_deg == pytest.approx(-left.down_the_barrel.rotation_deg)
    assert right.skin_lateral_mm == pytest.approx(left.skin_lateral_mm)
    assert right.skin_medial_of_spine_mm == pytest.approx(left.skin_medial_of_spine_mm, abs=1.0)


def test_the_barrel_view_looks_along_the_needle() -> None:
    view = view_along(along(0, 0))
    assert (view.rotation_deg, view.tilt_deg) == (0.0, 0.0)
    # tip to the left and up: the hub, and with it the beam's dorsal end, right and down
    view = view_along(along(15, 30))
    assert view.rotation_deg == pytest.approx(-15.0)
    assert view.tilt_deg == pytest.approx(-30.0)


def test_views_follow_the_sacrum() -> None:
    """On a sacrum that leans by 20 degrees (lower end to the back) inlet and outlet do, too."""
    views = sacral_views(SUBJECT)
    assert views["ap"].rotation_deg == pytest.approx(0.0)
    assert views["outlet"].tilt_deg == pytest.approx(0.0, abs=1e-6)  # the toy stands upright
    assert abs(views["inlet"].tilt_deg) == pytest.approx(90.0)
    assert abs(views["lateral"].rotation_deg) == pytest.approx(90.0)
    lean = np.radians(20.0)
    turn = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
    leaning = replace(SUBJECT, axis=SUBJECT.axis @ turn.T)
    views = sacral_views(leaning)
    assert views["outlet"].tilt_deg == pytest.approx(20.0)
    assert views["inlet"].tilt_deg == pytest.approx(-70.0)


def test_the_spine_is_the_hips_hindmost_point() -> None:
    spine = iliac_spine(SUBJECT, "left")
    assert spine is not None
    assert spine[1] == pytest.approx(toy.HIP_BACK, abs=1.0)
    assert toy.HIP_X - 1 <= spine[0] <= 71
    none = replace(SUBJECT, labels=np.where(SUBJECT.labels >= 1, np.uint8(1), np.uint8(0)))
    assert iliac_spine(none, "left") is None
    found = setup_of(needle(along(0, 0), (30, 14, -30)), none)
    assert found.skin_below_spine_mm is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ((30, 14, -22), "10 mm lateral to the middle of the posterior S1 foramen, left"),
        ((-26, 14, -34), "6 mm lateral to and 10 mm above the middle of the posterior S2"),
        ((14, 14, -70), "6 mm medial to and 6 mm below the middle of the posterior S3"),
    ],
)
def test_entries_in_words(entry: tuple[float, float, float], words: str) -> None:
    side = "left" if entry[0] > 0 else "right"
    assert words in entry_in_words(SUBJECT, side, np.array(entry, float))  # type: ignore[arg-type]

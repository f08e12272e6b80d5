"""How a body lies: what is planned on, what is warned of, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from planner.anatomy import derive_anatomy
from planner.anatomy.orientation import check_lie, lie_of
from planner.errors import UnsuitableCtError
from planner.geometry.grid import Grid
from planner.model.anatomy import LABELS
from tests.support.toy import toy_labels

COARSE = (1.25, 1.25, 1.25)


def turn(pitch: float, roll: float, yaw: float) -> np.ndarray:
    return Rotation.from_euler("xyz", (pitch, roll, yaw), degrees=True).as_matrix()


@pytest.mark.parametrize("yaw", [-170.0, -90.0, -30.0, 0.0, 45.0, 60.0, 119.0])
def test_the_turn_about_the_long_axis_is_found_under_any_tilt(yaw: float) -> None:
    for pitch, roll in ((0.0, 0.0), (45.0, 30.0), (-45.0, -30.0)):
        lie = lie_of(turn(pitch, roll, yaw))
        assert lie.yaw_deg == pytest.approx(yaw, abs=1e-6)
        assert lie.tilt_deg == pytest.approx(
            np.degrees(np.arccos(np.cos(np.radians(pitch)) * np.cos(np.radians(roll))))
        )


def test_usual_turns_pass_without_a_word() -> None:
    for yaw in (-60.0, 0.0, 60.0):
        for pitch in (-45.0, 45.0):
            for roll in (-30.0, 30.0):
                assert check_lie(turn(pitch, roll, yaw * 0.999)) == ()


def test_a_body_on_its_side_is_warned_of() -> None:
    (words,) = check_lie(turn(10.0, 0.0, -90.0))
    assert "turned by 90 degrees" in words
    assert "left and right in this plan are the body's own" in words


@pytest.mark.parametrize(
    ("angles", "words"),
    [
        ((0.0, 0.0, 150.0), "front to back"),
        ((180.0, 0.0, 0.0), "upside down"),
        ((90.0, 0.0, 0.0), "across"),
    ],
)
def test_what_no_header_may_say_is_refused(angles: tuple, words: str) -> None:
    with pytest.raises(UnsuitableCtError, match=words) as caught:
        check_lie(turn(*angles))
    assert "ImageOrientationPatient" in str(caught.value)


@pytest.mark.parametrize("angles", [(20.0, -15.0, 40.0), (-40.0, 10.0, -55.0), (0.0, 0.0, 100.0)])
def test_landmarks_turn_with_the_header(angles: tuple) -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    rotation = turn(*angles)
    straight = derive_anatomy(labels, grid, source="provided")
    affine = np.eye(4)
    affine[:3, :3] = rotation
    moved = Grid(grid.shape, affine @ grid.patient_from_ijk)
    turned = derive_anatomy(labels, moved, source="provided")
    np.testing.assert_allclose(turned.frame.axes, rotation @ straight.frame.axes, atol=0.01)
    for one, other in zip(straight.foramina, turned.foramina, strict=True):
        np.testing.assert_allclose(rotation @ one.centre, other.centre, atol=0.3)
    warned = any("lies on its side" in line for line in turned.warnings)
    assert warned == (abs(angles[2]) > 60.0)


def test_swapped_sides_are_refused_however_the_body_lies() -> None:
    labels, grid, _ = toy_labels("straight", COARSE)
    wrong = labels.copy()
    for level in ("s1", "s2", "s3", "s4"):
        left, right = LABELS[f"foramen_{level}_left"], LABELS[f"foramen_{level}_right"]
        wrong[labels == left], wrong[labels == right] = right, left
    affine = np.eye(4)
    affine[:3, :3] = turn(0.0, 0.0, 80.0)
    with pytest.raises(UnsuitableCtError, match="in front of the bodies"):
        derive_anatomy(wrong, Grid(grid.shape, affine @ grid.patient_from_ijk), source="provided")

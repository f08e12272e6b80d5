from __future__ import annotations

import numpy as np
import pytest

from planner.segmentation.pose import Bend, Pose


def test_a_pose_survives_its_vector() -> None:
    pose = Pose(np.array([1.0, -2, 3]), np.array([40.0, -3, 5]), np.array([0.1, -0.05, 0.02]))
    again = Pose.from_vector(pose.vector())
    points = np.random.default_rng(0).normal(size=(20, 3)) * 50
    assert np.allclose(pose.apply(points), again.apply(points))


def test_a_slope_turns_the_endplate_normal_to_the_belly() -> None:
    pose = Pose(np.zeros(3), np.array([40.0, 0, 0]), np.zeros(3))
    normal = pose.turn(np.array([0.0, 0.0, 1.0]))
    assert normal[1] < 0 < normal[2]
    assert np.degrees(np.arctan2(-normal[1], normal[2])) == pytest.approx(40.0)


def test_left_stays_left() -> None:
    pose = Pose(np.zeros(3), np.array([40.0, 5, -8]), np.zeros(3))
    assert pose.apply([50.0, 0, 0])[0] > 0 > pose.apply([-50.0, 0, 0])[0]


def test_normals_stay_perpendicular_under_unequal_scales() -> None:
    pose = Pose(np.zeros(3), np.array([10.0, 20, 30]), np.array([0.2, -0.2, 0.0]))
    normal, tangent = np.array([1.0, 1, 0]) / np.sqrt(2), np.array([1.0, -1, 0])
    moved = pose.apply(tangent) - pose.apply(np.zeros(3))
    assert pose.turn(normal) @ moved == pytest.approx(0.0, abs=1e-9)


def test_a_bend_leaves_the_endplate_and_moves_the_tail() -> None:
    bend = Bend(curve_mm=8.0, stretch_mm=5.0)
    assert np.allclose(bend.apply([[10.0, 3.0, 0.0]]), [[10.0, 3.0, 0.0]])
    assert np.allclose(bend.apply([[0.0, 0.0, -100.0]]), [[0.0, 8.0, -105.0]])

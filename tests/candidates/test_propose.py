"""Proposals on the toy sacrum: they belong, they fit, they repeat."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from planner.anatomy.fields import clearance_fields
from planner.anatomy.needles import hip_distances
from planner.candidates import belongs, propose, target_points
from planner.model.configuration import Configuration
from planner.model.trajectory import Technique, Trajectory
from planner.scoring import rank, score
from tests.scoring import toy

CONFIGURATION = Configuration.from_mapping({"techniques": ["short_axis", "s2_s3_entry"]})


@lru_cache(maxsize=1)
def proposed() -> tuple[Trajectory, ...]:
    return propose(*toy.standard(), CONFIGURATION)


def test_both_sides_and_levels() -> None:
    found = {(t.technique, t.side, t.level) for t in proposed()}
    for side in ("left", "right"):
        assert (Technique.SHORT_AXIS, side, "S1") in found
        assert (Technique.SHORT_AXIS, side, "S2") in found
        assert (Technique.S2_S3_ENTRY, side, "S2/S3") in found


def test_each_belongs_to_its_technique() -> None:
    subject, _ = toy.standard()
    for trajectory in proposed():
        assert belongs(trajectory, subject) == ()


def test_none_crosses_a_hip_and_all_start_on_skin() -> None:
    subject, _ = toy.standard()
    fields = clearance_fields(subject)
    for t in proposed():
        gap = hip_distances(fields, t.bone_entry[None], t.direction[None], t.needle.radius_mm)
        assert gap[0] >= 2.0
        assert subject.frame.to_sacrum(t.skin_entry)[1] == pytest.approx(toy.SKIN_Y, abs=1.5)
        back = (t.bone_entry - t.skin_entry) / np.linalg.norm(t.bone_entry - t.skin_entry)
        np.testing.assert_allclose(back, t.direction, atol=1e-6)


def test_all_pass_the_exact_limits() -> None:
    subject, volume = toy.standard()
    found = score(proposed(), subject, volume, CONFIGURATION)
    assert len(found.accepted) >= 0.9 * len(proposed())
    kept = rank(found, CONFIGURATION)
    assert [t.rank for t in kept] == list(range(1, len(kept) + 1))


def test_the_same_again() -> None:
    again = propose(*toy.standard(), CONFIGURATION)
    assert len(again) == len(proposed())
    for one, two in zip(again, proposed(), strict=True):
        np.testing.assert_array_equal(one.bone_entry, two.bone_entry)
        np.testing.assert_array_equal(one.tip, two.tip)


@pytest.mark.parametrize(
    ("entry", "tip", "rule"),
    [
        ((24, 14, -22), (24, -6, -22), "entry_level"),
        ((22, 14, -15), (23, -6, -15), "entry_lateral_offset"),
        ((36, 14, -10), (36, -6, -20), "inclination"),
        ((45, 14, -15), (35, -6, -15), "azimuth_hub_lateral"),
        ((28, 14, -15), (45, -6, -15), "azimuth_past_joint"),
        ((36, 14, -15), (36, 8, -15), "tip_depth"),
        ((36, 14, -15), (36, -15, -15), "tip_to_anterior"),
        ((36, 14, -28), (36, -6, -28), "tip_height"),
    ],
)
def test_rules_are_named(
    entry: tuple[float, float, float], tip: tuple[float, float, float], rule: str
) -> None:
    subject, _ = toy.standard()
    shift = (0.0, 0.0, -30.0) if rule == "entry_level" else (0.0, 0.0, 0.0)
    start, end = np.add(entry, shift), np.add(tip, shift)
    needle = toy.needle(subject, tuple(start), tuple(end))
    assert rule in belongs(needle, subject)


def test_long_axis_rules() -> None:
    subject, _ = toy.standard()
    needle = toy.needle(
        subject, (36, 14, -30), (36, -6, -15), technique=Technique.LONG_AXIS, level="S3"
    )
    broken = belongs(needle, subject)
    assert {"entry_level", "entry_near_joint_end", "inclination", "ap_angle"} & set(broken)


def test_a_target_draws_the_tips() -> None:
    subject, volume = toy.standard()
    only = Configuration.from_mapping({"techniques": ["short_axis"], "sides": ["left"]})
    goal = subject.frame.to_patient(np.array([[44.0, -8.0, -12.0]]))
    free = min(np.linalg.norm(t.tip - goal) for t in propose(subject, volume, only))
    drawn = min(np.linalg.norm(t.tip - goal) for t in propose(subject, volume, only, goal))
    assert drawn <= free
    assert drawn < 5.0


def test_target_forms() -> None:
    subject, _ = toy.standard()
    mask = np.zeros(subject.grid.shape, bool)
    mask[3, 4, 5] = True
    np.testing.assert_allclose(
        target_points((mask, subject.grid)), subject.grid.to_patient([[3, 4, 5]]), atol=6e-4
    )
    with pytest.raises(ValueError, match="at least one"):
        target_points((np.zeros(subject.grid.shape, bool), subject.grid))

"""What no sacrum looks like lowers the confidence of the structure concerned, and only of that."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from planner.anatomy import derive_anatomy
from planner.anatomy.plausibility import (
    lateral_checks,
    pair_checks,
    spacing_checks,
    weaken,
)
from planner.model.anatomy import LABELS, Anatomy, Check, Foramen, SacralFrame, Side, side_sign
from tests.support.toy import toy_labels

COARSE = (1.25, 1.25, 1.25)
DEPTHS = {"S1": 33.0, "S2": 58.0, "S3": 77.0, "S4": 96.0}
FRAME = SacralFrame(np.array([5.0, -3.0, 40.0]), np.eye(3))
AXIS = FRAME.to_patient(np.stack([np.zeros(131), np.zeros(131), -np.arange(131.0)], axis=1))


def foramina(**depths: float) -> tuple[Foramen, ...]:
    """A straight sacrum; keywords such as S2_left put one foramen at another depth."""

    def one(level: str, side: Side) -> Foramen:
        depth = depths.get(f"{level}_{side}", DEPTHS[level])
        centre = FRAME.to_patient([20.0 * side_sign(side), 8.0, -depth])
        return Foramen(level, side, centre, centre, centre, 7.0, 1.0)

    return tuple(one(level, side) for level in DEPTHS for side in ("left", "right"))


def failed(checks: list[Check]) -> list[Check]:
    return [check for check in checks if not check.passed]


def test_a_common_sacrum_raises_no_doubt() -> None:
    row = foramina()
    assert not failed(spacing_checks(row, AXIS))
    assert not failed(lateral_checks(row, FRAME))
    assert not failed(pair_checks(row, AXIS))


@pytest.mark.parametrize(
    ("moved", "names", "words"),
    [
        ({"S4_left": 86.0}, {"foramen_s4_left"}, "9 mm below foramen_s3_left, 12 to 29 mm"),
        ({"S2_right": 75.0}, {"foramen_s1_right", "foramen_s2_right"}, "42 mm below"),
        ({"S1_left": 12.0}, {"foramen_s1_left"}, "12 mm below the S1 endplate, 22 to 44 mm"),
    ],
)
def test_unlikely_spacing_is_told_of_the_foramina_concerned(
    moved: dict[str, float], names: set[str], words: str
) -> None:
    doubts = failed(spacing_checks(foramina(**moved), AXIS))
    assert names <= {name for doubt in doubts for name in doubt.structures}
    assert any(words in doubt.message for doubt in doubts)
    assert all(name.endswith(next(iter(moved))[3:]) for d in doubts for name in d.structures)


def test_a_gap_that_no_sacrum_has_is_enough_to_refuse() -> None:
    (mild,) = failed(spacing_checks(foramina(S4_left=88.0), AXIS))
    (gross,) = failed(spacing_checks(foramina(S4_left=83.0), AXIS))
    assert mild.factor == 0.4
    assert weaken({"foramen_s4_left": 0.97}, [gross])["foramen_s4_left"] < 0.2


def test_different_heights_of_a_pair_are_weak_evidence() -> None:
    (doubt,) = failed(pair_checks(foramina(S3_left=86.0), AXIS))
    assert set(doubt.structures) == {"foramen_s3_left", "foramen_s3_right"}
    assert "9 mm apart in height" in doubt.message
    assert not failed(spacing_checks(foramina(S3_left=81.0), AXIS))
    assert doubt.factor > failed(spacing_checks(foramina(S4_left=86.0), AXIS))[0].factor


def test_a_foramen_in_the_midline_is_doubted() -> None:
    row = list(foramina())
    row[3] = replace(row[3], centre=FRAME.to_patient([-6.0, 8.0, -58.0]))
    (doubt,) = failed(lateral_checks(tuple(row), FRAME))
    assert doubt.structures == ("foramen_s2_right",)
    assert "6 mm from the midplane" in doubt.message


def test_two_doubts_together_go_below_the_floor() -> None:
    one = Check("made_up", 2.0, (0.0, 1.0), "mm", ("foramen_s1_left",), 0.4)
    assert weaken({"foramen_s1_left": 0.97, "sacrum": 0.9}, [one, one]) == {
        "foramen_s1_left": pytest.approx(0.155, abs=0.001),
        "sacrum": 0.9,
    }
    assert weaken({}, [one]) == {"foramen_s1_left": 0.4}  # 1 where none was stated
    kept = replace(one, measured=1.0)
    assert weaken({"foramen_s1_left": 0.97}, [kept]) == {"foramen_s1_left": 0.97}


def test_every_gate_is_told_whether_it_passed_or_not() -> None:
    checks = toy()[2].checks
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert {"bone", "joint_left", "joint_right", "canal_course", "s1_to_s2_left"} <= set(names)
    assert all(
        check.limit[0] < check.limit[1] and np.isfinite(check.limit).all() for check in checks
    )
    assert all(check.passed for check in checks)


@lru_cache(maxsize=1)
def toy() -> tuple[np.ndarray, object, Anatomy]:
    labels, grid, _ = toy_labels("straight", COARSE)
    return labels, grid, derive_anatomy(labels, grid, source="provided")


def test_a_whole_label_map_keeps_its_confidence() -> None:
    _, _, anatomy = toy()
    assert anatomy.confidence == 1.0
    assert not any("expected" in warning for warning in anatomy.warnings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sacral_canal", "of its course from S1 to S3"),
        ("hip_left", "hip_left was not found"),
        ("foramen_s2_left", "at least 380 mm3 expected"),
    ],
)
def test_damage_to_a_label_is_told_and_lowers_its_confidence(name: str, words: str) -> None:
    labels, grid, whole = toy()
    broken = labels.copy()
    where = np.argwhere(broken == LABELS[name])
    if name == "sacral_canal":  # a gap of a third of its length
        height = whole.frame.to_sacrum(grid.to_patient(where))[:, 2]
        s2 = whole.frame.to_sacrum(whole.foramen("S2", "left").centre)[2]
        where = where[np.abs(height - s2) < 12.0]
    if name == "foramen_s2_left":  # a slit along its middle is left
        away = np.abs(grid.to_patient(where) - whole.foramen("S2", "left").centre)
        where = where[np.maximum(away[:, 0], away[:, 2]) > 1.5]
    broken[tuple(where.T)] = 0
    anatomy = derive_anatomy(broken, grid, source="provided")
    assert any(words in warning for warning in anatomy.warnings), anatomy.warnings
    assert anatomy.confidences[name] < 0.5

"""Openings of the plate, on a phantom whose foramina are known: each has a name, or is told."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest

from planner.anatomy import derive_anatomy
from planner.anatomy.findings.view import view_of
from planner.anatomy.judge import (
    CERTAIN,
    evidence_checks,
    gather,
    judge,
    log_odds,
    probability,
)
from planner.anatomy.plausibility import IMPOSSIBLE
from planner.anatomy.tunnels import Plate, _basins, find_openings, seen_through, unroll
from planner.model.anatomy import LABELS, Anatomy
from planner.model.volume import Volume
from planner.phantom import Phantom, PhantomParameters, make_phantom


@lru_cache(maxsize=1)
def phantom() -> Phantom:
    return make_phantom(
        PhantomParameters(
            osteoporosis=0.5,
            spacing_mm=1.0,
            slice_spacing_mm=1.5,
            slice_thickness_mm=1.5,
            field_width_mm=300.0,
            field_depth_mm=220.0,
        )
    )


@lru_cache(maxsize=4)
def anatomy_of(lost: str = "") -> Anatomy:
    """The true anatomy; one foramen may be labelled as bone."""
    labels = phantom().truth.labels.copy()
    if lost:
        labels[labels == LABELS[lost]] = LABELS["sacrum"]
    return derive_anatomy(labels, phantom().volume.grid, source="provided")


def plate_of(anatomy: Anatomy) -> Plate:
    plate = unroll(view_of(anatomy, phantom().volume))
    assert plate is not None
    return plate


def test_every_named_foramen_is_an_opening_and_the_plate_has_no_other() -> None:
    anatomy = anatomy_of()
    plate = plate_of(anatomy)
    for item in anatomy.foramina:
        if item.level in ("S1", "S2", "S3"):
            contrast, shift = seen_through(plate, item, anatomy)
            assert contrast > 40.0, item.name
            assert shift < 4.0, item.name
    evidence = gather(anatomy, phantom().volume)
    assert evidence["unnamed_opening"] < 60.0
    named = {opening.name for opening in find_openings(plate, anatomy)[:8]}
    assert len(named & {item.name for item in anatomy.foramina}) >= 6


@pytest.mark.parametrize("lost", ["foramen_s2_left", "foramen_s3_right"])
def test_a_tunnel_without_a_name_is_found_where_it_is(lost: str) -> None:
    whole, anatomy = anatomy_of(), anatomy_of(lost)
    level, side = lost.split("_")[1].upper(), lost.split("_")[2]
    (deepest, *_) = [
        opening
        for opening in find_openings(plate_of(anatomy), anatomy)
        if not opening.name and opening.area_mm2 >= 9.0
    ]
    true = next(i for i in whole.foramina if (i.level, i.side) == (level, side))
    assert np.linalg.norm(deepest.point - true.centre) < 8.0
    before = gather(whole, phantom().volume)["unnamed_opening"]
    assert gather(anatomy, phantom().volume)["unnamed_opening"] > before + 40.0


def test_the_plate_turns_with_the_header() -> None:
    volume, turn = phantom().volume, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    grid = volume.grid.turned(turn @ np.diag([1.0, 1.0, 1.0]))
    moved = Volume(volume.values, grid, volume.source)
    anatomy = derive_anatomy(phantom().truth.labels, grid, source="provided")
    one, other = gather(anatomy_of(), volume), gather(anatomy, moved)
    for name, value in one.items():
        assert other[name] == pytest.approx(value, abs=max(8.0, 0.15 * abs(value))), name


def test_basins_are_as_deep_as_the_way_out() -> None:
    values = np.full((9, 9), 100.0)
    values[2, 2], values[2, 6], values[2, 3:6] = 10.0, 30.0, 60.0
    values[7, 7] = np.nan
    found = {(row, column): (depth, area) for row, column, depth, area in _basins(values)}
    assert found[2, 2][0] == pytest.approx(90.0)
    assert found[2, 6][0] == pytest.approx(30.0)  # over the saddle at 60
    assert found[2, 6][1] == pytest.approx(2.25)


def evidence(**changed: float) -> dict[str, float]:
    """Of a right anatomy in a good CT."""
    upper = [f"foramen_{v}_{s}" for v in ("s1", "s2", "s3") for s in ("left", "right")]
    good = {"contrast": 0.38, "support_sacrum": 0.8, "support_lower": 0.8, "support_endplate": 0.95}
    good |= {f"wall_{name}": 180.0 for name in upper}
    good |= {f"seen_through_{name}": 90.0 for name in upper}
    good |= {f"off_centre_{name}": 1.0 for name in upper}
    return good | {"unnamed_opening": 15.0, "doubt": 0.0, "gap_below_s1": 0.0} | changed


def test_evidence_adds_up() -> None:
    worse = {
        "support_sacrum": 0.6,
        "support_lower": 0.4,
        "support_endplate": 0.4,
        "seen_through_foramen_s2_left": 0.0,
        "off_centre_foramen_s3_right": 6.0,
        "unnamed_opening": 120.0,
        "doubt": 0.6,
        "joint_above_s1_left": 4.0,
        "check_s2_to_s3_left": 12.0,
        "check_s3_left_to_right": 7.0,
    }
    each = [log_odds(evidence(**{name: value})) for name, value in worse.items()]
    assert max(each) < log_odds(evidence())  # each of them counts
    assert log_odds(evidence(**worse)) < np.log(0.05 / 0.95) < 0.0 < min(each)
    assert probability(evidence(**worse)) < 0.05
    assert probability(evidence()) == CERTAIN


def test_what_no_right_anatomy_has_refuses_alone() -> None:
    for name, value in (
        ("support_lower", 0.2),
        ("support_endplate", 0.1),
        ("support_sacrum", 0.4),
        ("unnamed_opening", 650.0),
        ("gap_below_s1", 6.5),
    ):
        known = evidence(**{name: value})
        (failed,) = [check for check in evidence_checks(known) if not check.passed]
        assert (failed.name, failed.factor) == (name, IMPOSSIBLE)
    assert all(check.passed for check in evidence_checks(evidence()))


def test_what_was_not_measured_is_no_check() -> None:
    known = evidence()
    assert "joints_above_s1" not in {check.name for check in evidence_checks(known)}
    known |= {"joint_above_s1_left": 70.0}
    (failed,) = [check for check in evidence_checks(known) if not check.passed]
    assert "70 mm above" in failed.message and "8 to 60 mm expected" in failed.message
    del known["gap_below_s1"]
    assert "gap_below_s1" not in {check.name for check in evidence_checks(known)}


def test_the_judge_keeps_what_it_measured() -> None:
    anatomy = anatomy_of("foramen_s2_left")
    judged = judge(anatomy, phantom().volume, {})
    assert judged.confidence == anatomy.confidence  # of the user's own labels no more is known
    names = [check.name for check in judged.checks]
    assert len(set(names)) == len(names)
    assert {"unnamed_opening", "seen_foramen_s1_left", "bone"} <= set(names)
    failed = [check for check in judged.checks if not check.passed]
    assert {check.message for check in failed} <= set(judged.warnings)
    assert dataclasses.replace(judged.checks[0], measured=1e9).passed is False

"""Which needles go together: shafts and hubs apart, crossing told, best first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.model.anatomy import SacralFrame
from planner.model.configuration import Configuration, Pairs
from planner.model.pair import PairKind
from planner.model.trajectory import Needle, ScoredTrajectory, Technique, Trajectory
from planner.scoring.pairs import find_pairs, needle_length

FRAME = SacralFrame(np.array([3.0, -8.0, 21.0]), np.eye(3))
OPEN = Configuration(pairs=Pairs(hub_diameter_mm=0.0, shaft_clearance_mm=0.0, top=50))


def scored(
    name: str,
    skin: tuple[float, float, float],
    tip: tuple[float, float, float],
    technique: Technique = Technique.SHORT_AXIS,
    breach: float = 0.001,
) -> ScoredTrajectory:
    """A needle from skin to tip, points of the sacral frame; its bone entry lies midway."""
    start, end = FRAME.to_patient(np.array(skin, float)), FRAME.to_patient(np.array(tip, float))
    side = "left" if tip[0] > 0 else "right"
    path = Trajectory(technique, side, "S1", start, (start + end) / 2, end, Needle("11G"))  # type: ignore[arg-type]
    return ScoredTrajectory(name, 1, path, {}, {"any": breach}, (), 0.8, {})


def test_parallel_needles_keep_their_distance() -> None:
    a = scored("a", (25, 60, -30), (25, -10, -30))
    b = scored("b", (-25, 60, -30), (-25, -10, -30))
    (pair,) = find_pairs((a, b), FRAME, OPEN)
    assert pair.kind is PairKind.BILATERAL
    assert pair.trajectories == ("a", "b")
    assert pair.shaft_clearance_mm == pytest.approx(50 - 3.048)
    assert pair.hub_clearance_mm == pytest.approx(50.0 - 1.524)  # a hub without width, a shaft
    assert pair.skin_spacing_mm == pytest.approx(50.0)
    assert not pair.crosses_on_ap
    assert pair.breach_probability == pytest.approx(1 - 0.999**2)


def test_a_hub_and_the_other_shaft_keep_apart() -> None:
    """Parallel needles of different lengths: the shorter one's handle beside the longer shaft."""
    short = scored("short", (25, 60, -30), (25, -10, -30))
    long = scored("long", (35, 110, -30), (35, -10, -30), Technique.LONG_AXIS)
    (pair,) = find_pairs((short, long), FRAME, OPEN)
    assert pair.hub_clearance_mm == pytest.approx(10 - 1.524)  # a hub without width
    assert find_pairs((short, long), FRAME, Configuration()) == ()  # 25 mm wide: 10 is too near


def test_hidden_skin_is_said_and_no_needle_length_is_made_up() -> None:
    a = replace(scored("a", (25, 60, -30), (25, -10, -30)), measures={"skin_in_view": 0.0})
    b = scored("b", (-25, 60, -30), (-25, -10, -30))
    assert needle_length(a, OPEN) is None
    (pair,) = find_pairs((a, b), FRAME, OPEN)
    assert any("does not show the skin behind a" in line for line in pair.warnings)


def test_hubs_that_meet_are_refused() -> None:
    """Hubs medial: the shafts converge behind the skin, where the handles are."""
    a = scored("a", (12, 60, -30), (30, -10, -30))
    b = scored("b", (-12, 60, -30), (-30, -10, -30))
    assert find_pairs((a, b), FRAME, Configuration()) == ()
    (pair,) = find_pairs((a, b), FRAME, OPEN)
    assert pair.hub_clearance_mm < 16.0  # nearer than at the skin
    wide = scored("c", (-40, 60, -30), (-30, -10, -30))
    assert len(find_pairs((a, wide), FRAME, Configuration())) == 1


def test_shafts_that_cross_outside_the_body_are_seen_and_refused() -> None:
    a = scored("a", (-15, 60, -30), (30, -10, -30))
    b = scored("b", (4, 60, -60), (-30, -10, 0))
    (pair,) = find_pairs((a, b), FRAME, OPEN)
    assert pair.crosses_on_ap
    assert any("cross on the AP view" in line for line in pair.warnings)
    touching = scored("c", (15, 60, -30), (-30, -10, -30))
    assert find_pairs((a, touching), FRAME, OPEN) == ()  # in one plane they hit


def test_the_ap_view_is_the_patients_whatever_the_sacral_slope() -> None:
    a = scored("a", (-15, 60, -30), (30, -10, -30))
    b = scored("b", (4, 60, -60), (-30, -10, 0))
    slope = np.radians(40.0)
    axes = np.array(
        [[1, 0, 0], [0, np.cos(slope), -np.sin(slope)], [0, np.sin(slope), np.cos(slope)]]
    )
    for frame in (FRAME, SacralFrame(FRAME.origin, axes)):
        (pair,) = find_pairs((a, b), frame, OPEN)
        assert pair.crosses_on_ap


def test_two_in_one_ala_are_a_short_and_a_long_axis() -> None:
    short = scored("short", (25, 60, -30), (25, -10, -30))
    long = scored("long", (30, 60, -120), (30, -5, -20), Technique.LONG_AXIS)
    again = scored("again", (35, 60, -10), (35, -10, -10))
    found = find_pairs((short, long, again), FRAME, OPEN)
    assert {pair.trajectories for pair in found} == {("short", "long"), ("long", "again")}
    assert all(pair.kind is PairKind.SAME_ALA for pair in found)


def test_risk_orders_pairs_and_top_bounds_each_kind() -> None:
    left = [scored(f"l{n}", (20 + n, 60, -30), (20 + n, -10, -30), breach=b) for n, b in
            enumerate((0.2, 0.001, 0.04))]  # fmt: skip
    right = scored("r", (-25, 60, -30), (-25, -10, -30))
    found = find_pairs((*left, right), FRAME, OPEN)
    assert [pair.trajectories[0] for pair in found] == ["l1", "l2", "l0"]
    assert [pair.rank for pair in found] == [1, 2, 3]
    few = OPEN.model_copy(update={"pairs": Pairs(hub_diameter_mm=0.0, top=2)})
    assert len(find_pairs((*left, right), FRAME, few)) == 2


def test_the_shortest_needle_that_reaches_is_chosen() -> None:
    assert needle_length(scored("a", (25, 60, 0), (25, -10, 0)), OPEN) == 100.0
    assert needle_length(scored("a", (25, 90, 0), (25, -10, 0)), OPEN) == 150.0  # with reserve
    assert needle_length(scored("a", (25, 150, 0), (25, -10, 0)), OPEN) is None

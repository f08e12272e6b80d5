"""Risk first, then score; clearly different ones only; ties by identifier."""

from __future__ import annotations

from itertools import pairwise

from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory
from planner.scoring import Scored, rank
from planner.scoring.ranking import alike, order_key
from tests.scoring import toy


def item(
    name: str, x: float, z: float, risk: float, score: float, level: str = "S1"
) -> ScoredTrajectory:
    subject, _ = toy.standard()
    needle = toy.needle(subject, (x, 14, z), (x, -8, z), level=level)
    return ScoredTrajectory(name, 0, needle, {}, {"any": risk}, (), score, {"z": 3.0})


def ranked(*items: ScoredTrajectory, top: int = 3) -> list[tuple[str, float, float]]:
    found = rank(Scored(tuple(items), {}), Configuration(top=top))
    assert [x.rank for x in found] == list(range(1, len(found) + 1))
    return [(x.id, x.score, x.breach_probability["any"]) for x in found]


def test_risk_comes_before_score() -> None:
    found = ranked(item("a", 30, -10, 0.2, 0.9), item("b", 30, -40, 0.001, 0.5))
    assert [score for _, score, _ in found] == [0.5, 0.9]


def test_score_decides_inside_a_band() -> None:
    found = ranked(item("a", 30, -10, 0.001, 0.5), item("b", 30, -40, 0.004, 0.9))
    assert [score for _, score, _ in found] == [0.9, 0.5]


def test_near_ones_are_suppressed() -> None:
    same = [item(f"n{n}", 30 + n, -10, 0.001, 0.9 - n / 100) for n in range(8)]
    found = ranked(*same)
    assert [name for name, _, _ in found] == ["short_axis-left-1"]
    apart = ranked(*same, item("far", 30, -25, 0.001, 0.3))
    assert len(apart) == 2


def test_another_level_goes_first() -> None:
    found = ranked(
        item("a", 30, -10, 0.001, 0.9),
        item("b", 42, -10, 0.001, 0.8),
        item("c", 30, -50, 0.001, 0.5, "S2"),
        top=2,
    )
    assert [score for _, score, _ in found] == [0.9, 0.5]


def test_ties_break_by_identifier_whatever_the_order() -> None:
    a, b = item("a", 30, -10, 0.001, 0.5), item("b", 30, -40, 0.001, 0.5)
    assert order_key(a) < order_key(b)
    assert ranked(a, b, top=1) == ranked(b, a, top=1)


def test_sides_and_top() -> None:
    many = [item(f"n{n}", 22 + 10 * (n % 3), -10 - 12 * n, 0.001, 0.9) for n in range(6)]
    right = [item(f"r{n}", -30, -10 - 12 * n, 0.001, 0.8) for n in range(6)]
    found = ranked(*many, *right, top=2)
    assert [name for name, _, _ in found] == [
        "short_axis-left-1",
        "short_axis-left-2",
        "short_axis-right-1",
        "short_axis-right-2",
    ]
    kept = rank(Scored(tuple(many), {}), Configuration(top=5))
    assert not any(alike(x, y) for x, y in pairwise(kept))

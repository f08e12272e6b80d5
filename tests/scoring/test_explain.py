"""The words follow the rules that ranked, and dominance follows the criteria."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.model.trajectory import Criterion, ScoredTrajectory
from planner.scoring.evidence import CEMENT_REACH_MM, _target_coverage
from planner.scoring.explain import explain, explanations
from planner.scoring.ranking import dominates
from tests.scoring import toy


def item(
    name: str, risk: float, score: float, side: int = 1, **utilities: float
) -> ScoredTrajectory:
    subject, _ = toy.standard()
    needle = toy.needle(subject, (30.0 * side, 14, -30), (30.0 * side, -8, -30))
    criteria = tuple(Criterion(key, 10 * u, "mm", u, 1.0) for key, u in utilities.items())
    return ScoredTrajectory(name, 1, needle, {}, {"any": risk}, criteria, score, {})


def test_risk_is_named_where_it_decided() -> None:
    text = explain(item("a", 0.001, 0.5, x=0.2), item("b", 0.2, 0.9, x=0.8))
    assert "a stands before b because it is safer" in text
    assert "0.1 % against 20 %" in text
    assert "on either side of 15 %" in text
    assert "worse in x (2 mm against 8 mm)" in text


def test_score_is_named_inside_a_band() -> None:
    text = explain(item("a", 0.001, 0.9, x=0.9, y=0.1), item("b", 0.004, 0.5, x=0.1, y=0.102))
    assert "both risks fall into one band (0 to 0.5 % for any breach)" in text
    assert "0.900 against 0.500" in text
    assert "better in x (9 mm against 1 mm)" in text
    assert "worse" not in text  # a difference without weight is no reason


def test_dominance_is_by_every_criterion_and_per_side() -> None:
    best = item("a", 0.0, 1.0, x=0.9, y=0.9)
    worse = item("b", 0.0, 0.9, x=0.9, y=0.8)
    mixed = item("c", 0.0, 0.9, x=1.0, y=0.1)
    assert dominates(best, worse)
    assert not dominates(worse, best)
    assert not dominates(best, mixed)
    assert not dominates(best, best)
    assert not dominates(best, item("d", 0.0, 0.9, -1, x=0.9, y=0.8))
    unweighted = tuple(replace(c, weight=0.0) for c in best.criteria)
    assert not dominates(replace(best, criteria=unweighted), worse)


def test_coverage_counts_what_cement_reaches_along_the_last_part() -> None:
    subject, _ = toy.standard()
    needle = toy.needle(subject, (30, 14, -30), (30, -16, -30))
    across = np.cross(needle.direction, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    beside = needle.tip - 15 * needle.direction + (CEMENT_REACH_MM - 0.1) * across
    behind = needle.tip - 28 * needle.direction + (CEMENT_REACH_MM - 0.1) * across
    beyond = needle.tip + (CEMENT_REACH_MM + 0.1) * needle.direction
    assert _target_coverage(np.array([beside]), needle) == 1.0
    assert _target_coverage(np.array([beside, behind, beyond, needle.tip]), needle) == 0.5
    assert np.isnan(_target_coverage(None, needle))
    assert _target_coverage(needle.tip[None], needle) == pytest.approx(1.0)


def test_every_rank_is_held_against_the_next() -> None:
    ranked = [
        item("a", 0.001, 0.9, x=0.9),
        item("b", 0.001, 0.5, x=0.2),
        item("c", 0.2, 0.4, x=0.1),
    ]
    lines = explanations(ranked)
    assert [line.split(":")[0].split(" because")[0] for line in lines] == [
        "a stands before b",
        "b stands before c",
    ]
    assert explanations(ranked[:1]) == []

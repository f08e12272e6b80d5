"""Hard limits, the tally, measure's warnings, and determinism."""

from __future__ import annotations

import numpy as np
import pytest

from planner.model.configuration import Configuration
from planner.scoring import measure, rank, score
from planner.scoring.constraints import CONSTRAINTS
from tests.scoring import toy

NEEDLES = (
    ((36, 14, -30), (36, -8, -30)),
    ((37, 14, -30), (37, -8, -31)),
    ((36, 14, -55), (36, -8, -55)),
    ((20, 14, -22), (20, -8, -22)),
    ((36, 14, -30), (36, -21, -30)),
    ((36, 14, -30), (36, -15, -30)),
    ((36, 14, -30), (40, 12, -60)),
    ((-36, 14, -30), (-36, -8, -30)),
)


def needles():
    subject, _ = toy.standard()
    return tuple(toy.needle(subject, entry, tip) for entry, tip in NEEDLES)


def test_every_candidate_is_counted_once() -> None:
    subject, volume = toy.standard()
    found = score(needles(), subject, volume, Configuration())
    assert len(found.accepted) + sum(found.rejections.values()) == len(NEEDLES)
    assert set(found.rejections) == {c.name for c in CONSTRAINTS}
    assert found.rejections["clearance_foramina"] == 1
    assert found.rejections["clearance_anterior_cortex"] == 2
    assert len(found.accepted) == 4


def test_score_is_a_fraction_and_criteria_have_weights() -> None:
    subject, volume = toy.standard()
    for item in score(needles(), subject, volume, Configuration()).accepted:
        assert 0.0 <= item.score <= 1.0
        assert all(0.0 <= c.utility <= 1.0 for c in item.criteria)
        mean = sum(c.utility * c.weight for c in item.criteria) / sum(
            c.weight for c in item.criteria
        )
        assert item.score == pytest.approx(mean)
        assert all(np.isfinite(v) for v in item.measures.values())


def test_tighter_limits_refuse_more() -> None:
    subject, volume = toy.standard()
    strict = Configuration.from_mapping({"limits": {"anterior_cortex_mm": 12.0}})
    found = score(needles(), subject, volume, strict)
    assert found.accepted == ()
    assert sum(found.rejections.values()) == len(NEEDLES)


def test_measure_never_refuses_and_lists_what_is_broken() -> None:
    subject, volume = toy.standard()
    bad = measure(needles()[3], subject, volume, Configuration())
    assert bad.rank == 1
    assert any(text.startswith("clearance_foramina: -") for text in bad.warnings)
    good = measure(needles()[0], subject, volume, Configuration())
    assert not any("breaks the limit" in text for text in good.warnings)


def test_freehand_and_long_is_warned_of() -> None:
    subject, volume = toy.standard()
    freehand = Configuration.from_mapping({"placement_error_preset": "freehand"})
    long = toy.needle(subject, (38, 14, -60), (40, -8, -20))
    assert any("freehand" in w for w in measure(long, subject, volume, freehand).warnings)
    assert not any(
        "freehand" in w for w in measure(long, subject, volume, Configuration()).warnings
    )


def test_target_counts_where_given() -> None:
    subject, volume = toy.standard()
    goal = subject.frame.to_patient(np.array([[36.0, -8.0, -30.0]]))
    hit = measure(needles()[0], subject, volume, Configuration(), goal)
    assert hit.measures["target_distance_mm"] == pytest.approx(0.0, abs=1e-6)
    assert [c.utility for c in hit.criteria if c.name == "target_distance"] == [1.0]
    assert (
        "target_distance_mm" not in measure(needles()[0], subject, volume, Configuration()).measures
    )


def test_same_input_same_result() -> None:
    subject, volume = toy.standard()
    configuration = Configuration()
    one = rank(score(needles(), subject, volume, configuration), configuration)
    two = rank(score(needles(), subject, volume, configuration), configuration)
    assert [(x.id, x.rank, x.score) for x in one] == [(x.id, x.rank, x.score) for x in two]

"""Figures of a cohort against plain Python on made-up tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from planner.cohort.dictionary import SIDES, TECHNIQUES
from planner.cohort.statistics import (
    LIMITS_MM,
    SPREADS,
    FeasibleRow,
    Quartiles,
    Share,
    best_paths,
    feasibility_rows,
    flags_of,
    spread_rows,
)
from tests.cohort.made_up import Made, both, frames, made_cohort

NAN = float("nan")


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson 1927, J Am Stat Assoc 22:209, percent."""
    z, p = 1.959963984540054, count / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return 100 * (middle - half), 100 * (middle + half)


def quantile(values: list[float], part: float) -> float:
    """Type 7 of Hyndman and Fan."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * part
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def expected_rows(made: list[Made]) -> list[tuple[Any, ...]]:
    """Technique, side, any, at least each limit, patients, known rooms; patient by patient."""
    first: dict[str, Made] = {}
    for wanted in (("planned", "no_trajectory"), None):
        for case in sorted(made, key=lambda case: case.id):
            if wanted is None or case.outcome in wanted:
                first.setdefault(case.subject or case.id, case)
    judged = [case for case in first.values() if case.outcome in ("planned", "no_trajectory")]
    asked = {key for case in judged for key in case.rooms}
    techniques = [t for t in TECHNIQUES if any(key[0] == t for key in asked)]
    out = []
    for technique in [*techniques, *(["any technique"] if len(techniques) > 1 else [])]:
        of = [t for t in techniques if technique in (t, "any technique")]
        sides = [s for s in SIDES if any((t, s) in asked for t in of)]
        for side in [*sides, *(["either", "both"] if len(sides) == 2 else [])]:
            rooms = []
            for case in judged:
                best = [
                    max((r for t in of if (r := case.rooms.get((t, s))) is not None), default=None)
                    for s in ([side] if side in SIDES else SIDES)
                ]
                known = [each for each in best if each is not None]
                if side == "both":
                    rooms.append(min(known) if len(known) == 2 else None)
                else:
                    rooms.append(max(known, default=None))
            known = [room for room in rooms if room is not None]
            shares = [sum(room >= limit for room in known) for limit in LIMITS_MM]
            out.append((technique, side, len(known), shares, len(judged), known))
    return out


def check_rows(made: list[Made]) -> list[FeasibleRow]:
    patients, feasibility, _ = frames(made)
    rows = feasibility_rows(patients, feasibility)
    expected = expected_rows(made)
    assert [(row.technique, row.side) for row in rows] == [each[:2] for each in expected]
    for row, (_, _, some, shares, of, known) in zip(rows, expected, strict=True):
        assert row.any == Share(some, of)
        assert row.shares == tuple(Share(count, of) for count in shares)
        assert row.room.n == len(known)
        if known:
            parts = [quantile(known, part) for part in (0.5, 0.25, 0.75, 0, 1)]
            told = [getattr(row.room, n) for n in ("median", "low", "high", "least", "largest")]
            assert told == pytest.approx(parts)
        else:
            assert math.isnan(row.room.median)
    return rows


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("techniques", "sides"),
    [(TECHNIQUES, SIDES), (("long_axis",), SIDES), (("short_axis", "s2_entry"), ("right",))],
    ids=["all", "one technique", "one side"],
)
def test_feasibility_is_that_of_patient_by_patient(
    seed: int, techniques: tuple[str, ...], sides: tuple[str, ...]
) -> None:
    check_rows(made_cohort(seed, techniques, sides))


def test_either_is_one_side_or_the_other_and_both_is_the_worse_of_two() -> None:
    made = [
        Made("a", rooms=both(6.0, 2.0)),
        Made("b", rooms=both(None, 5.0)),
        Made("c", rooms=both(3.0, 3.0)),
        Made("d", outcome="no_trajectory", rooms=both(None, None)),
        Made("e", outcome="untrusted_anatomy", rooms=both(9.0, 9.0)),
        Made("f", outcome="unsuitable_ct"),
    ]
    rows = {row.side: row for row in check_rows(made)}
    counts = {side: (row.any.count, [s.count for s in row.shares]) for side, row in rows.items()}
    assert counts == {
        "left": (2, [2, 2, 1]),
        "right": (3, [3, 2, 1]),
        "either": (3, [3, 3, 2]),
        "both": (2, [2, 1, 0]),
    }
    assert {row.any.of for row in rows.values()} == {4}


def test_any_technique_may_be_another_one_on_each_side() -> None:
    rooms = both(5.0, None, "short_axis") | both(None, 4.0, "s2_entry")
    rows = {(row.technique, row.side): row for row in check_rows([Made("a", rooms=rooms)])}
    assert rows["short_axis", "both"].any == Share(0, 1)
    assert rows["any technique", "both"].any == Share(1, 1)
    assert rows["any technique", "both"].room.median == 4.0


def test_the_first_session_that_could_be_judged_counts() -> None:
    made = [
        Made("p_2", "p", rooms=both(9.0, 9.0)),
        Made("p_1", "p", rooms=both(2.5, 2.5)),
        Made("q_1", "q", "unsuitable_ct"),
        Made("q_2", "q", rooms=both(9.0, 9.0)),
    ]
    rows = check_rows(made)
    assert rows[0].any == Share(2, 2)
    assert rows[0].shares[-1].count == 1


def test_sessions_are_ordered_by_their_numbers() -> None:
    made = [Made("p_ses-10", "p", rooms=both(9.0, 9.0)), Made("p_ses-2", "p", rooms=both(2.5, 2.5))]
    patients, _, _ = frames(made)
    assert list(patients["case_id"]) == ["p_ses-2"]


def test_nobody_to_judge_gives_no_rows() -> None:
    assert check_rows([Made("a", outcome="unsuitable_ct")]) == []


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (333, 1000)])
def test_a_share_has_its_wilson_interval(count: int, of: int) -> None:
    share = Share(count, of)
    assert share.percent == pytest.approx(100 * count / of)
    assert share.interval == pytest.approx(wilson(count, of), abs=1e-9)


def test_a_share_of_none_is_nan() -> None:
    assert math.isnan(Share(0, 0).percent)
    assert all(math.isnan(end) for end in Share(0, 0).interval)


@pytest.mark.parametrize("values", [[4.0], [4.0, 1.0], [5.0, 1.0, 2.0, 9.5], [3.0] * 7])
@pytest.mark.parametrize("unknown", [0, 2])
def test_quartiles_are_linear_and_pass_over_the_unknown(values: list[float], unknown: int) -> None:
    for series in (
        pd.Series([*values, *[NAN] * unknown]),
        pd.Series([*values, *[None] * unknown], dtype="Float64"),
        pd.Series([*values, *[None] * unknown], dtype=object),
    ):
        told = Quartiles.of(series)
        expected = [quantile(values, part) for part in (0.5, 0.25, 0.75, 0, 1)]
        assert told.n == len(values)
        assert [told.median, told.low, told.high, told.least, told.largest] == pytest.approx(
            expected
        )
    assert Quartiles.of(pd.Series([None] * 3, dtype=object)).n == 0


def paths_of(rows: list[tuple[str, int, str, str, float]]) -> pd.DataFrame:
    names = ["case_id", "rank", "technique", "side", "breach_probability_any"]
    frame = pd.DataFrame(rows, columns=names)
    for column in SPREADS:
        frame[column] = frame["breach_probability_any"] * 10
    return frame


def test_the_best_path_of_each_technique_and_side_is_the_first_ranked() -> None:
    rows = [
        ("a", 3, "short_axis", "left", 0.3),
        ("a", 1, "long_axis", "left", 0.1),
        ("a", 2, "short_axis", "left", 0.2),
        ("a", 4, "short_axis", "right", 0.4),
        ("b", 10, "short_axis", "left", 0.05),
        ("b", 9, "short_axis", "left", 0.5),
        ("a_2", 1, "short_axis", "left", 0.9),
    ]
    patients = pd.DataFrame({"case_id": ["a", "b"]})
    told = best_paths(paths_of(rows), patients)
    keys = told[["case_id", "technique", "side", "rank"]].itertuples(index=False, name=None)
    assert sorted(keys) == [
        ("a", "long_axis", "left", 1),
        ("a", "short_axis", "left", 2),
        ("a", "short_axis", "right", 4),
        ("b", "short_axis", "left", 9),
    ]
    assert list(told["breach_percent"]) == pytest.approx(list(100 * told["breach_probability_any"]))
    spreads = spread_rows(told)
    assert [row[:2] for row in spreads] == [
        ("short_axis", "left"),
        ("short_axis", "right"),
        ("long_axis", "left"),
    ]
    assert spreads[0][2]["breach_percent"].median == pytest.approx(35.0)
    assert spreads[0][2]["skin_to_tip_mm"].n == 2


def test_flags_tell_why_a_case_should_be_looked_at() -> None:
    cases = pd.DataFrame(
        {
            "case_id": ["a", "b", "c", "d", "e"],
            "outcome": ["planned", "planned", "planned", "untrusted_anatomy", "planned"],
            "confidence": [0.96, 0.94, 0.95, 0.1, np.nan],
        }
    )
    findings = pd.DataFrame(
        [
            ("a", "s1_numbering", "warning"),
            ("a", "alar_fracture", "warning"),
            ("a", "alar_fracture", "warning"),
            ("a", "density", "note"),
            ("c", "dysmorphism", "record"),
        ],
        columns=["case_id", "name", "weight"],
    )
    assert flags_of(cases, findings) == {
        "a": ["alar fracture", "s1 numbering"],
        "b": ["confidence 0.94"],
        "c": [],
        "d": ["untrusted anatomy"],
        "e": [],
    }
    assert flags_of(cases, findings.iloc[:0])["a"] == []
    assert flags_of(cases, findings, low_confidence=0.97)["a"][0] == "confidence 0.96"

"""Groups of a cohort's patients: who is in which, and that nobody is lost."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest

from planner.cohort.dictionary import SIDES, TECHNIQUES
from planner.cohort.statistics import MOST_GROUPS, GroupRow, Quartiles, Share, group_rows
from tests.cohort.made_up import ANATOMY, Made, both, frames, made_cohort

NAN = float("nan")


def groups(made: list[Made], by: str) -> dict[str, GroupRow]:
    rows = [row for row in group_rows(*frames(made)) if row.by == by]
    assert len({row.group for row in rows}) == len(rows)
    return {row.group: row for row in rows}


def sizes(made: list[Made], by: str) -> dict[str, int]:
    return {name: row.wide.of for name, row in groups(made, by).items()}


def with_covariate(name: str, values: list[Any]) -> list[Made]:
    return [
        Made(f"p{n:02d}", values={f"covariate_{name}": value}) for n, value in enumerate(values)
    ]


def test_ages_at_a_border_belong_to_the_older_band() -> None:
    ages = [64.999, 65.0, 79.9, 80.0, 99.0, None, None, 0.0]
    assert sizes(with_covariate("age", ages), "age") == {
        "0 to under 65": 2,
        "65 to under 80": 2,
        "80 or more": 2,
        "not known": 2,
    }


def test_an_age_in_no_band_is_not_lost() -> None:
    assert sizes(with_covariate("age", [-1.0, 70.0, 66.0]), "age") == {
        "65 to under 80": 2,
        "any other": 1,
    }


def test_words_are_groups_of_their_own() -> None:
    made = with_covariate("sex", ["F", "M", "F", None, "x", "F"])
    assert sizes(made, "sex") == {"F": 3, "M": 1, "x": 1, "not known": 1}


def test_rare_words_are_put_together() -> None:
    words = [f"w{n}" for n in range(MOST_GROUPS)] * 2 + ["rare", "rarer"]
    told = sizes(with_covariate("site_of_pain", words), "site of pain")
    assert told == {f"w{n}": 2 for n in range(MOST_GROUPS)} | {"any other": 2}


def test_few_numbers_are_groups_and_many_are_thirds() -> None:
    few = with_covariate("grade", [1.0, 2.0, 1.0, 3.5, None])
    assert sizes(few, "grade") == {"1": 2, "2": 1, "3.5": 1, "not known": 1}
    values = [float(n) for n in range(31)]
    random.Random(1).shuffle(values)
    told = sizes(with_covariate("bmi", [*values, None]), "bmi")
    # The thirds of 0 to 30 lie at 10 and 20; what lies on one belongs above it.
    assert told == {"below 10": 10, "10 to 20": 10, "20 or more": 11, "not known": 1}


@pytest.mark.parametrize("name", ["age", "sex"])
def test_a_covariate_that_nobody_has_is_no_grouping(name: str) -> None:
    assert sizes(with_covariate(name, [None, None]), name) == {}
    number = [Made(f"p{n}", values={f"covariate_{name}": NAN}) for n in range(3)]
    assert sizes(number, name) == {}
    assert sizes(with_covariate("sex", ["F", "F"]), "sex") == {}


def test_dysmorphism_and_density_are_parted_at_their_limits() -> None:
    scores = [69.9, 70.0, 120.0, NAN]
    made = [
        Made(f"p{n}", anatomy={"largest_score_deg": value, "l5_mean_hu": value + 30.0})
        for n, value in enumerate(scores)
    ]
    made.append(Made("q", outcome="no_trajectory"))  # has no anatomy in the tables
    expected = {"below 70 deg": 1, "70 deg or more": 2, "not known": 2}
    assert sizes(made, "dysmorphism score") == expected
    dense = {"below 100 HU": 1, "100 HU or more": 2, "not known": 2}
    assert sizes(made, "density of L5") == dense


@pytest.mark.parametrize("unknown", [None, NAN, pd.NA], ids=["None", "NaN", "NA"])
def test_fractures_are_counted_by_ala_and_unknown_is_not_none_seen(unknown: Any) -> None:
    pairs = [(False, False), (True, False), (False, True), (True, True), (unknown, unknown)]
    made = [
        Made(f"p{n}", anatomy={"fracture_left": left, "fracture_right": right})
        for n, (left, right) in enumerate(pairs)
    ]
    made.append(Made("q", outcome="no_trajectory"))
    expected = {"no sign found": 1, "one ala": 2, "both alae": 1, "not known": 2}
    assert sizes(made, "fracture") == expected


def test_groups_without_any_anatomy_are_not_known() -> None:
    made = [Made("a", outcome="no_trajectory", rooms=both(None, None))]
    patients, feasibility, _ = frames(made)
    nothing = pd.DataFrame(columns=["case_id", *ANATOMY])
    rows = group_rows(patients, feasibility, nothing)
    assert {(row.by, row.group) for row in rows} == {
        ("dysmorphism score", "not known"),
        ("density of L5", "not known"),
        ("fracture", "not known"),
    }


def test_a_group_has_its_patients_best_room_and_risk() -> None:
    made = [
        Made("a", rooms=both(6.0, 2.0), values={"covariate_sex": "F"}),
        Made("b", rooms=both(None, 5.0), values={"covariate_sex": "F"}),
        Made("c", rooms=both(None, None), outcome="no_trajectory", values={"covariate_sex": "F"}),
        Made("d", rooms=both(4.0, 1.0), values={"covariate_sex": "M"}),
        Made("e", rooms=both(9.0, 9.0), outcome="killed", values={"covariate_sex": "M"}),
    ]
    for number, case in enumerate(made[:2]):
        case.values["best_breach_probability"] = 0.1 + number
    told = groups(made, "sex")
    assert told["F"].room == Quartiles(2, 5.5, 5.25, 5.75, 5.0, 6.0)
    assert told["F"].wide == Share(2, 3)
    assert told["F"].risk.median == pytest.approx(60.0)
    assert told["M"].wide == Share(0, 1)
    assert (told["M"].risk.n, told["M"].room.n) == (0, 1)


def test_groups_are_all_of_the_judged() -> None:
    rng = random.Random(3)
    made = made_cohort(3, TECHNIQUES, SIDES)
    for case in made:
        case.values = {
            "covariate_age": rng.choice([None, 50.0, 65.0, 90.0]),
            "covariate_word": rng.choice([None, *"abcdefghijkl"]),
            "covariate_bmi": rng.choice([None, *(float(n) for n in range(40))]),
        }
        case.anatomy = {"fracture_left": rng.choice([None, True, False])}
    patients, feasibility, anatomy = frames(made)
    judged = int(patients["outcome"].isin(["planned", "no_trajectory"]).sum())
    rows = group_rows(patients, feasibility, anatomy)
    for by in {row.by for row in rows}:
        assert sum(row.wide.of for row in rows if row.by == by) == judged, by

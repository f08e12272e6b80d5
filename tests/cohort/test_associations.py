"""Plan metrics against outcomes: closed forms, planted associations, and what cannot be told."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from planner.cohort.association import MIN_EVENTS, MIN_RANKED, Association, associations
from tests.support.outcomes import cohort, only

NAN = math.nan
Z95 = 1.959963984540054


def row(table: dict, metric: str = "m", outcome: str = "vas") -> Association:
    return only(associations(pd.DataFrame(table), ["m"]).rows, metric=metric, outcome=outcome)


def test_the_odds_ratio_of_a_binary_metric_is_the_table_s() -> None:
    a, b, c, d = 9, 7, 5, 12  # leak and metric, leak without, metric without leak, neither
    metric = [1] * a + [0] * b + [1] * c + [0] * d
    table = {"m": metric, "leak_foramen": [1] * (a + b) + [0] * (c + d)}
    found = row(table, outcome="any")
    slope, se = math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)  # Woolf
    sd = float(np.std(metric, ddof=1))
    expected = [math.exp(sd * (slope + sign * Z95 * se)) for sign in (0, -1, 1)]
    assert found.estimate is not None and found.sd == pytest.approx(sd)
    assert [found.estimate.value, found.estimate.low, found.estimate.high] == pytest.approx(
        expected, rel=1e-5
    )
    assert found.p == pytest.approx(2 * stats.norm.sf(slope / se), rel=1e-4)
    assert (found.events, found.non_events, found.n, found.unknown) == (16, 17, 33, 0)


def test_rho_has_the_interval_of_bonett_and_wright() -> None:
    # The worked example of Bonett's own R package, statpsych::ci.spear.
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    found = row({"m": x, "vas_before": np.array(y) / 4, "vas_after": [0] * 15})
    assert found.estimate is not None
    ends = (found.estimate.value, found.estimate.low, found.estimate.high)
    assert ends == pytest.approx((0.8699639, 0.5840951, 0.9638297), abs=1e-7)
    rho = found.estimate.value
    t = rho * math.sqrt(13 / (1 - rho**2))
    assert found.p == pytest.approx(2 * stats.t.sf(t, 13), rel=1e-9)


def test_a_planted_association_is_found_and_noise_mostly_is_not() -> None:
    false = 0
    for seed in range(40):
        found = associations(pd.DataFrame(cohort(100, seed)), ["near", "noise"])
        near_leak = only(found.rows, metric="near", outcome="any")
        near_vas = only(found.rows, metric="near", outcome="vas")
        assert near_leak.estimate.high < 1 and near_leak.p_holm < 0.05
        assert near_vas.estimate.low > 0 and near_vas.p_holm < 0.05
        noise = [r for r in found.rows if r.metric == "noise"]
        false += any(r.p_holm < 0.05 for r in noise)
    assert false <= 6  # two of 40 expected; P(more than six) is 0.3 %


def test_holm_goes_over_all_tests_and_says_how_many() -> None:
    table = cohort(60, 3) | {"flat": np.full(60, 2.0), "cement_ml": np.linspace(2, 8, 60)}
    found = associations(pd.DataFrame(table), ["near", "noise", "flat"])
    assert len(found.rows) == 8 and found.tests == 6  # cement joined; flat gives none
    tested = sorted((r for r in found.rows if r.p is not None), key=lambda r: r.p)
    largest = 0.0
    for place, r in enumerate(tested):  # by hand: times the number left, never falling
        largest = max(largest, min(1.0, r.p * (6 - place)))
        assert r.p_holm == pytest.approx(largest, rel=1e-12)
    flat = [r for r in found.rows if r.metric == "flat"]
    assert {r.reason for r in flat} == {"the metric is 2 in all"}
    assert all(r.p_holm is None and r.estimate is None and not r.estimable for r in flat)


LEAK = [1.0] * 6 + [0.0] * 8


@pytest.mark.parametrize(
    ("metric", "leak", "reason"),
    [
        (np.arange(14), LEAK, "the metric separates those with a leak from those without"),
        ([1] * 6 + [1] * 3 + [0] * 5, LEAK, "the metric separates"),  # one cell empty
        ([5, 4, 3, 3, 3, 3] + [3, 3, 2, 2, 1, 1, 1, 0], LEAK, "the metric separates"),  # touching
        ([0.1 + 0.2] * 7 + [0.3] * 7, LEAK, "the metric is 0.3 in all"),
        (
            np.arange(14),
            [1] * 4 + [0] * 10,
            f"4 with a leak and 10 without: fewer than {MIN_EVENTS}",
        ),
        (np.arange(14), [0] * 14, "0 with a leak and 14 without"),
        ([NAN] * 3 + [*range(11)], LEAK, "3 with a leak and 8 without"),
    ],
)
def test_a_regression_that_can_t_be_made_says_why(metric: list, leak: list, reason: str) -> None:
    found = row({"m": metric, "leak_canal": leak}, outcome="any")
    assert not found.estimable and found.reason.startswith(reason)
    assert found.estimate is None and found.p is None
    assert found.n + found.unknown == 14


@pytest.mark.parametrize(
    ("metric", "after", "reason"),
    [
        (range(10), [5] * 10, "the relief is 4 in all"),
        ([1] * 10, range(10), "the metric is 1 in all"),
        (range(10), [*range(9), NAN], f"9 patients with both known: fewer than {MIN_RANKED}"),
        (range(10), range(10), "the ranks agree completely (rho -1): no interval"),
    ],
)
def test_a_correlation_that_can_t_be_made_says_why(metric: list, after: list, reason: str) -> None:
    found = row({"m": metric, "vas_before": [9.0] * 10, "vas_after": after})
    assert (found.estimable, found.reason, found.p) == (False, reason, None)

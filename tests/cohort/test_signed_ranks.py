"""Wilcoxon's signed ranks and the interval that belongs to them, against plain enumeration."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from planner.cohort.outcomes import before_after
from planner.cohort.signed_ranks import hodges_lehmann, signed_rank


def enumerated_p(relief: np.ndarray) -> float:
    """Two-sided p of the rank sum of the better, over every sign of the changed; Pratt's ranks."""
    ranks = stats.rankdata(np.abs(relief))[relief != 0]
    got = sum(ranks[relief[relief != 0] > 0])
    sums = [sum(itertools.compress(ranks, s)) for s in itertools.product((0, 1), repeat=ranks.size)]
    low, high = np.mean(np.array(sums) <= got + 1e-9), np.mean(np.array(sums) >= got - 1e-9)
    return float(min(1.0, 2 * min(low, high)))


@pytest.mark.parametrize(
    "relief",
    [
        [1, 2, 3, 4, 5, 6],
        [1.5, -2, 3.5, 4, -5, 6.5, 7, 9, 0.5],
        [0, 0, 1, 1, 2, -1, 3, 2, 1],
        [0, 1, 1, 1, -1, -1, 2, 2, 0, 0, 3, 1, 1],
        [0, 2, 3, 4, 6, 7, 8, 9, 11, 14, 15, 17, -18],  # Pratt's own
        [-3, -3, -3, 1, 1, -2, -2],
    ],
)
def test_small_samples_have_the_p_of_every_sign_gone_through(relief: list) -> None:
    found = signed_rank(np.array(relief, float))
    assert found is not None and found.exact
    assert found.p == pytest.approx(enumerated_p(np.array(relief, float)), rel=1e-12)


def test_the_approximate_p_is_near_the_exact_one() -> None:
    relief = np.array([0] * 4 + [1] * 5 + [2] * 4 + [-1] * 3 + [3] * 2 + [-2], float)
    found = signed_rank(relief)
    assert found is not None and not found.exact
    assert found.p == pytest.approx(enumerated_p(relief), rel=0.15)


def test_the_effect_is_the_difference_of_the_rank_sums_over_their_sum() -> None:
    # Ranks of 0, 1, 1, 2, 3, 4, 5: 1, 2.5, 2.5, 4, 5, 6, 7; the worse: 2.5 and 4.
    relief = np.array([0, 1, -1, -2, 3, 4, 5], float)
    found, turned = signed_rank(relief), signed_rank(-relief)
    assert found is not None and turned is not None
    assert (found.changed, found.better, found.worse) == (6, 20.5, 6.5)
    assert found.effect == pytest.approx(14 / 27) == -turned.effect
    assert found.p == turned.p


def test_five_changes_are_too_few_in_words() -> None:
    table = {"fms_before": [3, 3, 3, 3, 3, 2, 2], "fms_after": [1, 1, 1, 1, 1, 2, 2]}
    (found,) = before_after(pd.DataFrame(table))
    assert (found.improved, found.unchanged, found.worse, found.test) == (5, 2, 0, None)
    assert found.reason.startswith("5 of 7 pairs changed: with fewer than 6 a two-sided exact p")


def walsh(relief: np.ndarray) -> list[float]:
    pairs = itertools.combinations_with_replacement(relief, 2)
    return sorted(float(a + b) / 2 for a, b in pairs)


def tail_counts(n: int) -> list[int]:
    """How many of the 2**n signs give each rank sum, in whole numbers."""
    ways = [1]
    for rank in range(1, n + 1):
        more = [0] * rank + ways
        ways = [a + b for a, b in itertools.zip_longest(ways, more, fillvalue=0)]
    return ways


@pytest.mark.parametrize("n", [6, 7, 10, 25, 60])
def test_the_interval_holds_the_walsh_averages_between_the_exact_bounds(n: int) -> None:
    relief = np.random.default_rng(n).normal(1.0, 2.0, n)
    found, averages = hodges_lehmann(relief), walsh(relief)
    tails = [Fraction(c, 2**n) for c in itertools.accumulate(tail_counts(n))]
    k = sum(tail <= Fraction(1, 40) for tail in tails)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((averages[k - 1], averages[-k]), abs=1e-12)
    assert found.value == pytest.approx(float(np.median(averages)), abs=1e-12)


def test_many_pairs_take_nearly_the_exact_bounds() -> None:
    relief = np.random.default_rng(0).normal(1.0, 2.0, 201)
    found, averages = hodges_lehmann(relief), walsh(relief)
    tails = itertools.accumulate(tail_counts(201))
    exact = sum(tail * 40 <= 2**201 for tail in tails)
    assert found is not None
    assert abs(averages.index(found.low) + 1 - exact) <= 10  # of 20301 averages


@pytest.mark.parametrize("n", [6, 7, 8])
def test_the_interval_keeps_its_level_with_ties_and_zeros(n: int) -> None:
    # Every sample of n from -1, 0 and 1 with these odds, which are symmetric about zero.
    odds, covered = {-1.0: 0.3, 0.0: 0.4, 1.0: 0.3}, 0.0
    for sample in itertools.combinations_with_replacement(odds, n):
        counts = [sample.count(value) for value in odds]
        ways = math.factorial(n) / math.prod(math.factorial(c) for c in counts)
        found = hodges_lehmann(np.array(sample))
        if found is not None and found.low <= 0 <= found.high:
            covered += ways * math.prod(odds[v] for v in sample)
    assert covered >= 0.95


def test_differences_that_are_equal_but_for_rounding_tie() -> None:
    # 7.3 - 4.1 and 9.3 - 6.1 differ in the last bits.
    table = {"vas_before": [7.3, 9.3, 5, 6, 7, 8], "vas_after": [4.1, 6.1, 6, 4, 4, 4]}
    (found,) = before_after(pd.DataFrame(table))
    assert found.test is not None
    assert found.test.p == enumerated_p(np.array([3.2, 3.2, -1, 2, 3, 4]))

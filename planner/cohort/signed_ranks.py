"""Wilcoxon's signed ranks, and the Hodges-Lehmann estimate that belongs to them.

Intervals are 95 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

ALPHA = 0.05
Z = float(stats.norm.ppf(1 - ALPHA / 2))
# With n signs the least two-sided exact p is 2 / 2**n: 0.0625 for five, 0.03125 for six.
MIN_CHANGED = 6
# scipy's exact distribution knows no ties; with ties or zeros all 2**n signs are gone through.
EXACT_UNTIED = 50
EXACT_TIED = 13
# Above this many pairs the interval's order statistic comes from the normal approximation.
EXACT_INTERVAL = 200


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of relief against symmetry about zero, two-sided.

    changed: pairs with a difference. better, worse: their rank sums. exact: p by enumeration, else
    by the normal approximation, corrected for ties and zeros. effect: the matched-pairs
    rank-biserial correlation, -1 (all that changed got worse) to 1 (better).
    """

    changed: int
    better: float
    worse: float
    p: float
    exact: bool
    effect: float


def hodges_lehmann(relief: Array) -> Estimate | None:
    """Estimate the centre of relief: (N,), the median of the Walsh averages; None for N < 6.

    The interval is closed between the k-th Walsh average from either end (Hollander & Wolfe,
    Nonparametric Statistical Methods, chapter 3), k from the null distribution of the signed-rank
    sum, exact up to 200 pairs. With ties and zeros it keeps at least its level (Noether 1967, JASA
    62:184). It takes relief to be symmetric about its centre, as the signed-rank test does.
    """
    n = relief.size
    if n < MIN_CHANGED:
        return None
    first, second = np.triu_indices(n)
    walsh = np.sort((relief[first] + relief[second]) / 2)
    k = _rank_of_bound(n)
    return Estimate(float(np.median(walsh)), float(walsh[k - 1]), float(walsh[-k]))


def signed_rank(relief: Array) -> SignedRank | None:
    """Test relief: (N,) by Wilcoxon's signed ranks; None with fewer than six that are not zero.

    Zeros are ranked with the rest and their ranks then left out (Pratt 1959, JASA 54:655): on
    scales of four levels many patients stay as they were, and dropping them first, as Wilcoxon did,
    can make the evidence stronger when a patient does worse. Effect: the difference of the rank
    sums over their sum (Kerby 2014, doi 10.2466/11.IT.3.1).
    """
    changed = int(np.count_nonzero(relief))
    if changed < MIN_CHANGED:
        return None
    ranks = stats.rankdata(np.abs(relief))
    better, worse = float(ranks[relief > 0].sum()), float(ranks[relief < 0].sum())
    untied = np.unique(np.abs(relief)).size == changed == relief.size
    exact = relief.size <= (EXACT_UNTIED if untied else EXACT_TIED)
    method = "asymptotic" if not exact else "exact" if untied else stats.PermutationMethod()
    p = float(stats.wilcoxon(relief, zero_method="pratt", method=method).pvalue)
    effect = (better - worse) / (better + worse)
    return SignedRank(changed, better, worse, min(p, 1.0), exact, effect)


def _rank_of_bound(n: int) -> int:
    """Return the greatest k with P(W < k) <= alpha / 2, W the signed-rank sum of n, at least 1."""
    sums = n * (n + 1) // 2
    if n > EXACT_INTERVAL:
        deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return math.floor(sums / 2 - Z * deviation)
    chance = np.zeros(sums + 1)
    chance[0] = 1.0
    for rank in range(1, n + 1):  # each rank is added or not, with even odds
        chance[rank:] = chance[rank:] + chance[:-rank]
        chance /= 2
    return int(np.searchsorted(np.cumsum(chance), ALPHA / 2, side="right"))

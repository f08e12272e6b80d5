"""What goes with a leak, or with relief: plan metrics against outcomes, all tests counted.

Patients, relief and intervals are those of `planner.cohort.outcomes`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.multitest import multipletests

from planner.cohort.outcomes import (
    ANY,
    SCALES,
    SIDES,
    SITES,
    Scale,
    any_leak,
    first_rows,
    leak_counts,
    read_column,
    read_scores,
    relief_of,
)
from planner.cohort.signed_ranks import ALPHA, Array, Estimate, Z

# Events per variable: under 5 estimates and intervals are poor (Vittinghoff & McCulloch 2007,
# Am J Epidemiol 165:710).
MIN_EVENTS = 5
# Assumed: with fewer pairs both the t approximation of p and Fisher's z are too rough to print.
MIN_RANKED = 10


@dataclass(frozen=True)
class Association:
    """One metric with one outcome, over the patients with both known.

    measure: "odds ratio" per `sd` of the metric (outcome `any` leak: events, non_events), or
    "rho", Spearman's with the relief on the scale `outcome`. p_holm: p adjusted over all tests.
    """

    metric: str
    outcome: str
    measure: str
    n: int
    unknown: int
    estimable: bool
    reason: str = ""
    estimate: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None
    events: int | None = None
    non_events: int | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Associations:
    """All of them, estimable or not; tests: how many p-values Holm's adjustment went over."""

    rows: tuple[Association, ...]
    tests: int
    patients: int
    repeats: int


def associations(
    patients: pd.DataFrame, metrics: Sequence[str], scales: Sequence[Scale] = SCALES
) -> Associations:
    """Relate metrics of the plan, and the total of cement, to leaks and to relief.

    metrics: columns of the table. `cement_ml` joins them where any is known. Each is put against
    any leak (logistic regression) and the relief on each scale (Spearman), as far as the table has
    them. p-values are adjusted by Holm over all tests made here. A metric that is missing, named
    twice or itself an outcome is a ValueError.
    """
    kept, counts = first_rows(patients), leak_counts(patients)
    names = _metric_names(patients, metrics, scales)
    leak = any_leak({site: values[kept] for site, values in counts.items()})[1]
    scored = read_scores(patients, scales, kept)
    rows = []
    for name in names:
        least = 0 if name in ("cement_ml", *SIDES.values()) else -math.inf
        metric = read_column(patients, name, low=least)[kept]
        if counts:
            rows.append(_with_leak(name, metric, leak))
        for scale, (before, after) in scored.items():
            rows.append(_with_relief(name, metric, scale.name, relief_of(before, after)))
    tested = [place for place, row in enumerate(rows) if row.p is not None]
    if tested:
        adjusted = multipletests([rows[place].p for place in tested], method="holm")[1]
        for place, p in zip(tested, adjusted, strict=True):
            rows[place] = replace(rows[place], p_holm=float(p))
    return Associations(tuple(rows), len(tested), int(kept.sum()), int((~kept).sum()))


def _metric_names(
    patients: pd.DataFrame, metrics: Sequence[str], scales: Sequence[Scale]
) -> tuple[str, ...]:
    if isinstance(metrics, str):
        raise ValueError(f"metrics is the text {metrics!r}; give a list of names of columns")
    outcomes = {f"{s.name}_{when}" for s in scales for when in ("before", "after")}
    outcomes |= {f"leak_{site}" for site in SITES} | {"subject"}
    for place, name in enumerate(metrics):
        if name not in patients.columns:
            raise ValueError(f"metric {name!r} is not a column of the table")
        if name in outcomes:
            raise ValueError(f"metric {name!r} is an outcome or the subject, no metric of a plan")
        if name in metrics[:place]:
            raise ValueError(f"metric {name!r} is named twice; name each once")
    known = "cement_ml" in patients.columns and patients["cement_ml"].notna().any()
    return (*metrics, "cement_ml") if known and "cement_ml" not in metrics else tuple(metrics)


def _constant(values: Array) -> bool:
    """Whether values differ by rounding at most."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _with_leak(name: str, metric: Array, leak: Array) -> Association:
    """Fit any leak on the standardised metric; the interval and p are Wald's."""
    both = ~np.isnan(metric) & ~np.isnan(leak)
    x, y = metric[both], leak[both] > 0
    events, others = int(y.sum()), int((~y).sum())
    unknown = metric.size - x.size
    row = Association(
        name, ANY, "odds ratio", x.size, unknown, False, events=events, non_events=others
    )
    if min(events, others) < MIN_EVENTS:
        counted = f"{events} with a leak and {others} without"
        return replace(row, reason=f"{counted}: fewer than {MIN_EVENTS} of one")
    if _constant(x):
        return replace(row, reason=f"the metric is {x[0]:g} in all")
    # One covariate: the likelihood has its maximum only where the groups overlap (Albert &
    # Anderson 1984, Biometrika 71:1); to touch at one value is quasi-complete separation.
    if not (x[~y].max() > x[y].min() and x[y].max() > x[~y].min()):
        return replace(row, reason="the metric separates those with a leak from those without")
    sd = float(x.std(ddof=1))
    design = np.column_stack([np.ones(x.size), (x - x.mean()) / sd])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they would say is asked of the result below
        try:
            fit = Logit(y.astype(float), design).fit(disp=0)
            ends = [float(fit.params[1]), *(float(end) for end in fit.conf_int(ALPHA)[1])]
            p = float(fit.pvalues[1])
        except np.linalg.LinAlgError:
            return replace(row, reason="the regression is singular")
    if not (fit.mle_retvals["converged"] and np.isfinite([*ends, p]).all()):
        return replace(row, reason="the regression did not converge")
    estimate = Estimate(*(math.exp(end) for end in ends))
    return replace(row, estimable=True, estimate=estimate, p=p, sd=sd)


def _with_relief(name: str, metric: Array, scale: str, relief: Array) -> Association:
    """Correlate ranks; p by the t approximation, the interval on Fisher's z.

    Standard error sqrt((1 + rho**2 / 2) / (n - 3)): Bonett & Wright 2000, Psychometrika 65:23.
    """
    both = ~np.isnan(metric) & ~np.isnan(relief)
    x, y = metric[both], relief[both]
    row = Association(name, scale, "rho", x.size, metric.size - x.size, False)
    if x.size < MIN_RANKED:
        return replace(row, reason=f"{x.size} patients with both known: fewer than {MIN_RANKED}")
    if _constant(x) or _constant(y):
        what, value = ("metric", x[0]) if _constant(x) else ("relief", y[0])
        return replace(row, reason=f"the {what} is {value:g} in all")
    result = stats.spearmanr(x, y)
    rho = float(result.statistic)
    if abs(rho) > 1 - 1e-12:
        return replace(row, reason=f"the ranks agree completely (rho {rho:.0f}): no interval")
    half = Z * math.sqrt((1 + rho**2 / 2) / (x.size - 3))
    z = math.atanh(rho)
    estimate = Estimate(rho, math.tanh(z - half), math.tanh(z + half))
    return replace(row, estimable=True, estimate=estimate, p=float(result.pvalue))

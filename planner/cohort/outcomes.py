"""What treatment did to a cohort: scores before and after, leaks, cement, and what goes with them.

Conventions. One row of the table is one case; a value that is not known is NaN (or None).
Patients are the unit: where the table has a column `subject`, only the first row of each subject
counts, in the order of the table, since two sessions of one patient are not independent; the rows
left out are counted as `repeats`. Every scale is lower-is-better, so relief = before - after, and
above zero means better, here and in every effect size. Intervals are 95 %. Quartiles are
Hyndman and Fan's type 7, linear between order statistics (the default of NumPy and R).

Every function checks the columns it reads in all rows, those left out too: a value off its scale,
a row without its subject and a column given twice are ValueErrors. Results count what they used
and what was unknown, and say in words why a figure is not given. Reading files and drawing are
left to others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from planner.cohort.signed_ranks import (
    ALPHA,
    MIN_CHANGED,
    Array,
    Estimate,
    SignedRank,
    hodges_lehmann,
    signed_rank,
)

# Decimals kept of a difference of two scores: 7.3 - 4.1 and 3.2 have to tie.
DECIMALS = 9

ANY = "any"
SITES = ("foramen", "canal", "vein", "disc", "joint", "soft_tissue")
SIDES = {"left": "cement_left_ml", "right": "cement_right_ml"}


@dataclass(frozen=True)
class Scale:
    """A score in the columns `<name>_before` and `<name>_after`, low to high, lower is better.

    whole: only whole levels exist.
    """

    name: str
    label: str
    low: float
    high: float
    whole: bool = True


# Mobility 1-4 and analgesics 0-4 as in Oka & Westesson (ASSR 2003): ambulatory, with help,
# wheelchair, bedridden; none, NSAID, oral narcotics as needed, scheduled, parenteral. Gupta 2014
# must have counted mobility from 0 (its lower quartile is 0.25): such data need a Scale of its own.
SCALES = (
    Scale("vas", "Visual analogue scale", 0, 10, whole=False),
    # Gupta 2014 counts from 0, Oka & Westesson (ASSR 2003) from 1.
    Scale("fms", "Functional Mobility Scale", 0, 4),
    Scale("analgesic", "Analgesic Scale", 0, 4),
    Scale("pain_level", "Four-level pain scale", 1, 4),
)


@dataclass(frozen=True)
class Spread:
    """Known values of one quantity, in its unit. None: not defined (n = 0; for sd, n < 2).

    sd: with n - 1. q1, q3: type 7. low, high: least and greatest.
    """

    n: int
    unknown: int
    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    q1: float | None = None
    q3: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Paired:
    """One scale before and after, in its points, over the patients with both scores.

    before_only, after_only, neither: patients left out, by what is known of them. shift: the
    Hodges-Lehmann estimate of the median relief, None under six pairs. test: None where reason
    says why.
    """

    scale: Scale
    pairs: int
    before_only: int
    after_only: int
    neither: int
    repeats: int
    before: Spread
    after: Spread
    relief: Spread
    shift: Estimate | None
    improved: int
    unchanged: int
    worse: int
    test: SignedRank | None
    reason: str = ""

    @property
    def unknown(self) -> int:
        """Patients lacking one score or both."""
        return self.before_only + self.after_only + self.neither


@dataclass(frozen=True)
class Leak:
    """Leaks at one site, or at `any`. share: of `known` with a leak, Wilson; None where none known.

    over: the sites meant. incomplete (`any` only): patients with a leak seen at one site and
    another site unknown. They are in `unknown`: counted in, where those without a leak can't be,
    they would raise the share.
    """

    site: str
    over: tuple[str, ...]
    known: int
    unknown: int
    repeats: int
    leaking: int
    leaks: int
    share: Estimate | None
    incomplete: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Cement:
    """Volume of cement, ml. where: total, site (treated sides, left and right pooled), left, right.

    untreated: sides known to have got none (0 ml); they are not in the spread. In the total 0 ml
    counts as any other volume.
    """

    where: str
    volume: Spread
    untreated: int
    repeats: int
    reason: str = ""


def before_after(patients: pd.DataFrame, scales: Sequence[Scale] = SCALES) -> tuple[Paired, ...]:
    """Compare each scale the table has (either column) before and after treatment."""
    kept = first_rows(patients)
    scored = read_scores(patients, scales, kept)
    return tuple(_paired(scale, *pair, int((~kept).sum())) for scale, pair in scored.items())


def leaks(patients: pd.DataFrame) -> tuple[Leak, ...]:
    """Count the leaks of each site the table has, and last, of any of them.

    A site that is unknown in every patient is not part of `any`.
    """
    kept, counts = first_rows(patients), leak_counts(patients)
    if not counts:
        return ()
    counts = {site: values[kept] for site, values in counts.items()}
    repeats = int((~kept).sum())
    rows = [_leak(site, (site,), values, repeats) for site, values in counts.items()]
    over, total, incomplete = any_leak(counts)
    return (*rows, replace(_leak(ANY, over, total, repeats), incomplete=incomplete))


def cement(patients: pd.DataFrame) -> tuple[Cement, ...]:
    """Describe the volume of cement, ml: in total, per treated site, left and right.

    Only what the table has; the total is `cement_ml`, never put together from the sides.
    """
    kept = first_rows(patients)
    repeats = int((~kept).sum())
    rows = []
    if "cement_ml" in patients.columns:
        total = read_column(patients, "cement_ml", low=0, unit=" ml")[kept]
        rows.append(_volume("total", total, 0, repeats))
    if any(name in patients.columns for name in SIDES.values()):
        parts = {s: read_column(patients, c, low=0, unit=" ml")[kept] for s, c in SIDES.items()}
        for where, given in {"site": np.concatenate(list(parts.values())), **parts}.items():
            treated = given[given != 0]  # NaN stays
            rows.append(_volume(where, treated, given.size - treated.size, repeats))
    return tuple(rows)


def first_rows(patients: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Mark the first row of each subject, (rows,); all rows where no subjects are named."""
    twice = patients.columns[patients.columns.duplicated()]
    if len(twice):
        raise ValueError(f"the table has the column {twice[0]!r} more than once: name each once")
    if "subject" not in patients.columns:
        return np.ones(len(patients), dtype=bool)
    missing = patients.index[patients["subject"].isna()]
    if len(missing):
        raise ValueError(f"subject is missing at row {missing[0]!r}: every case needs one")
    return np.asarray(~patients["subject"].duplicated(), dtype=np.bool_)


def read_column(
    patients: pd.DataFrame,
    name: str,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
    unit: str = "",
) -> Array:
    """Read a column as floats, (rows,), NaN where unknown; all NaN where the table has none."""
    values = np.full(len(patients), np.nan)
    if name not in patients.columns:
        return values
    bounds = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
    allowed = ("whole, " if whole else "") + (bounds if math.isfinite(low) else "any finite number")
    for place, (row, given) in enumerate(patients[name].items()):
        if given is None or given is pd.NA or given is pd.NaT or given != given:
            continue
        is_number = isinstance(given, Real | np.bool_)
        number = float(given) if is_number else math.nan
        if not (low <= number <= high and math.isfinite(number) and (not whole or number % 1 == 0)):
            got = f"{number:g}" if is_number else repr(given)
            raise ValueError(
                f"{name} at row {row!r} is {got}; allowed: {allowed}{unit}, or empty if unknown"
            )
        values[place] = number
    return values


def read_scores(
    patients: pd.DataFrame, scales: Sequence[Scale], kept: npt.NDArray[np.bool_]
) -> dict[Scale, tuple[Array, Array]]:
    """Return before and after, in points, of each scale with either column."""
    found = {}
    for scale in scales:
        names = (f"{scale.name}_before", f"{scale.name}_after")
        if any(name in patients.columns for name in names):
            before, after = (
                read_column(patients, name, scale.low, scale.high, scale.whole)[kept]
                for name in names
            )
            found[scale] = (before, after)
    return found


def relief_of(before: Array, after: Array) -> Array:
    """Points won, (patients,); rounded, so that equal ones tie."""
    return np.round(before - after, DECIMALS)


def _spread(values: Array) -> Spread:
    known = values[~np.isnan(values)]
    unknown = values.size - known.size
    if not known.size:
        return Spread(0, unknown)
    sd = float(known.std(ddof=1)) if known.size > 1 else None
    low, q1, median, q3, high = (float(q) for q in np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    return Spread(known.size, unknown, float(known.mean()), sd, median, q1, q3, low, high)


def _paired(scale: Scale, before: Array, after: Array, repeats: int) -> Paired:
    relief = relief_of(before, after)
    has_before, has_after = ~np.isnan(before), ~np.isnan(after)
    both = has_before & has_after
    known = relief[both]
    test = signed_rank(known)
    reason = "" if test else _too_few(known)
    return Paired(
        scale=scale,
        pairs=int(both.sum()),
        before_only=int((has_before & ~has_after).sum()),
        after_only=int((has_after & ~has_before).sum()),
        neither=int((~has_before & ~has_after).sum()),
        repeats=repeats,
        before=_spread(np.where(both, before, np.nan)),
        after=_spread(np.where(both, after, np.nan)),
        relief=_spread(relief),
        shift=hodges_lehmann(known),
        improved=int((known > 0).sum()),
        unchanged=int((known == 0).sum()),
        worse=int((known < 0).sum()),
        test=test,
        reason=reason,
    )


def _too_few(relief: Array) -> str:
    if not relief.size:
        return "no patient has both scores"
    return (
        f"{np.count_nonzero(relief)} of {relief.size} pairs changed: with fewer than {MIN_CHANGED} "
        "a two-sided exact p below 0.05 is impossible"
    )


def leak_counts(patients: pd.DataFrame) -> dict[str, Array]:
    """Return the leaks of each site the table has, (rows,)."""
    columns = {site: f"leak_{site}" for site in SITES if f"leak_{site}" in patients.columns}
    return {site: read_column(patients, name, low=0, whole=True) for site, name in columns.items()}


def any_leak(counts: dict[str, Array]) -> tuple[tuple[str, ...], Array, int]:
    """Return the sites known in anyone, leaks over them all, and the incomplete that leaked."""
    over = tuple(site for site, values in counts.items() if not np.isnan(values).all())
    if not over:
        rows = max((values.size for values in counts.values()), default=0)
        return over, np.full(rows, np.nan), 0
    table = np.stack([counts[site] for site in over])
    total = table.sum(axis=0)  # NaN where one site is unknown
    return over, total, int((np.isnan(total) & (table > 0).any(axis=0)).sum())


def _leak(site: str, over: tuple[str, ...], counts: Array, repeats: int) -> Leak:
    known = counts[~np.isnan(counts)]
    leaking = int((known > 0).sum())
    share, reason = None, "" if known.size else "no patient has it recorded"
    if known.size:
        low, high = proportion_confint(leaking, known.size, alpha=ALPHA, method="wilson")
        share = Estimate(leaking / known.size, float(low), float(high))
    unknown = counts.size - known.size
    total = int(known.sum())
    return Leak(site, over, known.size, unknown, repeats, leaking, total, share, reason=reason)


def _volume(where: str, values: Array, untreated: int, repeats: int) -> Cement:
    spread = _spread(values)
    return Cement(where, spread, untreated, repeats, "" if spread.n else "no volume is known")

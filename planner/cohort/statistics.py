"""Figures of a cohort: what is feasible, how it is spread, and by whom.

Patients are counted, not CTs: of a subject with several sessions the first that could be judged
counts. A CT that could
not be read or whose anatomy was not trusted says nothing of feasibility and is left out of the
shares; a CT on which no path keeps the limits counts as not feasible.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from planner.cohort.dictionary import COVARIATE, SIDES, TECHNIQUES

LIMITS_MM = (2.0, 3.0, 5.0)
JUDGED = ("planned", "no_trajectory")
"""Outcomes of cases whose anatomy is known."""
DYSMORPHIC_DEG = 70.0
"""Kaiser 2014."""
LOW_L5_HU = 100.0
"""Wagner 2016: below it insufficiency fractures are found."""
MOST_GROUPS = 8
AGES = ((0.0, 65.0), (65.0, 80.0), (80.0, 200.0))
SPREADS = {
    "min_clearance_mm": "least clearance, mm",
    "breach_percent": "probability of a breach, %",
    "intraosseous_length_mm": "length in bone, mm",
    "skin_to_tip_mm": "skin to tip, mm",
    "inclination_deg": "angle to the endplate, deg",
    "midsagittal_angle_deg": "angle to midsagittal, deg",
    "entry_lateral_mm": "entry lateral of the midplane, mm",
    "entry_below_endplate_mm": "entry below the endplate, mm",
    "entry_lateral_of_foramen_mm": "entry lateral of the nearest foramen, mm",
    "entry_below_foramen_mm": "entry below the nearest foramen, mm",
}
"""Columns of `best_paths` whose spread is shown."""


@dataclass(frozen=True)
class Share:
    """So many of so many, with the Wilson interval of 95 %."""

    count: int
    of: int

    @property
    def percent(self) -> float:
        """The share, NaN of none."""
        return 100.0 * self.count / self.of if self.of else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end, percent."""
        if not self.of:
            return float("nan"), float("nan")
        low, high = proportion_confint(self.count, self.of, method="wilson")
        return 100.0 * float(low), 100.0 * float(high)


@dataclass(frozen=True)
class Quartiles:
    """Number, median, quartiles (linear between order statistics), least and largest."""

    n: int
    median: float
    low: float
    high: float
    least: float
    largest: float

    @classmethod
    def of(cls, values: pd.Series) -> Quartiles:
        """Measure what is known of some values."""
        known = values.dropna().to_numpy(float)
        if len(known) == 0:
            return cls(0, *([float("nan")] * 5))
        q = np.percentile(known, [50, 25, 75, 0, 100])
        return cls(len(known), *(float(value) for value in q))


@dataclass(frozen=True)
class FeasibleRow:
    """One technique on one side ("either", "both" for the two together).

    any: patients with a path that keeps the limits planned with. shares: at least LIMITS_MM.
    room: best clearance of those who have one.
    """

    technique: str
    side: str
    any: Share
    shares: tuple[Share, ...]
    room: Quartiles


@dataclass(frozen=True)
class GroupRow:
    """One group of patients: the room and the risk of each one's best path.

    room: largest clearance over techniques and sides, of those who have a path. risk: breach
    probability of rank 1, percent. wide: patients with at least the largest of LIMITS_MM, of all.
    """

    by: str
    group: str
    room: Quartiles
    risk: Quartiles
    wide: Share


def patients_of(cases: pd.DataFrame) -> pd.DataFrame:
    """One row per subject: the first session that could be judged, else the first.

    Numbers in the names of sessions count as numbers: ses-2 comes before ses-10.
    """
    order = cases.assign(
        _unknown=~cases["outcome"].isin(JUDGED),
        _session=cases["session"].fillna("").map(_natural),
    ).sort_values(["subject", "_unknown", "_session"], kind="stable")
    return order.drop_duplicates("subject", keep="first").drop(columns=["_unknown", "_session"])


def _natural(name: str) -> str:
    return re.sub(r"\d+", lambda found: found[0].zfill(12), name)


def feasibility_rows(patients: pd.DataFrame, feasibility: pd.DataFrame) -> list[FeasibleRow]:
    """Count who has how much room, per technique, over all of them, and per side."""
    judged = patients[patients["outcome"].isin(JUDGED)]
    mine = feasibility[feasibility["case_id"].isin(judged["case_id"])]
    out = []
    names = [name for name in TECHNIQUES if (mine["technique"] == name).any()]
    for technique in (*names, *(["any technique"] if len(names) > 1 else [])):
        part = mine if technique == "any technique" else mine[mine["technique"] == technique]
        # One row per patient and side; without a path its room is lower than any limit.
        rooms = part.groupby(["case_id", "side"])["best_clearance_mm"].max().unstack("side")
        for side in SIDES:
            if side in rooms:
                out.append(_row(technique, side, rooms[side]))
        if set(SIDES) <= set(rooms.columns):
            out.append(_row(technique, "either", rooms[list(SIDES)].max(axis=1)))
            least = rooms[list(SIDES)].min(axis=1, skipna=False)
            out.append(_row(technique, "both", least))
    return out


def _row(technique: str, side: str, rooms: pd.Series) -> FeasibleRow:
    values = rooms.to_numpy(float, na_value=np.nan)
    known = np.isfinite(values)
    shares = tuple(Share(int((values[known] >= limit).sum()), len(values)) for limit in LIMITS_MM)
    return FeasibleRow(
        technique, side, Share(int(known.sum()), len(values)), shares, Quartiles.of(rooms)
    )


def best_paths(trajectories: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """The best-ranked path of every patient, technique and side."""
    mine = trajectories[trajectories["case_id"].isin(patients["case_id"])]
    ordered = mine.sort_values(["case_id", "rank"], kind="stable")
    ordered = ordered.assign(breach_percent=100.0 * ordered["breach_probability_any"])
    return ordered.drop_duplicates(["case_id", "technique", "side"], keep="first")


def spread_rows(paths: pd.DataFrame) -> list[tuple[str, str, dict[str, Quartiles]]]:
    """Technique, side and the quartiles of each of SPREADS."""
    out = []
    for technique in TECHNIQUES:
        for side in SIDES:
            mine = paths[(paths["technique"] == technique) & (paths["side"] == side)]
            if len(mine):
                out.append((technique, side, {k: Quartiles.of(mine[k]) for k in SPREADS}))
    return out


def group_rows(
    patients: pd.DataFrame, feasibility: pd.DataFrame, anatomy: pd.DataFrame
) -> list[GroupRow]:
    """Compare groups of patients: sex, age, dysmorphism, density, and every covariate."""
    judged = patients[patients["outcome"].isin(JUDGED)]
    room = feasibility.groupby("case_id")["best_clearance_mm"].max()
    table = judged.merge(anatomy, on="case_id", how="left")
    table = table.assign(room=table["case_id"].map(room))
    out = []
    for name, groups in _groupings(table):
        for group, mask in groups:
            part = table[mask]
            if not len(part):
                continue
            wide = Share(int((part["room"] >= LIMITS_MM[-1]).sum()), len(part))
            risk = Quartiles.of(100.0 * part["best_breach_probability"])
            out.append(GroupRow(name, group, Quartiles.of(part["room"]), risk, wide))
    return out


Groups = list[tuple[str, pd.Series]]


def _groupings(table: pd.DataFrame) -> list[tuple[str, Groups]]:
    out: list[tuple[str, Groups]] = []
    score, density = table["largest_score_deg"], table["l5_mean_hu"]
    for column in sorted(name for name in map(str, table) if name.startswith(COVARIATE)):
        title = column.removeprefix(COVARIATE).replace("_", " ")
        groups = _covariate(title, table[column])
        if len(groups) > 1 and table[column].notna().any():
            out.append((title, [*groups, *_rest(table[column], groups)]))
    out.append(("dysmorphism score", _halves(score, DYSMORPHIC_DEG, "deg")))
    out.append(("density of L5", _halves(density, LOW_L5_HU, "HU")))
    sides = table["fracture_left"].fillna(False).astype(int) + table["fracture_right"].fillna(
        False
    ).astype(int)
    known = table["fracture_left"].notna()
    words = ("no sign found", "one ala", "both alae")
    alae = [(word, known & (sides == n)) for n, word in enumerate(words)]
    out.append(("fracture", [*alae, ("not known", ~known)]))
    return out


def _halves(values: pd.Series, limit: float, unit: str) -> Groups:
    """Below, at or above a limit, and unknown."""
    known = values.notna()
    low = (values < limit).fillna(False)
    return [
        (f"below {limit:g} {unit}", known & low),
        (f"{limit:g} {unit} or more", known & ~low),
        ("not known", ~known),
    ]


def _covariate(title: str, values: pd.Series) -> Groups:
    """Words one by one (the most frequent ones), ages by band, other numbers by their tertiles."""
    known = values.dropna()
    if title.lower() == "age" and pd.api.types.is_numeric_dtype(values):
        bands = [
            (f"{low:g} to under {high:g}" if high < 150 else f"{low:g} or more", low, high)
            for low, high in AGES
        ]
        return [
            (name, ((values >= low) & (values < high)).fillna(False)) for name, low, high in bands
        ]
    distinct = list(known.unique())
    if not pd.api.types.is_numeric_dtype(values) or len(distinct) <= MOST_GROUPS // 2:
        counts = known.value_counts()
        order = sorted(counts.index[:MOST_GROUPS], key=str)
        return [(_name(value), (values == value).fillna(False)) for value in order]
    # Rounded, so that a value that is a third's border is not below it by the last bit.
    a, b = np.round(np.quantile(known.to_numpy(float), [1 / 3, 2 / 3]), 9)
    return [
        (f"below {a:.4g}", (values < a).fillna(False)),
        (f"{a:.4g} to {b:.4g}", ((values >= a) & (values < b)).fillna(False)),
        (f"{b:.4g} or more", (values >= b).fillna(False)),
    ]


def _rest(values: pd.Series, groups: Groups) -> Groups:
    """Whom no group holds, so that the groups of a covariate are all the patients."""
    seen = pd.Series(False, index=values.index)
    for _, mask in groups:
        seen |= mask
    return [("any other", values.notna() & ~seen), ("not known", values.isna())]


def _name(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def flags_of(
    cases: pd.DataFrame, findings: pd.DataFrame, low_confidence: float = 0.95
) -> dict[str, Sequence[str]]:
    """Why a case should be looked at, by its name; empty where nothing speaks for it.

    low_confidence: below it a planned case is in doubt, although it was not refused.
    """
    warned = findings[findings["weight"] == "warning"].groupby("case_id")["name"].unique()
    out: dict[str, Sequence[str]] = {}
    for row in cases.to_dict("records"):
        flags = []
        if row["outcome"] != "planned":
            flags.append(str(row["outcome"]).replace("_", " "))
        elif pd.notna(row["confidence"]) and float(row["confidence"]) < low_confidence:
            flags.append(f"confidence {float(row['confidence']):.2f}")
        names = warned.get(row["case_id"], ())
        flags += [str(name).replace("_", " ") for name in sorted(names)]
        out[str(row["case_id"])] = flags
    return out

"""Why one needle stands before another, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from planner.model.trajectory import Criterion, ScoredTrajectory
from planner.scoring.ranking import RISK_BANDS, risk_band

REASONS = 3
"""Criteria named at most on either side."""
WORTH = 0.005
"""Part of the score from which a difference is worth a word."""
UNITS = {"deg": "°", "1": ""}


def explain(better: ScoredTrajectory, worse: ScoredTrajectory) -> str:
    """Say why `better` is ranked before `worse`, by the rules that ranked them."""
    head = f"{better.id} stands before {worse.id}"
    if risk_band(better) != risk_band(worse):
        chances = [100 * item.breach_probability["any"] for item in (better, worse)]
        edge = 100 * RISK_BANDS[risk_band(worse) - 1]
        text = (
            f"{head} because it is safer: a breach has a probability of {chances[0]:.2g} % against "
            f"{chances[1]:.2g} %, on either side of {edge:g} %, and risk goes before everything "
            "else."
        )
    else:
        text = (
            f"{head}: both risks fall into one band ({_band(better)}), so the score decides, "
            f"{better.score:.3f} against {worse.score:.3f}."
        )
    gains, losses = _differences(better, worse)
    if gains:
        text += f" It is better in {_listed(gains)}."
    if losses:
        text += f" It is worse in {_listed(losses)}."
    if not gains and not losses:
        text += " No single criterion tells them apart by much."
    return text


def explanations(ranked: Sequence[ScoredTrajectory]) -> list[str]:
    """Say of each needle, best first, why it stands before the next."""
    return [explain(better, worse) for better, worse in pairwise(ranked)]


def _band(item: ScoredTrajectory) -> str:
    edges = (0.0, *RISK_BANDS, 1.0)
    low, high = edges[risk_band(item)], edges[risk_band(item) + 1]
    return f"{100 * low:g} to {100 * high:g} % for any breach"


def _differences(better: ScoredTrajectory, worse: ScoredTrajectory) -> tuple[list[str], list[str]]:
    """What speaks for and against the better one, weightiest first."""
    other = {item.name: item for item in worse.criteria}
    total = sum(item.weight for item in better.criteria) or 1.0
    rows = [
        ((item.utility - other[item.name].utility) * item.weight / total, item, other[item.name])
        for item in better.criteria
        if item.name in other
    ]
    rows.sort(key=lambda row: (-abs(row[0]), row[1].name))
    gains = [_worded(mine, yours) for gain, mine, yours in rows if gain > WORTH]
    losses = [_worded(mine, yours) for gain, mine, yours in rows if gain < -WORTH]
    return gains[:REASONS], losses[:REASONS]


def _worded(mine: Criterion, yours: Criterion) -> str:
    unit = UNITS.get(mine.unit, f" {mine.unit}")
    scale, unit = (100.0, " %") if mine.name == "breach_probability" else (1.0, unit)
    name = mine.name.replace("_", " ")
    return f"{name} ({scale * mine.value:.3g}{unit} against {scale * yours.value:.3g}{unit})"


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]

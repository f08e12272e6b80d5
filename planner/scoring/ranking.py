"""Which needles are kept, and in what order.

Risk first: needles are compared by the band their probability of any breach falls into, and by
score only inside a band; equal scores go by z and then by the identifier, so the order is total.
Per technique and side the best are kept that are clearly different: a needle is an alternative
to a better one only if entry or tip lies further than APART_MM away or the direction differs by
more than APART_DEG. Another sacral level is preferred: a level not yet kept goes first as long as
its risk band is at most LEVEL_BANDS worse than the best's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory

# Probability of any breach. The techniques' z >= 3 (good), z >= 2.5 (acceptable) and z < 2 (about
# 15 %) lie between these edges.
RISK_BANDS = (0.005, 0.01, 0.025, 0.05, 0.10, 0.15, 0.25, 0.50)
# The optimum is flat and mostly single per technique and side: alternatives nearer than this are
# the same needle (techniques: suppress within 8-10 mm or 15 degrees).
APART_MM, APART_DEG = 9.0, 15.0
LEVEL_BANDS = 2

Key = tuple[int, float, float, str]


def risk_band_of(probability: float) -> int:
    """Band of a probability of any breach; 0 is the safest."""
    return int(np.searchsorted(RISK_BANDS, probability, side="right"))


def risk_band(item: ScoredTrajectory) -> int:
    """0 is the safest."""
    return risk_band_of(item.breach_probability["any"])


def order_key(item: ScoredTrajectory) -> Key:
    """Sort key, best first."""
    return (risk_band(item), -round(item.score, 9), -round(item.measures["z"], 9), item.id)


def alike(one: ScoredTrajectory, other: ScoredTrajectory) -> bool:
    """Tell whether two needles are the same one to a user."""
    a, b = one.trajectory, other.trajectory
    near = (
        float(np.linalg.norm(a.bone_entry - b.bone_entry)) < APART_MM
        and float(np.linalg.norm(a.tip - b.tip)) < APART_MM
    )
    turned = np.degrees(np.arccos(np.clip(a.direction @ b.direction, -1.0, 1.0)))
    return near and bool(turned < APART_DEG)


def select(items: tuple[ScoredTrajectory, ...], count: int) -> list[ScoredTrajectory]:
    """Keep the best clearly different needles of one technique and side, in rank order."""
    waiting = sorted(items, key=order_key)
    kept: list[ScoredTrajectory] = []
    while waiting and len(kept) < count:
        levels = {item.trajectory.level for item in kept}
        worst = risk_band(kept[0]) + LEVEL_BANDS if kept else 0
        fresh = [
            item
            for item in waiting
            if kept and item.trajectory.level not in levels and risk_band(item) <= worst
        ]
        pick = (fresh or waiting)[0]
        kept.append(pick)
        waiting = [item for item in waiting if item is not pick and not alike(item, pick)]
    return sorted(kept, key=order_key)


def rank_all(
    items: tuple[ScoredTrajectory, ...], configuration: Configuration
) -> tuple[ScoredTrajectory, ...]:
    """Keep the best per technique and side, name them and rank them over all; 1 is best."""
    groups: dict[tuple[str, str], list[ScoredTrajectory]] = {}
    for item in items:
        key = (item.trajectory.technique.value, item.trajectory.side)
        groups.setdefault(key, []).append(item)
    named = [
        replace(item, id=f"{technique}-{side}-{n}")
        for (technique, side), group in sorted(groups.items())
        for n, item in enumerate(select(tuple(group), configuration.top), start=1)
    ]
    return tuple(
        replace(item, rank=n, non_dominated=not any(dominates(other, item) for other in named))
        for n, item in enumerate(sorted(named, key=order_key), start=1)
    )


def dominates(one: ScoredTrajectory, other: ScoredTrajectory) -> bool:
    """Tell whether one is at least as good by every criterion with a weight, and better by one.

    Only needles of one side compete: both sides may need one.
    """
    if one.trajectory.side != other.trajectory.side:
        return False
    theirs = {item.name: item.utility for item in other.criteria}
    gains = [item.utility - theirs.get(item.name, 0.0) for item in one.criteria if item.weight > 0]
    return bool(gains) and min(gains) >= 0.0 and max(gains) > 0.0

"""Two needles that are placed together."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PairKind(StrEnum):
    """Bilateral: one needle in each ala. Two in one ala: a short and a long axis (Kao 2021)."""

    BILATERAL = "bilateral"
    SAME_ALA = "same_ala"


@dataclass(frozen=True)
class NeedlePair:
    """Two trajectories of a plan and how they get along.

    rank: 1 is best, over all pairs. trajectories: their ids. shaft_clearance_mm: between the
    surfaces of the shafts, from tip to hub. hub_clearance_mm: from either hub's surface to the
    other hub and the other shaft.
    skin_spacing_mm: between the skin entries. crosses_on_ap: whether the shafts cross on an AP
    view, from skin to tip. breach_probability: that either needle breaches, placed independently.
    score: mean of the two.
    """

    rank: int
    kind: PairKind
    trajectories: tuple[str, str]
    shaft_clearance_mm: float
    hub_clearance_mm: float
    skin_spacing_mm: float
    crosses_on_ap: bool
    breach_probability: float
    score: float
    warnings: tuple[str, ...] = ()

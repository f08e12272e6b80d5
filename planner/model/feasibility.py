"""How much room one technique finds on one side."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.anatomy import Side
from planner.model.trajectory import Technique


@dataclass(frozen=True)
class Feasibility:
    """What the search found of one technique on one side.

    paths: candidates that keep every hard limit. best_clearance_mm: the largest least clearance of
    them, None where there is none. It bounds what the bone allows from below: the search looks for
    a low risk of a breach, which is not always the widest room.
    """

    technique: Technique
    side: Side
    paths: int
    best_clearance_mm: float | None

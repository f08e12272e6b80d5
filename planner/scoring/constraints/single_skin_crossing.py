"""The needle must pass the skin once: a fold in its way is a second entry."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class SingleSkinCrossing:
    """The needle must pass the skin once: a fold in its way is a second entry."""

    name: str = "single_skin_crossing"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured = float(evidence.skin_crossings)
        return Rejection(self.name, measured, 1.0, "skin crossings") if measured > 1 else None

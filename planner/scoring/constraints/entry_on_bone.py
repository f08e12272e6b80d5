"""The bone entry must lie on the surface, or every depth is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence

# Twice the working grid: what two ways of smoothing a surface may differ by at an edge.
TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class EntryOnBone:
    """The bone entry must lie on the surface, or every depth is wrong."""

    name: str = "entry_on_bone"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured = evidence.entry_gap_mm
        if measured <= TOLERANCE_MM:
            return None
        return Rejection(self.name, measured, TOLERANCE_MM, "mm")

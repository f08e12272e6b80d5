"""The needle must not slide along the cortex: angle to its normal at the entry."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class EntryIncidence:
    """The needle must not slide along the cortex: angle to its normal at the entry."""

    name: str = "entry_incidence"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.incidence_deg, limits.entry_incidence_deg
        return Rejection(self.name, measured, limit, "deg") if measured > limit else None

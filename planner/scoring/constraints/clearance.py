"""The needle's surface must keep its distance from a structure over the whole path in bone."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection, Structure
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class ClearanceLimit:
    """Least clearance to one structure; never exempt at the entry."""

    structure: Structure

    @property
    def name(self) -> str:
        """Key of the tally of rejections."""
        return f"clearance_{self.structure.value}"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured = evidence.clearances[self.structure].distance_mm
        limit = float(getattr(limits, f"{self.structure.value}_mm"))
        return Rejection(self.name, measured, limit, "mm") if measured < limit else None

"""The shaft outside the bone must pass the hips: 110 mm of it."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class HipClearance:
    """The shaft outside the bone must pass the hips: 110 mm of it."""

    name: str = "hip_clearance"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.hip_mm, limits.hip_outside_bone_mm
        return Rejection(self.name, measured, limit, "mm") if measured < limit else None

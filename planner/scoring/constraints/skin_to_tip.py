"""The needle must be long enough: from skin to tip."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class SkinToTip:
    """The needle must be long enough: from skin to tip."""

    name: str = "skin_to_tip"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.skin_to_tip_mm, limits.skin_to_tip_mm
        return Rejection(self.name, measured, limit, "mm") if measured > limit else None

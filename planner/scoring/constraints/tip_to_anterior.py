"""The tip, as a point, must stop short of the anterior cortex."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class TipToAnterior:
    """The tip, as a point, must stop short of the anterior cortex."""

    name: str = "tip_to_anterior"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.tip_to_anterior_mm, limits.tip_to_anterior_cortex_mm
        return Rejection(self.name, measured, limit, "mm") if measured < limit else None

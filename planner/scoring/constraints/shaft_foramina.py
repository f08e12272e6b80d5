"""The shaft outside the bone must pass the posterior foramina."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class ShaftForamina:
    """The shaft outside the bone must pass the posterior foramina."""

    name: str = "shaft_foramina"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.shaft_foramen_mm, limits.foramina_mm
        return Rejection(self.name, measured, limit, "mm") if measured < limit else None

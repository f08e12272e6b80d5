"""Past the entry the posterior cortex counts: only the crossed cortex is exempt, only there."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Limits
from planner.model.trajectory import Rejection
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class PosteriorCortex:
    """Past the entry the posterior cortex counts: only the crossed cortex is exempt, only there."""

    name: str = "posterior_cortex"

    def check(self, evidence: Evidence, limits: Limits) -> Rejection | None:
        """Return why a needle is refused, or None."""
        measured, limit = evidence.settled_mm, evidence.settle_limit_mm
        return Rejection(self.name, measured, limit, "mm") if measured > limit else None

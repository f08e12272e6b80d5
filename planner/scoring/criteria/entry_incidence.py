"""How squarely the needle meets the cortex: at a flat angle it slides."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Assumed: a needle holds up to here.
GOOD_DEG = 20.0


@dataclass(frozen=True)
class PreferredIncidence:
    """How squarely the needle meets the cortex: at a flat angle it slides."""

    name: str = "entry_incidence"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value, limit = evidence.incidence_deg, configuration.limits.entry_incidence_deg
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "deg", ramp(value, limit, GOOD_DEG), weight)

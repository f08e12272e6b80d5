"""How near the tip comes to the target, where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Assumed: cement spreads this far from the tip (a ball of 4 mL has a radius of 10 mm).
GOOD_MM, WORST_MM = 3.0, 20.0


@dataclass(frozen=True)
class TargetDistance:
    """How near the tip comes to the target, where there is one."""

    name: str = "target_distance"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value = evidence.target_mm
        if not isfinite(value):
            return None
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "mm", ramp(value, WORST_MM, GOOD_MM), weight)

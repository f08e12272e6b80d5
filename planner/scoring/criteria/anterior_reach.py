"""How far towards the far cortex the tip lies, as part of the way through the bone."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# The tip belongs in the anterior third of the ala (Strub 2007, Tabilo 2025).
WORST, GOOD = 0.4, 2.0 / 3.0


@dataclass(frozen=True)
class AnteriorReach:
    """How far towards the far cortex the tip lies, as part of the way through the bone."""

    name: str = "anterior_reach"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value = evidence.depth_fraction
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "1", ramp(value, WORST, GOOD), weight)

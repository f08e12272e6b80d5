"""How short the way from skin to tip is."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Skin to tip of the shortest technique under 40 mm of tissue (techniques: 71-76 mm).
GOOD_MM = 75.0


@dataclass(frozen=True)
class SkinLength:
    """How short the way from skin to tip is; no merit where the CT does not show the skin."""

    name: str = "skin_length"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value, limit = evidence.skin_to_tip_mm, configuration.limits.skin_to_tip_mm
        weight = configuration.weights[self.name]
        good = min(GOOD_MM, limit)
        utility = 0.0
        if evidence.skin_reached and value <= limit:
            utility = 1.0 if value <= good else ramp(value, limit, good)
        return Criterion(self.name, value, "mm", utility, weight)

"""How short the way through bone is: errors of direction grow with it."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Shortest and longest of twenty real sides (techniques: short axis 12 mm, long axis 66 mm).
GOOD_MM, WORST_MM = 15.0, 65.0


@dataclass(frozen=True)
class BoneLength:
    """How short the way through bone is: errors of direction grow with it."""

    name: str = "bone_length"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility."""
        value = evidence.trajectory.intraosseous_length_mm
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "mm", ramp(value, WORST_MM, GOOD_MM), weight)

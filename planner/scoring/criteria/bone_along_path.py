"""How much of the path runs in trabecular bone rather than in cortex or sclerosis."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Assumed: trabecular bone of the sacrum lies below 250 HU at any age; a mean of 500 HU along a
# path means that it runs in a cortex or in sclerosis, where a needle is turned aside.
GOOD_HU, WORST_HU = 250.0, 500.0


@dataclass(frozen=True)
class BoneAlongPath:
    """How much of the path runs in trabecular bone rather than in cortex or sclerosis."""

    name: str = "bone_along_path"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility."""
        value = evidence.mean_hu
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "HU", ramp(value, WORST_HU, GOOD_HU), weight)

"""How near the needle lies to the plane of the CT slices, where it is seen whole."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# Assumed: a gantry tilts up to 30 degrees at most; beyond 45 the needle is followed by its tip.
GOOD_DEG, WORST_DEG = 5.0, 45.0


@dataclass(frozen=True)
class InPlane:
    """How near the needle lies to the plane of the CT slices, where it is seen whole."""

    name: str = "in_plane"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value = evidence.axial_tilt_deg
        weight = configuration.weights[self.name]
        utility = ramp(abs(value), WORST_DEG, GOOD_DEG)
        return Criterion(self.name, value, "deg", utility, weight)

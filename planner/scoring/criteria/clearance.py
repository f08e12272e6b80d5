"""How much of the preferred clearance to a structure is reached."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion, Structure
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class PreferredClearance:
    """From the hard limit (0) to the preferred clearance (1)."""

    structure: Structure

    @property
    def name(self) -> str:
        """Key of the weight."""
        return f"clearance_{self.structure.value}"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility."""
        value = evidence.clearances[self.structure].distance_mm
        key = f"{self.structure.value}_mm"
        bad = float(getattr(configuration.limits, key))
        good = float(getattr(configuration.preferred, key))
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "mm", ramp(value, bad, max(bad, good)), weight)

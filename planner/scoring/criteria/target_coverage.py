"""How much of the target cement can reach from the needle, where there is a target."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.evidence import Evidence


@dataclass(frozen=True)
class TargetCoverage:
    """Share of the target within reach of cement from the last part of the needle."""

    name: str = "target_coverage"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where there is no target."""
        value = evidence.target_coverage
        if not isfinite(value):
            return None
        return Criterion(self.name, value, "1", value, configuration.weights[self.name])

"""How likely the needle touches anything guarded, with the chosen placement error."""

from __future__ import annotations

from dataclasses import dataclass

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion
from planner.scoring.criteria.ramp import ramp
from planner.scoring.evidence import Evidence

# z < 2 means about 15 % (techniques): no merit is left there.
WORST = 0.15


@dataclass(frozen=True)
class BreachProbability:
    """How likely the needle touches anything guarded, with the chosen placement error."""

    name: str = "breach_probability"

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        value = breach["any"]
        weight = configuration.weights[self.name]
        return Criterion(self.name, value, "1", ramp(value, WORST, 0.0), weight)

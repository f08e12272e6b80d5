"""Soft criteria, one file each: a value, how good that is (0 to 1), and how much it counts.

`CRITERIA` gives the order in the plan. The score is the weighted mean of the utilities. Weights
come from the configuration; a criterion that does not apply returns None and does not count.
"""

from __future__ import annotations

from typing import Protocol

from planner.model.configuration import Configuration
from planner.model.trajectory import Criterion, Structure
from planner.scoring.criteria.anterior_reach import AnteriorReach
from planner.scoring.criteria.bone_along_path import BoneAlongPath
from planner.scoring.criteria.bone_length import BoneLength
from planner.scoring.criteria.breach_probability import BreachProbability
from planner.scoring.criteria.clearance import PreferredClearance
from planner.scoring.criteria.entry_incidence import PreferredIncidence
from planner.scoring.criteria.in_plane import InPlane
from planner.scoring.criteria.skin_length import SkinLength
from planner.scoring.criteria.target_coverage import TargetCoverage
from planner.scoring.criteria.target_distance import TargetDistance
from planner.scoring.evidence import Evidence


class SoftCriterion(Protocol):
    """A soft criterion."""

    def rate(
        self, evidence: Evidence, breach: dict[str, float], configuration: Configuration
    ) -> Criterion | None:
        """Return value and utility, or None where the criterion does not apply."""
        ...


CRITERIA: tuple[SoftCriterion, ...] = (
    BreachProbability(),
    PreferredClearance(Structure.FORAMINA),
    PreferredClearance(Structure.CANAL),
    PreferredClearance(Structure.ANTERIOR),
    PreferredClearance(Structure.SACROILIAC),
    PreferredClearance(Structure.SUPERIOR),
    PreferredClearance(Structure.POSTERIOR),
    AnteriorReach(),
    PreferredIncidence(),
    InPlane(),
    BoneAlongPath(),
    BoneLength(),
    SkinLength(),
    TargetDistance(),
    TargetCoverage(),
)


def rate_all(
    evidence: Evidence, breach: dict[str, float], configuration: Configuration
) -> tuple[Criterion, ...]:
    """Rate a needle by every criterion that applies."""
    rated = (criterion.rate(evidence, breach, configuration) for criterion in CRITERIA)
    return tuple(item for item in rated if item is not None)


def weighted_mean(criteria: tuple[Criterion, ...]) -> float:
    """Score from 0 to 1; 0 where nothing counts."""
    total = sum(item.weight for item in criteria)
    if total <= 0:
        return 0.0
    return float(sum(item.utility * item.weight for item in criteria) / total)

"""From needle paths to a ranking: hard limits refuse, soft criteria score, risk decides.

`score` measures every needle and refuses those that break a hard limit, counting each once under
the first limit it breaks. `rank` keeps clearly different ones and orders them. `measure` judges one
needle of the user's own: it is never refused, every broken limit becomes a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.trajectory import ScoredTrajectory, Trajectory
from planner.model.volume import Volume
from planner.scoring.breach import breach_probabilities
from planner.scoring.constraints import CONSTRAINTS, broken_limits
from planner.scoring.criteria import rate_all, weighted_mean
from planner.scoring.evidence import Evidence, Setting, gather, setting_of
from planner.scoring.explain import explain, explanations
from planner.scoring.feasibility import feasibility
from planner.scoring.guidance import guide, needle_along, set_up
from planner.scoring.pairs import find_pairs
from planner.scoring.ranking import rank_all
from planner.scoring.report import measures_of, warnings_of

BREAKS = "breaks the limit of"
"""Words by which a warning tells that a hard limit is broken."""

__all__ = [
    "BREAKS",
    "Scored",
    "explain",
    "explanations",
    "feasibility",
    "find_pairs",
    "guide",
    "measure",
    "needle_along",
    "rank",
    "score",
    "set_up",
]


@dataclass(frozen=True)
class Scored:
    """What scoring found.

    accepted: needles that keep every hard limit, rank 0, in the order given.
    rejections: constraint to the number of needles refused by it first; every constraint is named.
    """

    accepted: tuple[ScoredTrajectory, ...]
    rejections: dict[str, int]


def score(
    trajectories: tuple[Trajectory, ...],
    anatomy: Anatomy,
    volume: Volume,
    configuration: Configuration,
    target: Float | None = None,
) -> Scored:
    """Measure and judge needles; target: (T, 3) patient points to reach, mm."""
    setting = setting_of(anatomy, volume, configuration, target)
    rejections = {constraint.name: 0 for constraint in CONSTRAINTS}
    accepted: list[ScoredTrajectory] = []
    for number, trajectory in enumerate(trajectories):
        evidence = gather(setting, trajectory)
        broken = broken_limits(evidence, configuration.limits)
        if broken:
            rejections[broken[0].constraint] += 1
            continue
        name = f"{trajectory.technique.value}-{trajectory.side}-candidate-{number:03d}"
        accepted.append(_judge(setting, evidence, name))
    return Scored(tuple(accepted), rejections)


def rank(scored: Scored, configuration: Configuration) -> tuple[ScoredTrajectory, ...]:
    """Keep the clearly different best per technique and side and rank them; 1 is best."""
    return rank_all(scored.accepted, configuration)


def measure(
    trajectory: Trajectory,
    anatomy: Anatomy,
    volume: Volume,
    configuration: Configuration,
    target: Float | None = None,
) -> ScoredTrajectory:
    """Measure one needle as it is; every hard limit it breaks becomes a warning."""
    setting = setting_of(anatomy, volume, configuration, target)
    evidence = gather(setting, trajectory)
    judged = _judge(setting, evidence, f"{trajectory.technique.value}-{trajectory.side}-own")
    broken = tuple(
        f"{item.constraint}: {item.measured:.1f} {item.unit} {BREAKS} {item.limit:.1f} {item.unit}"
        for item in broken_limits(evidence, configuration.limits)
    )
    return replace(judged, rank=1, warnings=broken + judged.warnings)


def _judge(setting: Setting, evidence: Evidence, name: str) -> ScoredTrajectory:
    """Score a needle, whatever limits it breaks."""
    configuration = setting.configuration
    trajectory = replace(evidence.trajectory, skin_entry=evidence.skin)
    breach = breach_probabilities(trajectory, setting.fields, setting.spread)
    criteria = rate_all(evidence, breach, configuration)
    return ScoredTrajectory(
        name,
        0,
        trajectory,
        evidence.clearances,
        breach,
        criteria,
        weighted_mean(criteria),
        measures_of(evidence),
        warnings_of(setting, evidence),
    )

"""Which techniques are possible on which side, and with how much room."""

from __future__ import annotations

from collections.abc import Sequence

from planner.model.configuration import Configuration
from planner.model.feasibility import Feasibility
from planner.model.trajectory import ScoredTrajectory


def feasibility(
    accepted: Sequence[ScoredTrajectory], configuration: Configuration
) -> tuple[Feasibility, ...]:
    """Sum up the needles that keep every hard limit, one entry per technique and side planned."""
    out = []
    for technique in configuration.techniques:
        for side in configuration.sides:
            rooms = [
                item.measures["min_clearance_mm"]
                for item in accepted
                if (item.trajectory.technique, item.trajectory.side) == (technique, side)
            ]
            out.append(Feasibility(technique, side, len(rooms), max(rooms, default=None)))
    return tuple(out)

"""The result of planning: what was read, what was found, what is proposed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.entry_map import EntryMap
from planner.model.feasibility import Feasibility
from planner.model.finding import Finding
from planner.model.guidance import Guidance
from planner.model.pair import NeedlePair
from planner.model.trajectory import ScoredTrajectory
from planner.model.volume import CtSource


@dataclass(frozen=True, eq=False)
class Plan:
    """Ranked trajectories on an anatomy.

    ct_grid: the grid of the CT (the anatomy's may be finer). rejections: constraint to the
    number of candidates that it refused. findings: what is special about this sacrum, records
    included; the messages of notes and warnings are in warnings too. pairs: trajectories that
    can be placed together, best first. feasibility: room per technique and side. guidance: set-
    up of each trajectory, by its id. entry_map: room per entry point. target: (T, 3) points to
    reach, patient LPS, mm. timings_s: stage to seconds.
    """

    ct: CtSource
    ct_grid: Grid
    anatomy: Anatomy
    trajectories: tuple[ScoredTrajectory, ...]
    rejections: dict[str, int]
    configuration: Configuration
    findings: tuple[Finding, ...] = ()
    pairs: tuple[NeedlePair, ...] = ()
    feasibility: tuple[Feasibility, ...] = ()
    guidance: dict[str, Guidance] = field(default_factory=dict)
    entry_map: EntryMap | None = None
    target: Float | None = None
    warnings: tuple[str, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

"""Where the stages meet: a CT to a plan, and one needle on a plan that exists."""

from planner.pipeline.bones import find_bones, trusted_anatomy
from planner.pipeline.needle import NO_CT, NeedleReport, OpenPlan, score_needle
from planner.pipeline.plan import Progress, plan_again, plan_ct

__all__ = [
    "NO_CT",
    "NeedleReport",
    "OpenPlan",
    "Progress",
    "find_bones",
    "plan_again",
    "plan_ct",
    "score_needle",
    "trusted_anatomy",
]

"""Rows of the tables that only a virtual cohort has: a plan held against its phantom's truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from planner.cohort.truth import TrueSurfaces, foramen_errors, path_truth
from planner.model.plan import Plan
from planner.phantom.truth import PhantomTruth


def truth_rows(plan: Plan, truth: PhantomTruth, draws: int) -> dict[str, list[dict[str, Any]]]:
    """Measure how far foramina and paths of a plan are from the truth; draws: per path."""
    surfaces = TrueSurfaces(truth)
    error = plan.configuration.placement_error
    paths: Sequence[Any] = plan.trajectories
    return {
        "true_foramina": [_rounded(row, "label") for row in foramen_errors(plan.anatomy, truth)],
        "true_trajectories": [
            {
                "id": item.id,
                "technique": item.trajectory.technique.value,
                "side": item.trajectory.side,
                **_rounded(path_truth(item, surfaces, error, draws)),
            }
            for item in paths
        ],
    }


def _rounded(row: dict[str, Any], without: str = "") -> dict[str, Any]:
    """Round figures to a micrometre or a millionth; what is infinite is not known."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if name == without:
            continue
        if isinstance(value, float):
            value = round(value, 6) if math.isfinite(value) else None
        out[name] = value
    return out

"""What plan.json says of a review, and the state that it stands for."""

from __future__ import annotations

from typing import Any

from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.review.state import Point, ReviewedPath, State
from planner.scoring import BREAKS

IN_REVIEW = "review: "
"""How warnings of the plan begin that a review brought; each revision brings its own."""


def broken_lines(values: dict[str, Any]) -> list[str]:
    """Say which hard limits a path breaks; what the planner proposed here breaks none."""
    lines = [line for line in values["warnings"] if BREAKS in line]
    return [f"{IN_REVIEW}{values['id']} breaks a hard limit: {line}" for line in lines]


def state_of(document: PlanDocument) -> State:
    """Return the state that a document holds."""
    paths = []
    for item in document.trajectories:
        entry, tip = ends_of(item)
        review = item.review
        if review is None:
            paths.append(ReviewedPath(item.id, entry, tip, (entry, tip)))
            continue
        planned: tuple[Point, Point] | None = (entry, tip)
        if review.planned is not None:
            planned = (review.planned.bone_entry_mm, review.planned.tip_mm)
        if review.origin == "added":
            planned = None
        said = (review.verdict, review.reason, review.note, review.locked)
        paths.append(ReviewedPath(item.id, entry, tip, planned, *said))
    return State(tuple(paths), "" if document.review is None else document.review.note)


def said_of(path: ReviewedPath) -> dict[str, Any]:
    """What plan.json says of the review of a path."""
    said: dict[str, Any] = {
        "verdict": path.verdict,
        "origin": path.origin,
        "reason": path.reason,
        "note": path.note,
        "locked": path.locked,
    }
    if path.origin == "changed" and path.planned is not None:
        entry, tip = path.planned
        said["planned"] = {"bone_entry_mm": list(entry), "tip_mm": list(tip)}
    return said


def plain_figures(item: TrajectoryObject) -> dict[str, Any]:
    """The figures of a path as JSON holds them, without what a reviewer said."""
    return item.model_dump(mode="json", exclude_none=True, exclude={"review"})


def ends_of(item: TrajectoryObject) -> tuple[Point, Point]:
    """Return bone entry and tip of a path in plan.json."""
    return item.bone_entry_mm, item.tip_mm

"""What a reviewer made of the paths, in words: planned, changed, added, accepted, rejected."""

from __future__ import annotations

import numpy as np

from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.geometry.grid import Float


def review_words(values: TrajectoryObject) -> str:
    """Say what a review made of a path; empty where none did."""
    review = values.review
    if review is None:
        return ""
    parts = []
    if review.origin == "added":
        parts.append("added by the reviewer")
    ends = planned_ends(values)
    if ends is not None:
        entry, tip = np.array(values.bone_entry_mm), np.array(values.tip_mm)
        parts.append(
            f"changed by the reviewer: bone entry moved {np.linalg.norm(entry - ends[0]):.1f} mm, "
            f"tip {np.linalg.norm(tip - ends[1]):.1f} mm from where it was planned"
        )
    if review.verdict == "accepted":
        parts.append("accepted")
    if review.verdict == "rejected":
        parts.append(f"REJECTED: {review.reason}")
    if review.locked:
        parts.append("locked")
    if review.note:
        parts.append(f"note: {review.note}")
    return "; ".join(parts) or "as planned, not judged"


def review_mark(values: TrajectoryObject) -> str:
    """The same in a word or two, for a table."""
    review = values.review
    if review is None:
        return ""
    verdict = "not judged" if review.verdict == "open" else review.verdict
    return verdict if review.origin == "planned" else f"{review.origin}, {verdict}"


def planned_ends(values: TrajectoryObject) -> tuple[Float, Float] | None:
    """(3,) bone entry and tip before any review, patient LPS, mm; None where they are the same."""
    if values.review is None or values.review.planned is None:
        return None
    planned = values.review.planned
    return np.array(planned.bone_entry_mm), np.array(planned.tip_mm)


def rejected_ids(document: PlanDocument) -> frozenset[str]:
    """Ids of the paths that a reviewer rejected."""
    return frozenset(
        item.id
        for item in document.trajectories
        if item.review is not None and item.review.verdict == "rejected"
    )

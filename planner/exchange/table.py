"""csv and json: the figures for spreadsheets and scripts."""

from __future__ import annotations

import csv as csv_module
from pathlib import Path
from typing import Any

from planner.exchange.handover import Handover
from planner.exchange.surfaces import skin_shown
from planner.export.plan_document import TrajectoryObject
from planner.export.plan_json import write_document

AXES = ("x", "y", "z")
POINTS = ("skin_entry", "bone_entry", "tip")
STRUCTURES = ("foramina", "canal", "anterior_cortex", "sacroiliac_joint", "superior_cortex")
SET_UP = (
    "in_plane_deg",
    "cranial_deg",
    "gantry_tilt_deg",
    "skin_lateral_mm",
    "skin_to_bone_mm",
)


def csv(handover: Handover, path: Path) -> None:
    """Write one row per path; points are patient LPS.

    Unknown is empty. The last column holds the warnings of the path, and the disclaimer.
    """
    rows = [_row(item, handover) for item in handover.paths]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_module.DictWriter(file, list(_columns()))
        writer.writeheader()
        writer.writerows(rows)


def json(handover: Handover, path: Path) -> None:
    """Write plan.json as it is, rejected paths included: it says that they are."""
    write_document(handover.document, path)


def _columns() -> list[str]:
    columns = ["rank", "id", "technique", "side", "level", "needle_gauge", "needle_diameter_mm"]
    columns += ["skin_in_view"]
    columns += [f"{point}_{axis}_lps_mm" for point in POINTS for axis in AXES]
    columns += ["skin_to_tip_mm", "intraosseous_length_mm"]
    columns += [f"clearance_{name}_mm" for name in STRUCTURES]
    columns += ["nearest_foramen"]
    columns += [f"breach_probability_{name}" for name in ("any", *STRUCTURES)]
    columns += ["score", *SET_UP, "verdict", "origin", "warnings", "disclaimer"]
    return columns


def _row(item: TrajectoryObject, handover: Handover) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rank": item.rank,
        "id": item.id,
        "technique": item.technique,
        "side": item.side,
        "level": item.level,
        "needle_gauge": item.needle.gauge,
        "needle_diameter_mm": item.needle.outer_diameter_mm,
        "skin_to_tip_mm": item.skin_to_tip_mm if skin_shown(item) else "",
        "intraosseous_length_mm": item.intraosseous_length_mm,
        "score": item.score,
        "verdict": "open" if item.review is None else item.review.verdict,
        "origin": "planned" if item.review is None else item.review.origin,
        "warnings": " | ".join(item.warnings),
        "disclaimer": handover.document.disclaimer,
    }
    shown = skin_shown(item)
    row["skin_in_view"] = int(shown)
    for point in POINTS:
        if point == "skin_entry" and not shown:
            continue
        for axis, value in zip(AXES, getattr(item, f"{point}_mm"), strict=True):
            row[f"{point}_{axis}_lps_mm"] = value
    for name in STRUCTURES:
        found = getattr(item.clearance, name)
        row[f"clearance_{name}_mm"] = "" if found is None else found.distance_mm
    row["nearest_foramen"] = getattr(item.clearance.foramina, "structure", "")
    for name in ("any", *STRUCTURES):
        risk = getattr(item.breach_probability, name)
        row[f"breach_probability_{name}"] = "" if risk is None else risk
    for name in SET_UP:
        known = item.guidance is not None and (shown or not name.startswith("skin"))
        row[name] = getattr(item.guidance, name) if known else ""
    return row

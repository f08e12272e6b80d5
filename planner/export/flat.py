"""One needle path as a flat row: what tables of paths hold, the unit at the end of each name.

Points are patient LPS. What is not known is None.
"""

from __future__ import annotations

from typing import Any

from planner.export.plan_document import TrajectoryObject

AXES = ("x", "y", "z")
POINTS = ("skin_entry", "bone_entry", "tip")
STRUCTURES = (
    *("foramina", "canal", "anterior_cortex", "sacroiliac_joint"),
    *("superior_cortex", "posterior_cortex"),
)
SET_UP = (
    "in_plane_deg",
    "cranial_deg",
    "gantry_tilt_deg",
    "skin_lateral_mm",
    "skin_to_bone_mm",
)
COLUMNS = (
    *("rank", "id", "technique", "side", "level", "needle_gauge", "needle_diameter_mm"),
    "skin_in_view",
    *(f"{point}_{axis}_lps_mm" for point in POINTS for axis in AXES),
    *("skin_to_tip_mm", "intraosseous_length_mm"),
    *(f"clearance_{name}_mm" for name in STRUCTURES),
    "nearest_foramen",
    *(f"breach_probability_{name}" for name in ("any", *STRUCTURES)),
    *("score", *SET_UP, "verdict", "origin", "warnings"),
)
"""Names of the columns, in their order."""


def skin_shown(item: TrajectoryObject) -> bool:
    """Tell whether the CT shows the skin behind a path; where not, its skin entry is no skin."""
    if item.guidance is not None and not item.guidance.skin_in_view:
        return False
    return item.measures.get("skin_in_view", 1.0) > 0


def flat_row(item: TrajectoryObject) -> dict[str, Any]:
    """Return a path's values by COLUMNS."""
    shown = skin_shown(item)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "rank": item.rank,
        "id": item.id,
        "technique": item.technique,
        "side": item.side,
        "level": item.level,
        "needle_gauge": item.needle.gauge,
        "needle_diameter_mm": item.needle.outer_diameter_mm,
        "skin_in_view": int(shown),
        "skin_to_tip_mm": item.skin_to_tip_mm if shown else None,
        "intraosseous_length_mm": item.intraosseous_length_mm,
        "nearest_foramen": item.clearance.foramina.structure,
        "score": item.score,
        "verdict": "open" if item.review is None else item.review.verdict,
        "origin": "planned" if item.review is None else item.review.origin,
        "warnings": " | ".join(item.warnings),
    }
    for point in POINTS:
        if point == "skin_entry" and not shown:
            continue
        for axis, value in zip(AXES, getattr(item, f"{point}_mm"), strict=True):
            row[f"{point}_{axis}_lps_mm"] = value
    for name in STRUCTURES:
        found = getattr(item.clearance, name)
        row[f"clearance_{name}_mm"] = None if found is None else found.distance_mm
    for name in ("any", *STRUCTURES):
        row[f"breach_probability_{name}"] = getattr(item.breach_probability, name)
    for name in SET_UP:
        if item.guidance is not None and (shown or not name.startswith("skin")):
            row[name] = getattr(item.guidance, name)
    return row

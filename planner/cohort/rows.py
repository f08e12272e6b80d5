"""From one plan to rows of the cohort's tables.

Rows are made of plan.json as it is saved, so that a table and the plan beside it agree to the last
digit. Places are also told in the sacral frame, which is the same in every patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planner.cohort.cases import Case
from planner.cohort.dictionary import COVARIATE, OUTCOMES_OF_A_RUN, TABLES
from planner.export.flat import flat_row
from planner.export.plan_document import ForamenObject, PlanDocument, TrajectoryObject
from planner.geometry.grid import Float
from planner.model.anatomy import SacralFrame, side_sign
from planner.model.configuration import Configuration

Row = dict[str, Any]
Rows = dict[str, list[Row]]
MEASURES = (
    "min_clearance_mm",
    "z",
    "incidence_deg",
    "inclination_deg",
    "midsagittal_angle_deg",
    "tip_to_anterior_mm",
    "mean_hu",
    "safe_entry_radius_mm",
)
DENSITY = ("l5_mean_hu", "ala_left_mean_hu", "ala_right_mean_hu")
NOTED = ("note", "warning")


def case_row(case: Case, status: int, reason: str = "", **values: Any) -> Row:
    """Row of `cases`, with the manifest's covariates and outcomes."""
    row = dict.fromkeys(column.name for column in TABLES["cases"])
    row |= {
        "case_id": case.id,
        "subject": case.subject,
        "session": case.session,
        "exit_status": status,
        "outcome": OUTCOMES_OF_A_RUN.get(status, "defect"),
        "reason": reason,
    }
    row |= {f"{COVARIATE}{name}": value for name, value in case.covariates.items()}
    return row | dict(case.outcomes) | values


def plan_rows(document: PlanDocument) -> Rows:
    """Rows of every table but `cases`, without the case's name."""
    frame = frame_of(document)
    foramina = document.anatomy.foramina
    return {
        "trajectories": [_path_row(item, frame, foramina) for item in document.trajectories],
        "feasibility": [
            {
                "technique": item.technique,
                "side": item.side,
                "paths": item.paths,
                "best_clearance_mm": item.best_clearance_mm,
            }
            for item in document.feasibility
        ],
        "foramina": [_foramen_row(item, frame) for item in foramina],
        "anatomy": [_anatomy_row(document, frame)],
        "findings": [
            {"name": item.name, "weight": item.weight, "message": item.message}
            for item in document.findings
        ],
    }


def best_values(document: PlanDocument) -> Row:
    """What `cases` says of a plan and its first path."""
    best = document.trajectories[0]
    return {
        "ct_sha256": document.ct.sha256,
        "trajectories": len(document.trajectories),
        "plan_warnings": len(document.warnings),
        "confidence": document.anatomy.confidence,
        "best_id": best.id,
        "best_technique": best.technique,
        "best_side": best.side,
        "best_clearance_mm": best.measures.get("min_clearance_mm"),
        "best_breach_probability": best.breach_probability.any,
        "best_intraosseous_length_mm": best.intraosseous_length_mm,
        "slice_spacing_mm": max(document.ct.spacing_mm),
    }


def nowhere_rows(configuration: Configuration) -> Rows:
    """Rows of a case where no path keeps the hard limits: nothing is feasible."""
    return {
        "feasibility": [
            {"technique": technique.value, "side": side, "paths": 0, "best_clearance_mm": None}
            for technique in configuration.techniques
            for side in configuration.sides
        ]
    }


def frame_of(document: PlanDocument) -> SacralFrame:
    """Return the sacral frame of a saved plan."""
    saved = document.anatomy.sacral_frame
    axes = np.column_stack([saved.left, saved.posterior, saved.cranial])
    # Six decimals are saved; the nearest orthonormal axes take the rounding away.
    u, _, vt = np.linalg.svd(axes)
    return SacralFrame(np.array(saved.origin_mm, float), u @ vt)


def _path_row(item: TrajectoryObject, frame: SacralFrame, foramina: Sequence[ForamenObject]) -> Row:
    row = flat_row(item)
    row |= {name: item.measures.get(name) for name in MEASURES}
    return row | _entry_place(item, frame, foramina)


def _entry_place(
    item: TrajectoryObject, frame: SacralFrame, foramina: Sequence[ForamenObject]
) -> Row:
    """Where the needle enters the bone, in the sacral frame and from the nearest foramen."""
    sign = side_sign(item.side)
    entry = frame.to_sacrum(item.bone_entry_mm)
    row: Row = {"entry_lateral_mm": sign * entry[0], "entry_below_endplate_mm": -entry[2]}
    same = [each for each in foramina if each.side == item.side]
    if same:
        places = frame.to_sacrum([each.dorsal_mm for each in same])
        flat = np.hypot(places[:, 0] - entry[0], places[:, 2] - entry[2])
        nearest = int(flat.argmin())
        row["entry_foramen"] = same[nearest].level
        row["entry_lateral_of_foramen_mm"] = sign * (entry[0] - places[nearest, 0])
        row["entry_below_foramen_mm"] = places[nearest, 2] - entry[2]
    return {name: _rounded(value) for name, value in row.items()}


def _foramen_row(item: ForamenObject, frame: SacralFrame) -> Row:
    row: Row = {"level": item.level, "side": item.side}
    for point in ("dorsal", "centre", "ventral"):
        place = frame.to_sacrum(getattr(item, f"{point}_mm"))
        for axis, value in zip("xyz", place, strict=True):
            row[f"{point}_{axis}_sacrum_mm"] = _rounded(value)
    return row | {"width_mm": item.width_mm, "confidence": item.confidence}


def _anatomy_row(document: PlanDocument, frame: SacralFrame) -> Row:
    measures: dict[str, Mapping[str, float]] = {}
    for finding in document.findings:
        measures[finding.name] = {**measures.get(finding.name, {}), **finding.measures}
    density = measures.get("density", {})
    row: Row = {name: density.get(name) for name in DENSITY}
    for side in ("left", "right"):
        region = density.get(f"ala_{side}_region_mm3", 0.0)
        low = density.get(f"ala_{side}_negative_mm3")
        known = low is not None and region > 0
        row[f"ala_{side}_negative_part"] = low / region if known and low is not None else None
        row[f"fracture_{side}"] = any(
            finding.name == "alar_fracture" and f"the {side} ala" in finding.message
            for finding in document.findings
        )
    shape = measures.get("dysmorphism", {})
    # 0 where no axis of an ala was found to measure it by.
    row["largest_score_deg"] = shape.get("largest_score_deg") or None
    row["transsacral_corridor_mm"] = shape.get("transsacral_corridor_mm")
    row["foramen_pairs_count"] = measures.get("s1_numbering", {}).get("foramen_pairs_count")
    row["hardware"] = any(item.name == "hardware" for item in document.findings)
    row["dysmorphic"] = _noted(document, "dysmorphism")
    row["osteoporotic"] = _noted(document, "density")
    return row | _spacings(document.anatomy.foramina, frame)


def _noted(document: PlanDocument, name: str) -> bool | None:
    """Whether a finding asks for attention; None where its rule had nothing to measure."""
    weights = [item.weight for item in document.findings if item.name == name]
    return any(weight in NOTED for weight in weights) if weights else None


def _spacings(foramina: Sequence[ForamenObject], frame: SacralFrame) -> Row:
    row: Row = {}
    for level in ("S1", "S2", "S3", "S4"):
        pair: dict[str, Float] = {
            item.side: frame.to_sacrum(item.dorsal_mm) for item in foramina if item.level == level
        }
        both = len(pair) == 2
        gap = float(np.linalg.norm(pair["left"] - pair["right"])) if both else None
        row[f"dorsal_spacing_{level.lower()}_mm"] = _rounded(gap)
    return row


def _rounded(value: Any) -> Any:
    """Round a figure to a micrometre; anything else stays."""
    if isinstance(value, bool) or not isinstance(value, float | np.floating):
        return value
    return round(float(value), 3) + 0.0

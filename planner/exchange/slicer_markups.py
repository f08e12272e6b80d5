"""Markups of 3D Slicer (.mrk.json, schema 1.0.3): a line per path, and the foramina as points.

Points are patient LPS, mm, and say so. A line runs from where the path begins to the tip: from the
skin, or from the bone where the CT does not show the skin. Slicer computes `length` itself from the
points; all other measurements are the plan's figures and stay what they are, whatever is moved,
which is why lines are locked.

A file that is opened on its own takes its look from its own `display`, whose lines are as thick as
lineThickness times the point's glyph; in a scene the look is that of the scene's display node,
which knows a diameter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planner.exchange.file_names import title
from planner.exchange.surfaces import path_start
from planner.export.flat import skin_shown
from planner.export.names import STRUCTURES
from planner.export.plan_document import PlanDocument, TrajectoryObject
from planner.export.terminology import COLOURS, NEEDLE, Colour

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
"""The name of the schema, not a place: Slicer compares it and refuses files without it."""

GLYPH_MM = 1.0
"""Points on a needle are smaller than it: a larger ball would reach beyond the tip."""
FORAMEN_GLYPH_MM = 4.0
LABELLED = 4
"""Labels are shown at the best paths only; twenty at once hide the anatomy."""
TEXT_SCALE = 2.5


def write_line(item: TrajectoryObject, document: PlanDocument, path: Path) -> None:
    """Write the line of one path."""
    first = "skin entry" if skin_shown(item) else "bone entry (skin not in view)"
    says = description(item, document)
    points = [
        _point("1", f"{item.rank} {first}", path_start(item).tolist(), says),
        _point("2", f"{item.rank} tip", list(item.tip_mm), says),
    ]
    markup = _markup("Line", f"path {title(item)}", points, path_display(item))
    markup["fixedNumberOfControlPoints"] = True
    markup["measurements"] = _measurements(item)
    markup["description"] = says
    _write(markup, path)


def write_foramina(document: PlanDocument, path: Path) -> None:
    """Write the middles of the foramina as one list of points."""
    points = [
        _point(
            str(number),
            f"{item.level} {item.side}",
            list(item.centre_mm),
            f"middle of the foramen, {item.width_mm:.1f} mm wide. {document.disclaimer}",
        )
        for number, item in enumerate(document.anatomy.foramina, 1)
    ]
    markup = _markup("Fiducial", "foramina", points, foramina_display())
    markup["description"] = document.disclaimer
    _write(markup, path)


def description(item: TrajectoryObject, document: PlanDocument) -> str:
    """Say what a path is, with its warnings and the disclaimer."""
    parts = [
        f"{item.technique.replace('_', ' ')}, patient's {item.side}, {item.level}, needle "
        f"{item.needle.gauge} ({item.needle.outer_diameter_mm:g} mm)."
    ]
    if not skin_shown(item):
        parts.append("The CT does not show the skin: the line begins where it enters the bone.")
    if item.review is not None:
        parts.append(f"Review: {item.review.verdict}, {item.review.origin}.")
    parts += [f"Warning: {text}" for text in item.warnings]
    return " ".join([*parts, document.disclaimer])


def path_display(item: TrajectoryObject) -> dict[str, Any]:
    """How a path looks: a tube of the needle's diameter."""
    look = _display(NEEDLE, GLYPH_MM)
    look["lineThickness"] = item.needle.outer_diameter_mm / GLYPH_MM
    look["pointLabelsVisibility"] = item.rank <= LABELLED
    return look


def foramina_display() -> dict[str, Any]:
    """How the foramina look."""
    return _display(COLOURS["foramen_s1_left"], FORAMEN_GLYPH_MM)


def _display(colour: Colour, glyph_mm: float) -> dict[str, Any]:
    return {
        "visibility": True,
        "opacity": 1.0,
        # Points are "selected" from the start, so that the second colour is the one that is seen.
        "color": list(colour),
        "selectedColor": list(colour),
        "propertiesLabelVisibility": False,
        "pointLabelsVisibility": True,
        "textScale": TEXT_SCALE,
        "glyphType": "Sphere3D",
        "glyphSize": glyph_mm,
        "useGlyphScale": False,
        "handlesInteractive": False,
        "snapMode": "unconstrained",
    }


def _markup(
    kind: str, name: str, points: list[dict[str, Any]], display: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": kind,
        "name": name,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "labelFormat": "%N-%d",
        "controlPoints": points,
        "display": display,
    }


def _point(number: str, label: str, position: list[float], says: str) -> dict[str, Any]:
    return {
        "id": number,
        "label": label,
        "description": says,
        "associatedNodeID": "",
        "position": position,
        "selected": True,
        "locked": True,
        "visibility": True,
        "positionStatus": "defined",
    }


def _measurements(item: TrajectoryObject) -> list[dict[str, Any]]:
    length = item.skin_to_tip_mm if skin_shown(item) else item.intraosseous_length_mm
    found = [
        _measurement("length", length, "mm", "of the line as drawn"),
        _measurement("length in bone", item.intraosseous_length_mm, "mm", "bone entry to tip"),
    ]
    risks = [_risk("any", "structure", item)]
    for structure, name in STRUCTURES.items():
        clearance = getattr(item.clearance, structure.value)
        if clearance is None:
            continue
        says = "from the needle's surface, as planned; negative inside"
        found.append(_measurement(f"clearance {name}", clearance.distance_mm, "mm", says))
        if getattr(item.breach_probability, structure.value) is not None:
            risks.append(_risk(structure.value, name, item))
    return found + risks


def _risk(key: str, name: str, item: TrajectoryObject) -> dict[str, Any]:
    chance = 100.0 * float(getattr(item.breach_probability, key))
    title_ = "breach probability" if key == "any" else f"breach probability {name}"
    # Rounded to what plan.json holds: a product of 100 has digits of its own.
    return _measurement(title_, round(chance, 4), "%", "with the plan's placement error", 2)


def _measurement(
    name: str, value: float, unit: str, says: str, decimals: int = 1
) -> dict[str, Any]:
    return {
        "name": name,
        "enabled": True,
        "value": value,
        "units": unit,
        "description": says,
        "printFormat": f"%.{decimals}f %s",
    }


def _write(markup: dict[str, Any], path: Path) -> None:
    text = json.dumps({"@schema": SCHEMA, "markups": [markup]}, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")

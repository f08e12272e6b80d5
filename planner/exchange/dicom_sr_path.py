"""The measurement group of one path (TID 1501): names, codes and units of its figures.

Names are private codes (99PLANNER) whose meaning says the whole: DICOM has no code for the distance
of a needle from a foramen, and one that means nearly the same would be read as the same. What is
unknown is left out, never zero: figures of the skin where the CT does not show it, the set-up of a
path that has none. Lengths mm, angles degrees, probabilities and scores as ratios (unit 1).
"""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CoordinatesForMeasurement3D,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.uid import UID, generate_uid

from planner.exchange.dicom import NAME, concept
from planner.exchange.handover import Handover
from planner.export.names import STRUCTURES
from planner.export.numbers import placement_words
from planner.export.plan_document import Point, TrajectoryObject
from planner.export.terminology import CODES, MODIFIERS, PRIVATE, SACRUM, Code
from planner.model.trajectory import Structure

MM: Code = ("UCUM", "mm", "mm")
DEG: Code = ("UCUM", "deg", "deg")
ONE: Code = ("UCUM", "1", "no units")
COMMENT: Code = ("DCM", "121106", "Comment")
PATH: Code = (PRIVATE, "needle_path", "Planned needle path")
WARNING: Code = (PRIVATE, "warning", "Warning of the planner")
# Shorter than plan.json's names: a code value has 16 characters.
SHORT = {
    Structure.FORAMINA: "foramina",
    Structure.CANAL: "canal",
    Structure.ANTERIOR: "anterior",
    Structure.SACROILIAC: "si_joint",
    Structure.SUPERIOR: "superior",
    Structure.POSTERIOR: "posterior",
}
ANGLES = {
    "in_plane_deg": (
        "in_plane",
        "In-plane angle, positive with the tip to the patient's left",
    ),
    "cranial_deg": ("cranial", "Cranial angle, positive with the tip cranial"),
    "gantry_tilt_deg": (
        "gantry_tilt",
        "Gantry tilt, positive with the anterior edge to the head",
    ),
}
ON_SKIN = {
    "skin_lateral_mm": ("skin_lateral", "Skin entry lateral of the midplane of the sacrum"),
    "skin_to_bone_mm": ("skin_to_bone", "Length of path from skin to bone"),
}


def path_group(
    item: TrajectoryObject, handover: Handover, frame: str
) -> MeasurementsAndQualitativeEvaluations:
    """Gather everything that is measured on a path; frame: UID of the CT's frame of reference."""
    document = handover.document
    made = MeasurementsAndQualitativeEvaluations(
        # The same path of the same plan stays the same one however often it is exported.
        TrackingIdentifier(_tracking_uid(handover, item), item.id),
        finding_type=concept(PATH),
        algorithm_id=AlgorithmIdentification(
            NAME,
            document.provenance.version,
            [f"placement error: {placement_words(document.config)}"],
        ),
        finding_sites=[FindingSite(concept(SACRUM), concept(MODIFIERS[item.side]))],
        measurements=[*_lengths(item, frame), *_clearances(item), *_risks(item), *_set_up(item)],
        qualitative_evaluations=_qualities(item),
    )
    texts = [(WARNING, text) for text in item.warnings] + [(COMMENT, document.disclaimer)]
    made[0].ContentSequence.extend(
        TextContentItem(concept(name), text, "CONTAINS") for name, text in texts
    )
    return made


def _tracking_uid(handover: Handover, item: TrajectoryObject) -> UID:
    """Name a path the same in every export of a plan, and otherwise where that is anonymous."""
    uid = generate_uid(entropy_srcs=[handover.opened.plan_sha256, item.id])
    return UID(handover.renamed(uid)) if handover.renamed is not None else uid


def skin_is_known(item: TrajectoryObject) -> bool:
    """Tell whether the CT shows the skin behind a needle; else its figures are lower bounds."""
    shown = item.measures.get("skin_in_view", 1.0) > 0
    return shown and (item.guidance is None or item.guidance.skin_in_view)


def _lengths(item: TrajectoryObject, frame: str) -> list[Measurement]:
    in_bone = _line(frame, item.bone_entry_mm, item.tip_mm)
    bone = ("length_in_bone", "Length of path in bone")
    diameter = ("needle_diameter", "Outer diameter of needle")
    made = [
        _number(bone, item.intraosseous_length_mm, MM, in_bone),
        _number(diameter, item.needle.outer_diameter_mm, MM),
    ]
    if skin_is_known(item):
        whole = _line(frame, item.skin_entry_mm, item.tip_mm)
        length = ("skin_to_tip", "Length of path from skin to tip")
        made.append(_number(length, item.skin_to_tip_mm, MM, whole))
    return made


def _clearances(item: TrajectoryObject) -> list[Measurement]:
    made = []
    for structure, short in SHORT.items():
        found = getattr(item.clearance, structure.value)
        if found is None:
            continue
        name = (f"clear_{short}", f"Clearance of needle surface to {_word(structure)}")
        site = _foramen(found.structure) if structure is Structure.FORAMINA else None
        made.append(_number(name, found.distance_mm, MM, site=site))
    return made


def _risks(item: TrajectoryObject) -> list[Measurement]:
    risk = item.breach_probability
    made = [_number(("breach_any", "Probability of any breach"), risk.any, ONE)]
    for structure, short in SHORT.items():
        value = getattr(risk, structure.value)
        if value is not None:
            name = (f"breach_{short}", f"Probability of breach of {_word(structure)}")
            made.append(_number(name, value, ONE))
    return made


def _set_up(item: TrajectoryObject) -> list[Measurement]:
    made = [
        _number(("score", "Score, higher is better"), item.score, ONE),
        _number(("rank", "Rank in the plan, 1 is best"), item.rank, ONE),
    ]
    if item.guidance is None:
        return made
    angles = [(name, getattr(item.guidance, key), DEG) for key, name in ANGLES.items()]
    skin = [(name, getattr(item.guidance, key), MM) for key, name in ON_SKIN.items()]
    shown = angles + (skin if skin_is_known(item) else [])
    return made + [_number(name, value, unit) for name, value, unit in shown]


def _qualities(item: TrajectoryObject) -> list[QualitativeEvaluation]:
    verdict = "open" if item.review is None else item.review.verdict
    origin = "planned" if item.review is None else item.review.origin
    told = (
        ("technique", "Technique", item.technique),
        ("entry_level", "Sacral level of bone entry", item.level),
        ("gauge", "Gauge of needle", item.needle.gauge),
        ("verdict", "Verdict of a reviewer, without verification", verdict),
        ("origin", "Origin of path", origin),
    )
    return [
        QualitativeEvaluation(
            concept((PRIVATE, value, meaning)), concept((PRIVATE, word, word.replace("_", " ")))
        )
        for value, meaning, word in told
    ]


def _number(
    name: tuple[str, str],
    value: float,
    unit: Code,
    line: CoordinatesForMeasurement3D | None = None,
    site: FindingSite | None = None,
) -> Measurement:
    return Measurement(
        concept((PRIVATE, *name)),
        value,
        concept(unit),
        finding_sites=None if site is None else [site],
        referenced_coordinates=None if line is None else [line],
    )


def _line(frame: str, *points: Point) -> CoordinatesForMeasurement3D:
    """A polyline from the entry to the tip; points: patient LPS, mm, as DICOM's own."""
    return CoordinatesForMeasurement3D("POLYLINE", np.array(points, float), frame)


def _foramen(segment: str) -> FindingSite:
    coded = CODES[segment]
    return FindingSite(concept(coded.kind), concept(coded.side))


def _word(structure: Structure) -> str:
    return STRUCTURES.get(structure, structure.value.replace("_", " "))

"""The shape of plan.json: one class per object of the file, and the JSON Schema made of them.

Points and distances are millimetres in patient LPS, rounded to a micrometre; numbers are finite.
Unknown keys are refused, so that a misspelt one is never taken for an absent one.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

SCHEMA_VERSION: Literal["1.1"] = "1.1"
READABLE_VERSIONS = ("1.0", "1.1")
"""What is new in 1.1 may be absent, so that files of 1.0 are read as they are."""

Point = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
Size = tuple[int, int, int]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
SideName = Literal["left", "right"]


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameObject(_Object):
    """The frame that every point of the file is in."""

    coordinate_system: Literal["LPS"] = "LPS"
    unit: Literal["mm"] = "mm"
    frame_of_reference_uid: str


class CtObject(_Object):
    """The CT that was planned on."""

    series_instance_uid: str
    sha256: str
    size: Size
    spacing_mm: Point
    study_instance_uid: str = ""
    kind: str = ""
    series_description: str = ""
    convolution_kernel: str = ""
    patient_position: str = ""
    slice_thickness_mm: Length = 0.0
    choice: str = ""


class EndplateObject(_Object):
    """The superior endplate of S1; the normal is a unit vector that points cranially."""

    centre_mm: Point
    normal: Point


class SacralFrameObject(_Object):
    """The patient's sacral frame: unit vectors to the left, to the back and cranial."""

    origin_mm: Point
    left: Point
    posterior: Point
    cranial: Point


class ForamenObject(_Object):
    """One foramen, from its ventral to its dorsal opening."""

    level: str
    side: SideName
    centre_mm: Point
    ventral_mm: Point
    dorsal_mm: Point
    width_mm: Length
    confidence: Fraction


class CheckObject(_Object):
    """One thing that was asked of the anatomy: what was measured, and what is expected."""

    name: str
    passed: bool
    measured: FiniteFloat
    limit: tuple[FiniteFloat, FiniteFloat]
    unit: str


class AnatomyObject(_Object):
    """What was found of the bones; the voxels are in anatomy.seg.nrrd.

    confidence: for `builtin` and `totalsegmentator` the probability that every foramen of S1 to S3
    is named right and lies within 3 mm. labels_sha256: hash over those voxels and their grid, so
    that a plan is never shown on others.
    """

    source: Literal["builtin", "provided", "totalsegmentator"]
    labels_sha256: str = ""
    confidence: Fraction
    confidences: dict[str, Fraction] = {}
    checks: list[CheckObject] = []
    s1_endplate: EndplateObject
    sacral_frame: SacralFrameObject
    foramina: list[ForamenObject]


class NeedleObject(_Object):
    """A needle by its gauge."""

    gauge: str
    outer_diameter_mm: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ClearanceObject(_Object):
    """Distance from the needle's surface to a structure, negative inside it."""

    distance_mm: FiniteFloat
    witness_mm: Point
    depth_mm: FiniteFloat


class ForaminaClearanceObject(ClearanceObject):
    """The same for the nearest foramen, with its segment name."""

    structure: str


class PosteriorClearanceObject(ClearanceObject):
    """The same for the posterior cortex, which is crossed on purpose.

    settled_mm: depth behind the bone entry from which its hard limit holds.
    """

    settled_mm: FiniteFloat | None = None


class ClearancesObject(_Object):
    """One clearance per structure."""

    foramina: ForaminaClearanceObject
    canal: ClearanceObject
    anterior_cortex: ClearanceObject
    sacroiliac_joint: ClearanceObject
    superior_cortex: ClearanceObject
    posterior_cortex: PosteriorClearanceObject | None = None


class BreachObject(_Object):
    """Probability that the needle, placed with the expected error, enters a structure."""

    any: Fraction
    foramina: Fraction
    canal: Fraction
    anterior_cortex: Fraction
    sacroiliac_joint: Fraction
    superior_cortex: Fraction
    posterior_cortex: Fraction | None = None


class CriterionObject(_Object):
    """One soft criterion of the score."""

    name: str
    value: FiniteFloat
    unit: str
    utility: Fraction
    weight: Length


class BeamViewObject(_Object):
    """A C-arm's beam by patient axes: rotation about the long axis, 0 for AP or PA, positive where
    the dorsal end of the beam swings to the patient's left; tilt positive where it swings to the
    head."""

    rotation_deg: FiniteFloat
    tilt_deg: FiniteFloat


class ViewsObject(_Object):
    """Standard views, set up for this sacrum."""

    ap: BeamViewObject
    outlet: BeamViewObject
    inlet: BeamViewObject
    lateral: BeamViewObject


class GuidanceObject(_Object):
    """How a trajectory is set up; angles and places by the patient's own directions."""

    skin_in_view: bool
    skin_slice: Count
    skin_z_mm: FiniteFloat
    in_plane_deg: FiniteFloat
    cranial_deg: FiniteFloat
    gantry_tilt_deg: FiniteFloat
    skin_lateral_mm: FiniteFloat
    skin_below_spine_mm: FiniteFloat | None = None
    skin_medial_of_spine_mm: FiniteFloat | None = None
    skin_to_bone_mm: Length
    skin_to_tip_mm: Length
    needle_length_mm: Length | None = None
    down_the_barrel: BeamViewObject
    views: ViewsObject
    entry: str


class PairObject(_Object):
    """Two trajectories that can be placed together."""

    rank: Annotated[int, Field(ge=1)]
    kind: Literal["bilateral", "same_ala"]
    trajectories: tuple[str, str]
    shaft_clearance_mm: FiniteFloat
    hub_clearance_mm: FiniteFloat
    skin_spacing_mm: Length
    crosses_on_ap: bool
    breach_probability: Fraction
    score: FiniteFloat
    warnings: list[str] = []


class FeasibilityObject(_Object):
    """Room of one technique on one side: over all candidates that keep the hard limits."""

    technique: Literal["short_axis", "long_axis", "s2_entry", "s2_s3_entry"]
    side: SideName
    paths: Count
    best_clearance_mm: FiniteFloat | None = None


class PointsObject(_Object):
    """Where a path ran before a reviewer moved it."""

    bone_entry_mm: Point
    tip_mm: Point


class PathReviewObject(_Object):
    """What a reviewer made of one path; planned: its points before any review, where it moved."""

    verdict: Literal["open", "accepted", "rejected"]
    origin: Literal["planned", "changed", "added"]
    reason: str = ""
    note: str = ""
    locked: bool = False
    planned: PointsObject | None = None


class ChangeObject(_Object):
    """One step of a review: when, what, to which path (none: the plan's note), before, after."""

    revision: Annotated[int, Field(ge=1)]
    time: str
    action: str
    path: str
    before: Any = None
    after: Any = None


class SignatureObject(_Object):
    """The name that a person typed, and when; it proves nothing about who typed it."""

    name: str
    time: str


class ReviewObject(_Object):
    """A review: its number, what it rests on, and every change since the plan was made."""

    revision: Annotated[int, Field(ge=1)]
    saved: str
    before_sha256: str
    note: str = ""
    signed: SignatureObject | None = None
    changes: list[ChangeObject] = []


class TrajectoryObject(_Object):
    """One needle path and everything measured on it."""

    id: str
    rank: Annotated[int, Field(ge=1)]
    technique: Literal["short_axis", "long_axis", "s2_entry", "s2_s3_entry"]
    side: SideName
    level: str
    needle: NeedleObject
    skin_entry_mm: Point
    bone_entry_mm: Point
    tip_mm: Point
    skin_to_tip_mm: Length
    intraosseous_length_mm: Length
    clearance: ClearancesObject
    breach_probability: BreachObject
    score: FiniteFloat
    non_dominated: bool = True
    criteria: list[CriterionObject]
    measures: dict[str, FiniteFloat] = {}
    guidance: GuidanceObject | None = None
    warnings: list[str] = []
    review: PathReviewObject | None = None


class ProvenanceObject(BaseModel):
    """Which program made the file, when, and how long the stages took; further keys are allowed."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: str
    created: str
    timings_s: dict[str, Length] = {}


class FindingObject(_Object):
    """What is special about a sacrum; units stand at the end of the measures' names."""

    name: str
    weight: Literal["record", "note", "warning"]
    message: str
    measures: dict[str, FiniteFloat] = {}


class TargetObject(_Object):
    """What the plan was made to reach: points of a mask, thinned."""

    points_mm: Annotated[list[Point], Field(min_length=1)]


class PlanDocument(_Object):
    """A whole plan.json."""

    schema_version: Literal["1.0", "1.1"] = SCHEMA_VERSION
    disclaimer: str
    frame: FrameObject
    ct: CtObject
    anatomy: AnatomyObject
    trajectories: list[TrajectoryObject]
    pairs: list[PairObject] = []
    feasibility: list[FeasibilityObject] = []
    target: TargetObject | None = None
    rejections: dict[str, Count]
    findings: list[FindingObject] = []
    warnings: list[str]
    config: dict[str, Any]
    provenance: ProvenanceObject
    review: ReviewObject | None = None

    @model_validator(mode="after")
    def _ranked(self) -> Self:
        ranks = [item.rank for item in self.trajectories]
        if ranks != list(range(1, len(ranks) + 1)):
            raise ValueError(f"ranks must run 1, 2, 3, … in order, got {ranks}")
        names = [item.id for item in self.trajectories]
        if len(set(names)) != len(names):
            raise ValueError("two trajectories have the same id")
        if [item.rank for item in self.pairs] != list(range(1, len(self.pairs) + 1)):
            raise ValueError("ranks of pairs must run 1, 2, 3, … in order")
        strange = {name for item in self.pairs for name in item.trajectories} - set(names)
        if strange:
            raise ValueError(f"pairs name trajectories that are not there: {sorted(strange)}")
        return self


def schema() -> dict[str, Any]:
    """Build the JSON Schema of plan.json (draft 2020-12)."""
    body = PlanDocument.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:planner:plan:{SCHEMA_VERSION}",
    }
    return {**head, **body, "title": "Sacroplasty plan"}


def schema_text() -> str:
    """Return the schema as it is shipped in plan.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"

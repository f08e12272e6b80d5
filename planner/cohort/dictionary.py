"""The tables of a cohort: every column with its type, unit, definition and source.

One description makes the Parquet schema, the check of every row and the data dictionary, so that
none of them can say something else. Covariates and outcomes of the manifest are further columns of
`cases`, whose types the manifest decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "whole", "number", "yes_no"]

TECHNIQUES = ("short_axis", "long_axis", "s2_entry", "s2_s3_entry")
SIDES = ("left", "right")
OUTCOMES_OF_A_RUN = {
    0: "planned",
    1: "defect",
    2: "configuration",
    3: "unsuitable_ct",
    4: "untrusted_anatomy",
    5: "no_trajectory",
    6: "output",
    137: "killed",
}
"""Exit status to the word for it; 137 is the shell's number for a killed program."""
KILLED = 137
FINAL = (0, 3, 4, 5)
"""Statuses that the input itself decides: the same input gives them again."""


@dataclass(frozen=True)
class Column:
    """One column.

    definition: one sentence with its unit. source: where a figure's definition comes from, empty
    where it is this program's own. low, high: bounds of its values. allowed: its only words.
    """

    name: str
    kind: Kind
    definition: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    needed: bool = False
    source: str = ""


def _text(name: str, definition: str, *allowed: str, needed: bool = False) -> Column:
    return Column(name, "text", definition, allowed=allowed, needed=needed)


def _mm(name: str, definition: str, low: float = -400, high: float = 400) -> Column:
    return Column(name, "number", definition, "mm", low, high)


def _deg(name: str, definition: str, source: str = "") -> Column:
    return Column(name, "number", definition, "deg", -180, 180, source=source)


def _hu(name: str, definition: str, source: str = "") -> Column:
    return Column(name, "number", definition, "HU", source=source)


def _part(name: str, definition: str) -> Column:
    return Column(name, "number", definition, "1", 0, 1)


CASE = _text("case_id", "Subject, and session where there are several.", needed=True)
TECHNIQUE = _text("technique", "Technique of the path.", *TECHNIQUES, needed=True)
SIDE = _text("side", "The patient's own side.", *SIDES, needed=True)
KAISER = "Kaiser 2014: above 70 dysmorphic, measured by hand"
WAGNER = "Wagner 2016, 2018: insufficiency fractures where L5 is below 100 HU"

CASES = (
    CASE,
    _text("subject", "Pseudonym of the patient.", needed=True),
    _text("session", "Session, empty where a subject has one CT."),
    Column("exit_status", "whole", "Exit status as of the command line.", low=0, needed=True),
    _text("outcome", "The same in a word.", *OUTCOMES_OF_A_RUN.values(), needed=True),
    _text("reason", "Why there is no plan, in one paragraph; empty for a plan."),
    _text("input_sha256", "Hash over the bytes of CT, anatomy and target."),
    _text("result_key", "Hash over input, program and configuration."),
    _text("ct_sha256", "Hash over voxels and geometry, as in plan.json."),
    Column("trajectories", "whole", "Number of paths kept.", low=0),
    Column("plan_warnings", "whole", "Number of warnings of the plan.", low=0),
    _part("confidence", "Confidence in the anatomy."),
    _text("best_id", "Path of rank 1."),
    _text("best_technique", "Its technique.", *TECHNIQUES),
    _text("best_side", "Its side.", *SIDES),
    _mm("best_clearance_mm", "Its least clearance from the six structures."),
    _part("best_breach_probability", "Its probability of any breach."),
    _mm("best_intraosseous_length_mm", "Its length in bone.", 0),
    _mm("slice_spacing_mm", "Largest spacing of the CT's voxels.", 0),
)
TRAJECTORIES = (
    CASE,
    Column("rank", "whole", "Rank over all paths of the case, 1 is best.", low=1, needed=True),
    _text("id", "Name of the path in its plan.", needed=True),
    TECHNIQUE,
    SIDE,
    _text("level", "Sacral level of the entry."),
    _text("needle_gauge", "Needle."),
    _mm("needle_diameter_mm", "Outer diameter of the needle.", 0),
    Column("skin_in_view", "whole", "1 where the CT shows the skin behind the path.", low=0),
    *(
        Column(f"{point}_{axis}_lps_mm", "number", f"{words}, patient LPS.", "mm")
        for point, words in (
            ("skin_entry", "Skin entry"),
            ("bone_entry", "Entry into bone"),
            ("tip", "Tip"),
        )
        for axis in "xyz"
    ),
    _mm("skin_to_tip_mm", "From skin to tip; empty where the skin is not in view.", 0, 500),
    _mm("intraosseous_length_mm", "From entry into bone to tip.", 0),
    *(
        _mm(f"clearance_{name}_mm", f"Needle's surface to {words}, negative inside.")
        for name, words in (
            ("foramina", "the nearest foramen"),
            ("canal", "the sacral canal"),
            ("anterior_cortex", "the anterior cortex"),
            ("sacroiliac_joint", "the sacroiliac joint"),
            ("superior_cortex", "the superior cortex"),
            ("posterior_cortex", "the posterior cortex, once the entry is settled"),
        )
    ),
    _text("nearest_foramen", "The nearest foramen."),
    *(
        _part(f"breach_probability_{name}", f"Probability of a breach: {name.replace('_', ' ')}.")
        for name in (
            *("any", "foramina", "canal", "anterior_cortex"),
            *("sacroiliac_joint", "superior_cortex", "posterior_cortex"),
        )
    ),
    Column("score", "number", "Weighted mean of the soft criteria."),
    _deg("in_plane_deg", "Angle in the axial plane, positive hub to the patient's left."),
    _deg("cranial_deg", "Angle to the axial plane, positive tip towards the head."),
    _deg("gantry_tilt_deg", "Tilt of the gantry that shows the whole path in one slice."),
    _mm("skin_lateral_mm", "Skin entry lateral of the midline."),
    _mm("skin_to_bone_mm", "From skin to bone along the path.", 0, 500),
    _text("verdict", "What a reviewer made of it."),
    _text("origin", "planned, changed or added."),
    _text("warnings", "Warnings of the path."),
    _mm("min_clearance_mm", "Least of the six clearances."),
    Column("z", "number", "Least clearance over the path in standard deviations of placement."),
    _deg("incidence_deg", "Angle to the normal of the crossed cortex."),
    _deg("inclination_deg", "Angle to the plane of the S1 endplate."),
    _deg("midsagittal_angle_deg", "Angle to the midsagittal plane."),
    _mm("tip_to_anterior_mm", "From the tip to the anterior cortex."),
    _hu("mean_hu", "Mean along the path in bone."),
    _mm("safe_entry_radius_mm", "How far the entry may slip before a limit breaks.", 0),
    _mm("entry_lateral_mm", "Bone entry lateral of the midplane, on its own side."),
    _mm("entry_below_endplate_mm", "Bone entry below the plane of the S1 endplate."),
    _text("entry_foramen", "Foramen whose posterior opening is nearest to the bone entry."),
    _mm("entry_lateral_of_foramen_mm", "Bone entry lateral of that opening's middle."),
    _mm("entry_below_foramen_mm", "Bone entry below that opening's middle."),
)
FEASIBILITY = (
    CASE,
    TECHNIQUE,
    SIDE,
    Column("paths", "whole", "Candidate paths that keep every hard limit.", low=0, needed=True),
    _mm("best_clearance_mm", "Largest least clearance of them; empty where there is none."),
)
FORAMINA = (
    CASE,
    _text("level", "S1 to S5.", "S1", "S2", "S3", "S4", "S5", needed=True),
    SIDE,
    *(
        _mm(f"{point}_{axis}_sacrum_mm", f"{point.capitalize()} of the channel: {words}.")
        for point in ("dorsal", "centre", "ventral")
        for axis, words in (
            ("x", "towards the left, sacral frame"),
            ("y", "towards the back, sacral frame"),
            ("z", "over the S1 endplate, sacral frame"),
        )
    ),
    _mm("width_mm", "Diameter of the narrowest section.", 0, 60),
    _part("confidence", "Confidence in the foramen."),
)
ANATOMY = (
    CASE,
    _hu("l5_mean_hu", "Cancellous bone of the body of L5.", WAGNER),
    _hu("ala_left_mean_hu", "Cancellous bone of the left ala at S1.", WAGNER),
    _hu("ala_right_mean_hu", "Cancellous bone of the right ala at S1.", WAGNER),
    _part("ala_left_negative_part", "Part of it below 0 HU, left."),
    _part("ala_right_negative_part", "Part of it below 0 HU, right."),
    _deg("largest_score_deg", "Dysmorphism: coronal plus twice the axial angle.", KAISER),
    _mm("transsacral_corridor_mm", "Widest straight corridor through S1, joint to joint.", 0),
    Column("foramen_pairs_count", "number", "Pairs of foramina seen.", low=0, high=6),
    *(
        _mm(f"dorsal_spacing_{level}_mm", f"Between the posterior openings of {level.upper()}.", 0)
        for level in ("s1", "s2", "s3", "s4")
    ),
    Column("fracture_left", "yes_no", "Sign of a fracture in the left ala."),
    Column("fracture_right", "yes_no", "Sign of a fracture in the right ala."),
    Column("hardware", "yes_no", "Metal or cement seen."),
    Column("dysmorphic", "yes_no", "A finding of dysmorphism asks for attention."),
    Column("osteoporotic", "yes_no", "A finding of low density asks for attention."),
)
FINDINGS = (
    CASE,
    _text("name", "Kind of finding.", needed=True),
    _text("weight", "How much it asks of the reader.", "record", "note", "warning", needed=True),
    _text("message", "In words.", needed=True),
)
TIMINGS = (
    CASE,
    Column("seconds", "number", "From start to end of the case.", "s", 0),
    Column("peak_memory_mb", "number", "Most memory its process held.", "MB", 0),
    Column("input_mb", "number", "Bytes read.", "MB", 0),
    *(
        Column(f"{name}_s", "number", f"Stage: {name}.", "s", 0)
        for name in ("read", "anatomy", "findings", "candidates", "score")
    ),
)
TRUE_FORAMINA = (
    CASE,
    _text("level", "True level.", needed=True),
    SIDE,
    Column("found", "yes_no", "The plan has a foramen of this name.", needed=True),
    _mm("centre_error_mm", "From its centre to the true one.", 0),
    _text("nearest_label", "Planned foramen nearest to the true centre."),
    _mm("nearest_mm", "Distance of that one.", 0),
    Column("swapped", "yes_no", "That one has another name.", needed=True),
)
TRUE_TRAJECTORIES = (
    CASE,
    _text("id", "Name of the path in its plan.", needed=True),
    TECHNIQUE,
    SIDE,
    _mm("true_foramina_mm", "True clearance from the foramina."),
    _mm("true_canal_mm", "True clearance from the canal."),
    _mm("true_walls_mm", "True clearance from the walls, over the deeper half."),
    _mm("true_joint_mm", "The same for the part of the joint's wall that faces the back."),
    _mm("over_claim_foramina_mm", "Reported minus true clearance; positive claims too much."),
    _mm("over_claim_canal_mm", "The same for the canal."),
    _mm("over_claim_walls_mm", "The same for the walls."),
    _part("predicted_breach", "Probability of any breach as planned."),
    _part("true_breach", "Share of needles, misplaced at random, that truly breach."),
)
TABLES: dict[str, tuple[Column, ...]] = {
    "cases": CASES,
    "trajectories": TRAJECTORIES,
    "feasibility": FEASIBILITY,
    "foramina": FORAMINA,
    "anatomy": ANATOMY,
    "findings": FINDINGS,
    "timings": TIMINGS,
    "true_foramina": TRUE_FORAMINA,
    "true_trajectories": TRUE_TRAJECTORIES,
}
KEYS: dict[str, tuple[str, ...]] = {
    "cases": ("case_id",),
    "trajectories": ("case_id", "id"),
    "feasibility": ("case_id", "technique", "side"),
    "foramina": ("case_id", "level", "side"),
    "anatomy": ("case_id",),
    "timings": ("case_id",),
    "true_foramina": ("case_id", "level", "side"),
    "true_trajectories": ("case_id", "id"),
}
"""What is unique in a table."""
COVARIATE = "covariate_"
"""How the columns of the manifest's covariates begin in `cases`."""


def dictionary_rows(extra: Iterable[Column] = ()) -> list[dict[str, str]]:
    """Return the data dictionary; extra: columns of `cases` that the manifest brought."""
    out = []
    for table, columns in TABLES.items():
        for column in (*columns, *(extra if table == "cases" else ())):
            bounds = [f"{value:g}" for value in (column.low, column.high) if value is not None]
            out.append(
                {
                    "table": table,
                    "column": column.name,
                    "type": column.kind,
                    "unit": column.unit,
                    "definition": column.definition,
                    "allowed": ", ".join(column.allowed) or " to ".join(bounds),
                    "may_be_empty": "no" if column.needed else "yes",
                    "source": column.source,
                }
            )
    return out

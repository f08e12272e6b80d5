"""What the numbering of S1 rests on, and what speaks against it.

Without the whole spine nobody can number a transitional vertebra for certain: on lumbar MRI alone
14 % of such numberings were wrong (Tokgoz 2014, Korean J Radiol 15:258). So the evidence in the
field is told, and a warning where it is missing or contradicts. All thresholds are assumed; in
ten real people the iliac crests lay 25 to 60 mm above the endplate, the joint's upper end 15 to
35 mm above the S1 foramen.
"""

from __future__ import annotations

from planner.anatomy.findings.level_evidence import LevelEvidence, gather
from planner.model.anatomy import Anatomy
from planner.model.finding import Finding, Weight
from planner.model.volume import Volume

DISC_FIELD_MM = 20.0
"""The CT must go on this far above the endplate for a disc and the plate of L5 to be seen."""
FLAT_DISC_MM = 3.0
"""Less is nearly no disc: sacralised L5, or a worn disc."""
RESIDUAL_MM = 4.0
RESIDUAL_PART = 0.6
"""A gap at S1/S2 of this part of the L5/S1 disc is as tall as a lumbar one."""
LEAST_JOINT_MM = 8.0
CREST_RANGE_MM = (10.0, 75.0)
TOUCH_MM2 = 60.0
"""Contact of a broad transverse process; single triangles come from label errors."""
USUAL_PAIRS = 4


def find_numbering(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Weigh the evidence for S1: a record where it agrees, a warning where not or missing."""
    seen = gather(anatomy, volume)
    against, lacking = _against(seen), _lacking(seen)
    facts = "; ".join(_facts(seen))
    measures = _measures(seen)
    if against:
        text = (
            f"the numbering of S1 is in doubt: {'; '.join(against)}. Evidence: {facts}. A "
            "transitional vertebra shifts every level named in the plan; count from above."
        )
        return (Finding("s1_numbering", text, Weight.WARNING, measures),)
    if lacking:
        text = (
            f"the numbering of S1 is not settled by this CT: {'; '.join(lacking)}. It rests on: "
            f"{facts}."
        )
        return (Finding("s1_numbering", text, Weight.WARNING, measures),)
    return (Finding("s1_numbering", f"S1 rests on: {facts}.", Weight.RECORD, measures),)


def _against(seen: LevelEvidence) -> list[str]:
    out = []
    imaged = seen.field_mm >= DISC_FIELD_MM
    if imaged and seen.disc is None:
        out.append("no disc is seen above the S1 endplate (sacralised L5?)")
    if seen.disc is not None and seen.disc.height_mm < FLAT_DISC_MM:
        out.append(f"the disc above S1 is only {seen.disc.height_mm:.1f} mm high (sacralised L5?)")
    if seen.residual is not None:
        usual = seen.disc.height_mm if seen.disc is not None else RESIDUAL_MM / RESIDUAL_PART
        if seen.residual.height_mm >= max(RESIDUAL_MM, RESIDUAL_PART * usual):
            out.append(
                f"between S1 and S2 lies a disc of {seen.residual.height_mm:.1f} mm, like a lumbar "
                "one (lumbarised S1?)"
            )
    for side, area in seen.touch_mm2.items():
        if area >= TOUCH_MM2:
            out.append(
                f"bone from above touches {area:.0f} mm2 of the {side} ala (transverse process of "
                "a transitional L5, or a bony bridge?)"
            )
    for side, height in seen.joint_mm.items():
        if height < LEAST_JOINT_MM:
            out.append(f"the {side} ilium joins the ala only {height:.0f} mm above the S1 foramen")
    # A pelvis that lies askew lifts one crest and lowers the other: both must be out of range.
    heights = list(seen.crest_mm.values())
    if heights and (max(heights) < CREST_RANGE_MM[0] or min(heights) > CREST_RANGE_MM[1]):
        told = " and ".join(f"{height:.0f}" for height in heights)
        out.append(f"the iliac crests lie {told} mm above the S1 endplate")
    if seen.pairs > USUAL_PAIRS:
        out.append(f"{seen.pairs} pairs of foramina")
    return out


def _lacking(seen: LevelEvidence) -> list[str]:
    out = []
    if seen.disc is None:
        out.append(
            f"it ends {seen.field_mm:.0f} mm above the S1 endplate, so the L5/S1 disc is not seen"
        )
        if not seen.crest_mm:
            out.append("nor are the iliac crests")
    return out


def _facts(seen: LevelEvidence) -> list[str]:
    out = []
    if seen.disc is not None:
        out.append(
            f"L5/S1 disc {seen.disc.height_mm:.1f} mm high, tilted {seen.disc.tilt_deg:.0f} degrees"
        )
    if seen.residual is not None:
        out.append(f"S1/S2 remnant {seen.residual.height_mm:.1f} mm")
    out.append(f"{seen.pairs} pairs of foramina")
    for what, heights in (
        ("joint to the ilium up to {} mm above the S1 foramen", seen.joint_mm),
        ("iliac crest {} mm above the endplate", seen.crest_mm),
    ):
        if heights:
            both = " and ".join(f"{value:.0f} ({side})" for side, value in heights.items())
            out.append(what.format(both))
    return out


def _measures(seen: LevelEvidence) -> dict[str, float]:
    out = {"field_above_endplate_mm": seen.field_mm, "foramen_pairs_count": float(seen.pairs)}
    if seen.disc is not None:
        out["l5_s1_disc_mm"] = seen.disc.height_mm
        out["l5_s1_disc_tilt_deg"] = seen.disc.tilt_deg
    if seen.residual is not None:
        out["s1_s2_disc_mm"] = seen.residual.height_mm
    for name, heights in (("joint_above_s1_foramen", seen.joint_mm), ("crest", seen.crest_mm)):
        out |= {f"{name}_{side}_mm": value for side, value in heights.items()}
    return out | {f"touching_{side}_mm2": area for side, area in seen.touch_mm2.items()}

"""Whether an anatomy can be trusted: independent evidence, added up.

What is asked here was not used to find the anatomy. Openings through the plate are found without a
template; shape and size are compared with other people's; the segmentation says how far the image
bore it out. Every single measure is weak, and right anatomies fail one now and then; together they
tell right from wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.anatomy.findings import level_evidence
from planner.anatomy.findings.view import view_of
from planner.anatomy.plausibility import IMPOSSIBLE, WEAKLY_DOUBTED, weaken
from planner.anatomy.tunnels import find_openings, seen_through, unroll
from planner.model.anatomy import SIDES, Anatomy, Check
from planner.model.volume import Volume

UPPER = tuple(f"foramen_{level}_{side}" for level in ("s1", "s2", "s3") for side in SIDES)
UNNAMED_HU, SEEN_HU, OFF_CENTRE_MM = (0.0, 145.0), (10.0, 1000.0), (0.0, 5.0)
"""Of 142 right anatomies two in a hundred have an unnamed opening deeper than the first; of their
foramina one in a hundred is fainter than the second, or has its opening further beside it."""
IMAGE_LIMITS = (
    ("contrast", (0.2, 1.0), 0.1, "1", "the place of the pelvis"),
    ("support_sacrum", (0.62, 1.0), 0.45, "1", "the sacrum's surface"),
    ("support_lower", (0.55, 1.0), 0.35, "1", "the sacrum's lower end"),
    ("support_endplate", (0.45, 1.0), 0.25, "1", "the S1 endplate"),
)
"""Least share that all of 142 right anatomies had, and one so low that it refuses alone: anatomies
on wrong levels measured 0.02 to 0.4 at one of these places."""
GROSS_UNNAMED_HU = 600.0
"""An opening this deep without a name is a hole in the labels as well, and refuses alone: no right
anatomy of 142 had one above 564."""
OPENING_MM2 = (18.0, 300.0)
"""Area of an opening that could be a foramen: smaller ones are noise, larger ones a thin ala."""
SACRAL_GAP_MM = (0.0, 6.0)
"""Of the gap between S1 and S2; a larger one refuses alone. Right anatomies had 2.7 mm at most,
those that took L5 for S1 had the L5/S1 disc there, of 7.6 to 8.9 mm. Dark marrow can look the same:
on one real CT half of the rays, just enough to count, see 8.1 mm in one of 24 poses."""
JOINTS_MM = (8.0, 60.0)
JOINT = "joint_above_s1_{side}"
USUAL_JOINT_MM = 24.0
"""From the S1 foramen up to the upper end of the sacroiliac joint: 15 to 35 in ten people."""
USUAL_GAPS_MM = {
    "endplate_to_s1": (32.9, 3.0),
    "s1_to_s2": (25.4, 3.8),
    "s2_to_s3": (19.1, 2.7),
}
"""Mean and spread, that of the size of people included; see `plausibility`."""
NOT_SEEN_HU = -50.0
"""Contrast of a foramen for which the plate gives none."""
FAR_MM = 12.0


def gather(anatomy: Anatomy, volume: Volume) -> dict[str, float]:
    """Measure the evidence of the plate's openings and of the shape, by name.

    Raises UntrustedAnatomyError when a structure that must be kept clear of was not found.
    """
    out: dict[str, float] = {}
    plate = unroll(view_of(anatomy, volume))
    unnamed = [0.0]
    if plate is not None:
        for item in anatomy.foramina:
            contrast, shift = seen_through(plate, item, anatomy)
            out[f"seen_through_{item.name}"] = contrast if np.isfinite(contrast) else NOT_SEEN_HU
            out[f"off_centre_{item.name}"] = shift if np.isfinite(shift) else FAR_MM
        unnamed += [
            opening.depth_hu
            for opening in find_openings(plate, anatomy)
            if not opening.name and OPENING_MM2[0] <= opening.area_mm2 <= OPENING_MM2[1]
        ]
    out["unnamed_opening"] = max(unnamed)
    failed = [check for check in anatomy.checks if not check.passed]
    out["failed_checks"] = float(len(failed))
    out["doubt"] = float(-sum(np.log(check.factor) for check in failed))
    out |= {f"check_{check.name}": check.measured for check in anatomy.checks}
    seen = level_evidence.gather(anatomy, volume)
    if seen.residual is not None:
        out["gap_below_s1"] = seen.residual.height_mm
    return out | {f"joint_above_s1_{side}": height for side, height in seen.joint_mm.items()}


@dataclass(frozen=True)
class Term:
    """A feature's part in the judgement: weight * (value - middle) / spread, bounded to MOST."""

    middle: float
    spread: float
    weight: float

    def of(self, value: float) -> float:
        """The term's part of the log odds."""
        return self.weight * float(np.clip((value - self.middle) / self.spread, -MOST, MOST))


def judge(anatomy: Anatomy, volume: Volume, evidence: dict[str, float]) -> Anatomy:
    """Add up all evidence: the anatomy with its confidence as a whole, and every check.

    evidence: of a built-in segmentation; without it only the plate's openings and the levels are
    checked, and no probability is stated.
    Raises UntrustedAnatomyError when a structure that must be kept clear of was not found.
    """
    known = evidence | gather(anatomy, volume)
    asked = evidence_checks(known)
    failed = [check for check in asked if not check.passed]
    sure = weaken(anatomy.confidences, failed)
    return replace(
        anatomy,
        confidence=probability(known) if evidence else anatomy.confidence,
        checks=(*anatomy.checks, *asked),
        confidences=sure,
        foramina=tuple(
            replace(item, confidence=sure.get(item.name, item.confidence))
            for item in anatomy.foramina
        ),
        warnings=(*anatomy.warnings, *(check.message for check in failed)),
    )


def evidence_checks(evidence: dict[str, float]) -> tuple[Check, ...]:
    """All checks of the plate's openings, of what the image bears out, and of the levels."""
    return (*plate_checks(evidence), *image_checks(evidence), *level_checks(evidence))


def plate_checks(evidence: dict[str, float]) -> tuple[Check, ...]:
    """Every opening has a name, and every named foramen of S1 to S3 is an opening."""
    depth = evidence["unnamed_opening"]
    words = (
        f"the plate of the sacrum is open where no foramen has a name (by {depth:.0f} HU, at most "
        f"{UNNAMED_HU[1]:.0f} expected): a level may be named wrong, or a fifth pair be missed"
    )
    factor = IMPOSSIBLE if depth > GROSS_UNNAMED_HU else WEAKLY_DOUBTED
    out = [Check("unnamed_opening", depth, UNNAMED_HU, "HU", (), factor, words)]
    for name in UPPER:
        if f"seen_through_{name}" not in evidence:
            continue
        contrast, shift = evidence[f"seen_through_{name}"], evidence[f"off_centre_{name}"]
        words = f"{name} cannot be seen through the plate: it is {contrast:.0f} HU darker than "
        words += f"around, {SEEN_HU[0]:.0f} HU or more are expected"
        out.append(Check(f"seen_{name}", contrast, SEEN_HU, "HU", (name,), WEAKLY_DOUBTED, words))
        words = f"the opening at {name} lies {shift:.0f} mm beside it, at most "
        words += f"{OFF_CENTRE_MM[1]:.0f} mm expected"
        check = Check(f"centred_{name}", shift, OFF_CENTRE_MM, "mm", (name,), WEAKLY_DOUBTED, words)
        out.append(check)
    return tuple(out)


def image_checks(evidence: dict[str, float]) -> tuple[Check, ...]:
    """How far the image bears out what was fitted to it."""
    out = []
    for name, limit, gross, unit, what in IMAGE_LIMITS:
        if name in evidence:
            value = evidence[name]
            factor = IMPOSSIBLE if value < gross else WEAKLY_DOUBTED
            words = f"{what} is borne out by the image to {value:.2f} only, {limit[0]:.2f} or more "
            words += "is expected"
            out.append(Check(name, value, limit, unit, (), factor, words))
    return tuple(out)


def level_checks(evidence: dict[str, float]) -> tuple[Check, ...]:
    """S1 and S2 are grown together, and the joints reach above the S1 foramina, where measured."""
    out = []
    if "gap_below_s1" in evidence:
        gap = evidence["gap_below_s1"]
        words = f"between S1 and S2 lies a gap of {gap:.1f} mm, at most {SACRAL_GAP_MM[1]:.0f} mm "
        words += "is expected: what is named S1 may be L5, or S1 may be lumbarised"
        out.append(Check("gap_below_s1", gap, SACRAL_GAP_MM, "mm", (), IMPOSSIBLE, words))
    joint = _mean(evidence, JOINT, np.nan)
    if np.isfinite(joint):
        words = f"the sacroiliac joints end {joint:.0f} mm above the S1 foramina, "
        words += f"{JOINTS_MM[0]:.0f} to {JOINTS_MM[1]:.0f} mm expected: S1 may be named wrong"
        out.append(Check("joints_above_s1", joint, JOINTS_MM, "mm", (), WEAKLY_DOUBTED, words))
    return tuple(out)


MOST = 3.0
CERTAIN = 0.98
"""The most that is stated: of 120 segmentations above 0.95 that had no part in the fit, 118 were
right."""
CONSTANT = 6.255
TERMS = {
    "support_sacrum": Term(0.797, 0.0972, 1.060),
    "support_lower": Term(0.781, 0.138, 0.333),
    "support_endplate": Term(0.961, 0.177, 0.115),
    "least_seen_through_hu": Term(40.4, 25.8, 0.106),
    "most_off_centre_mm": Term(2.69, 1.29, -0.613),
    "unnamed_opening_hu": Term(0.0, 21.2, -0.193),
    "doubt": Term(0.0, 0.0629, -0.514),
    "joint_above_s1_mm": Term(23.5, 7.01, 0.324),
    "spacing": Term(0.903, 0.539, -1.426),
    "asymmetry_mm": Term(1.19, 0.878, -0.596),
}
"""Fitted by `scripts/evaluate_confidence.py` to 162 segmentations of ten people, 142 of them right:
random acquisitions, the same with turned headers, and starts displaced on purpose. Bone contrast,
the least contrast of a foramen's wall and the mean contrast seen through the plate added nothing to
these and got no weight. Tested on 221 others, of fresh acquisitions and of 24 phantoms: fitted to
those, with each person left out, it would tell right from wrong no better."""


def features(evidence: dict[str, float]) -> dict[str, float]:
    """Take from the evidence of a built-in segmentation what the judgement rests on."""
    walls = [evidence[f"wall_{name}"] for name in UPPER]
    seen = [evidence.get(f"seen_through_{name}", NOT_SEEN_HU) for name in UPPER]
    off = [evidence.get(f"off_centre_{name}", FAR_MM) for name in UPPER]
    return {
        "contrast": evidence["contrast"],
        "support_sacrum": evidence["support_sacrum"],
        "support_lower": evidence["support_lower"],
        "support_endplate": evidence["support_endplate"],
        "least_wall_hu": min(walls),
        "least_seen_through_hu": min(seen),
        "mean_seen_through_hu": float(np.mean(seen)),
        "most_off_centre_mm": max(off),
        "unnamed_opening_hu": evidence["unnamed_opening"],
        "doubt": evidence["doubt"],
        "joint_above_s1_mm": _mean(evidence, JOINT, USUAL_JOINT_MM),
        "spacing": max(
            abs(_mean(evidence, f"check_{name}_{{side}}", usual) - usual) / spread
            for name, (usual, spread) in USUAL_GAPS_MM.items()
        ),
        "asymmetry_mm": max(
            evidence.get(f"check_{level}_left_to_right", 0.0) for level in ("s1", "s2", "s3")
        ),
    }


def _mean(evidence: dict[str, float], name: str, otherwise: float) -> float:
    """Mean over the sides on which something was measured."""
    known = [evidence[key] for side in SIDES if (key := name.format(side=side)) in evidence]
    return float(np.mean(known)) if known else otherwise


def log_odds(evidence: dict[str, float]) -> float:
    """Natural logarithm of the odds that every foramen of S1 to S3 is right, uncapped."""
    values = features(evidence)
    return CONSTANT + sum(term.of(values[name]) for name, term in TERMS.items())


def probability(evidence: dict[str, float]) -> float:
    """Probability that every foramen of S1 to S3 is named right and within 3 mm."""
    return min(float(1.0 / (1.0 + np.exp(-log_odds(evidence)))), CERTAIN)

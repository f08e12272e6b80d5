"""A dysmorphic sacrum: no room for a straight screw through S1, or a steep corridor in the ala.

Two measures, see `corridor`. The first is the working definition of recent series: an upper
segment without room for a transverse transiliac-transsacral screw, of 7.3 mm in BMC Musculoskelet
Disord 2023;24:536 (30 % of 267 pelves). Wagner 2017 (Spine J 17:1141) measured 13.1 +- 5 mm for
the height of the corridor.

The second is the score of Kaiser 2014, coronal angle + 2 x axial angle > 70. Its landmarks are not
published in repeatable form; on ten real sacra our reading of them gives 20 +- 4 degrees coronal
and 5 +- 5 axial, where Kaiser found 22.6 +- 11.1 and 11 +- 10.5, and no score above 42. So the
angles are recorded, and the cut of 70 is a note on its own only where even ours exceeds it.
"""

from __future__ import annotations

import numpy as np

from planner.anatomy.findings.corridor import corridor_axis, room, transsacral_width
from planner.anatomy.findings.view import view_of
from planner.model.anatomy import SIDES, Anatomy
from planner.model.finding import Finding, Weight
from planner.model.volume import Volume

SCREW_MM = 7.3
KAISER_SCORE = 70.0


def find_dysmorphism(anatomy: Anatomy, volume: Volume) -> tuple[Finding, ...]:
    """Measure the corridors of S1; a note where they are narrow or steep (41 % of people are)."""
    heights = {
        side: float(anatomy.frame.to_sacrum(item.centre)[2])
        for side in SIDES
        if (item := anatomy.foramen("S1", side)) is not None
    }
    if not heights:
        return ()
    view = view_of(anatomy, volume)
    space = room(view)
    width = transsacral_width(view, space, float(np.mean(list(heights.values()))))
    measures = {"transsacral_corridor_mm": width}
    scores = []
    for side, height in heights.items():
        axis = corridor_axis(view, space, height, side)
        if axis is not None:
            measures[f"coronal_{side}_deg"] = axis.coronal_deg
            measures[f"axial_{side}_deg"] = axis.axial_deg
            scores.append(axis.score)
    score = max(scores, default=0.0)
    measures["largest_score_deg"] = score
    narrow, steep = width < SCREW_MM, score > KAISER_SCORE
    facts = (
        f"the widest straight corridor through S1 from joint to joint measures {width:.1f} mm "
        f"(below {SCREW_MM} mm counts as dysmorphic); coronal plus twice the axial angle of the "
        f"ala's corridor is at most {score:.0f} degrees (above {KAISER_SCORE:.0f} dysmorphic in "
        "Kaiser 2014, measured by hand)"
    )
    if not (narrow or steep):
        return (Finding("dysmorphism", f"{facts}.", Weight.RECORD, measures),)
    return (
        Finding(
            "dysmorphism",
            f"note: the upper sacrum looks dysmorphic, as in about four of ten people: {facts}. "
            "The ala is narrow or steep; look at the corridor before choosing a short-axis path.",
            Weight.NOTE,
            measures,
        ),
    )

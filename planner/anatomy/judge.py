"""Whether an anatomy can be trusted: independent evidence, added up.

What is asked here was not used to find the anatomy. Openings through the plate are found without a
template; shape and size are compared with other people's; the segmentation says how far the image
bore it out. Every single measure is weak, and right anatomies fail one now and then; together they
tell right from wrong.
"""

from __future__ import annotations

import numpy as np

from planner.anatomy.findings.view import view_of
from planner.anatomy.tunnels import find_openings, seen_through, unroll
from planner.model.anatomy import Anatomy
from planner.model.volume import Volume

UPPER = ("S1", "S2", "S3")
OPENING_MM2 = (9.0, 300.0)
"""Area of an opening that could be a foramen: smaller ones are noise, larger ones a thin ala."""
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
    return out

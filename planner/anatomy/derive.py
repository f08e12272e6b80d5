"""From a label map to the anatomy that planning uses: the one place where the steps meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.axis import canal_centreline, sacral_axis
from planner.anatomy.endplate import find_endplate
from planner.anatomy.foramina import centroids, find_foramina
from planner.anatomy.material import prepare
from planner.anatomy.midplane import Midplane, find_midplane
from planner.anatomy.orientation import check_course, check_endplate, check_left, check_orientation
from planner.anatomy.plausibility import check_shape, weaken
from planner.anatomy.surface import sacral_surface
from planner.geometry.grid import Float, Grid
from planner.geometry.order import in_common_order
from planner.model.anatomy import LABELS, LEVELS, Anatomy, SacralFrame

CANAL_COURSE_MM = 40.0
"""Length of the canal that gives its upper direction: one segment and a half."""
NEEDED = (
    "sacrum",
    "sacral_canal",
    *(f"foramen_{v}_{s}" for v in ("s1", "s2", "s3") for s in ("left", "right")),
)
"""What every technique leans on; the least certain of these is the anatomy's confidence."""
MISSING_CONFIDENCE = 0.0
"""Of a foramen of S1 to S3 that was not found: no clearance can be stated to what is not known."""


def derive_anatomy(
    labels: NDArray[np.uint8],
    grid: Grid,
    *,
    source: str,
    confidences: dict[str, float] | None = None,
    warnings: Sequence[str] = (),
) -> Anatomy:
    """Derive landmarks, frame, curves and surface from a label map.

    labels: (I, J, K) uint8 on grid, values of LABELS. source: builtin, provided or
    totalsegmentator. confidences: 0 to 1 by segment name, 1 where absent. warnings: of earlier
    stages, kept in front.
    The geometry depends on labels and grid alone; the same label map gives the same numbers.
    Raises UntrustedAnatomyError when the labels are incomplete, implausible, out of order or on
    the wrong side, and UnsuitableCtError when they contradict the patient frame.
    """
    material = prepare(*in_common_order(labels, grid))
    given = dict(confidences or {})
    centres = centroids(material)
    midplane = find_midplane(material, centres)
    check_left(midplane)
    canal_axis = canal_centreline(material, midplane, _highest(centres))
    check_course(material, midplane, canal_axis)
    course = canal_axis[min(int(CANAL_COURSE_MM / 2.0), len(canal_axis) - 1)]
    endplate = find_endplate(
        material, canal_axis[0], canal_axis[0] - course, midplane.left, midplane.point
    )
    frame = sacral_frame(midplane, endplate.centre, endplate.normal)
    axis = sacral_axis(material, frame, canal_axis)
    askew = check_orientation(frame, axis, canal_axis)
    remarks = [*askew, *cut_off(labels), *check_endplate(material, frame, endplate, canal_axis)]
    foramina, missing = find_foramina(material, frame, axis, given)
    surface, unsure = sacral_surface(material, frame, axis, canal_axis, foramina)
    checks = check_shape(material, frame, axis, foramina, surface)
    found = weaken(given | {item.name: item.confidence for item in foramina}, checks)
    foramina = tuple(replace(item, confidence=found[item.name]) for item in foramina)
    remarks += [check.message for check in checks if not check.passed]
    present = {item.name for item in foramina}
    needed = [
        found.get(n, 1.0) if n in present or not n.startswith("foramen") else MISSING_CONFIDENCE
        for n in NEEDED
    ]
    return Anatomy(
        grid=grid,
        labels=labels,
        frame=frame,
        endplate_centre=endplate.centre,
        endplate_normal=endplate.normal,
        axis=axis,
        canal_axis=canal_axis,
        foramina=foramina,
        surface=surface,
        source=source,
        confidence=float(min(needed)),
        confidences=found,
        warnings=(*warnings, *remarks, *missing, *unsure),
        checks=checks,
    )


def cut_off(labels: NDArray[np.uint8]) -> tuple[str, ...]:
    """Warn where the sacrum reaches the border of the scan."""
    sacrum = labels == LABELS["sacrum"]
    if not any(sacrum.take((0, -1), axis=axis).any() for axis in range(3)):
        return ()
    return (
        "the sacrum reaches the border of the scan: what is cut off counts as background, and "
        "clearances near the cut are not to be trusted",
    )


def sacral_frame(midplane: Midplane, centre: Float, normal: Float) -> SacralFrame:
    """Build the frame: endplate centre and normal brought into the midplane.

    centre: (3,) patient LPS, mm. normal: (3,) unit, cranial.
    """
    x = midplane.left
    z = normal - (normal @ x) * x
    z = z / np.linalg.norm(z)
    origin = centre - midplane.lateral(centre) * x
    return SacralFrame(np.asarray(origin), np.column_stack([x, np.cross(z, x), z]))


def _highest(centres: dict[tuple[str, str], Float]) -> Float:
    """Mean centroid of the highest level that was found."""
    level = min((level for level, _ in centres), key=LEVELS.index)
    return np.asarray(np.mean([p for (v, _), p in centres.items() if v == level], axis=0))

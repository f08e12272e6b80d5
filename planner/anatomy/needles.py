"""How needles lie in the sacrum: levels, angles, incidence, and where they enter and leave bone.

A needle is given by its bone entry and tip, patient LPS, mm; all functions take (N, 3) of each.
Angles: inclination is to the endplate plane, positive with the tip cranial; azimuth is in the
endplate plane, 0 straight posterior to anterior, negative with the tip lateral; the AP angle is
seen in the coronal plane, from cranial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.fields import SHAFT_MM, ClearanceFields
from planner.anatomy.levels import SideLandmarks, to_side
from planner.geometry.fields import exit_distances, path_minimum, settling_depths
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy

# The entry is sought this far inside and outside of where the smoothed border has it; behind it the
# needle's axis has left the bone for good, or meets it a second time.
ENTRY_REACH_MM = (1.5, 6.0)
CLEAR_MM = 0.5
# Of a voxel: what less of the axis runs through labelled bone is the staircase of its border.
LEAST_SHARE = 0.1
SHAFT_STEP = 0.25
EXIT_REACH_MM = 150.0
# The entry rule: posterior clearance within (r + limit) / cos(incidence) + this of the entry.
ENTRY_ALLOWANCE_MM = 3.0
# At flatter angles the allowance no longer grows: such entries are refused anyway.
ENTRY_STEEPEST_DEG = 65.0


@dataclass(frozen=True, eq=False)
class NeedlePoses:
    """Where needles lie relative to one side's landmarks; every array has N rows.

    entries, tips: (N, 3) lateral, y, z of the sacral frame. level, lateral_offset_mm: of the entry.
    """

    entries: Float
    tips: Float
    level: Float
    lateral_offset_mm: Float
    inclination_deg: Float
    azimuth_deg: Float
    ap_deg: Float
    midsagittal_deg: Float


def poses(anatomy: Anatomy, landmarks: SideLandmarks, entries: Float, tips: Float) -> NeedlePoses:
    """Describe (N, 3) needles by the levels and angles of the techniques."""
    start = to_side(anatomy.frame.to_sacrum(entries), landmarks.side)
    end = to_side(anatomy.frame.to_sacrum(tips), landmarks.side)
    along = end - start
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return NeedlePoses(
        start,
        end,
        landmarks.level(start),
        landmarks.lateral_offset(start),
        np.degrees(np.arcsin(np.clip(along[:, 2], -1, 1))),
        -np.degrees(np.arctan2(along[:, 0], -along[:, 1])),
        np.degrees(np.arctan2(np.abs(along[:, 0]), along[:, 2])),
        np.degrees(np.arcsin(np.clip(np.abs(along[:, 0]), 0, 1))),
    )


def unit(vectors: Float) -> Float:
    """Scale (N, 3) vectors to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def incidences(fields: ClearanceFields, entries: Float, tips: Float) -> Float:
    """Angle (N,) between needle and cortex normal at the entry, deg."""
    cosine = -(fields.normals(entries) * unit(tips - entries)).sum(axis=1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def far_depths(fields: ClearanceFields, tips: Float, directions: Float) -> Float:
    """Distance (N,) from tips on to the far cortex, mm."""
    return exit_distances(fields.solid, tips, directions, EXIT_REACH_MM)


def line_entries(
    fields: ClearanceFields, tips: Float, directions: Float
) -> tuple[Float, NDArray[np.bool_]]:
    """Bone entries (N, 3) of needles that end at tips, and whether there is one (N,).

    The entry is where the line back from the tip leaves the solid. Tips outside the solid, and
    lines that do not leave it, give themselves and False. Whether the line comes back to the solid
    further out, `reenters` tells.
    """
    back = exit_distances(fields.solid, tips, -directions, EXIT_REACH_MM)
    return tips - back[:, None] * directions, (back > 0) & (back < EXIT_REACH_MM)


def reenters(fields: ClearanceFields, entries: Float, directions: Float) -> np.ndarray:
    """Tell (N,) whether the shaft behind the entry meets bone again, be it one voxel thick.

    Read off the labels as they are: smoothing takes a thin lamina away.
    """
    ahead, behind = ENTRY_REACH_MM
    inside = entries + ahead * directions
    out = exit_distances(fields.labelled, inside, -directions, ahead + behind)
    near = inside - (out[:, None] + CLEAR_MM) * directions
    far = entries - SHAFT_MM * directions
    lowest = path_minimum(fields.labelled, near, far, SHAFT_STEP)
    return np.asarray((lowest < -LEAST_SHARE) | (out >= ahead + behind))


def entry_depth_limits(radius_mm: float, limit_mm: float, incidence_deg: Float) -> Float:
    """Depth (N,) by which posterior clearance must have reached limit_mm, mm."""
    cosine = np.cos(np.radians(np.clip(incidence_deg, 0, ENTRY_STEEPEST_DEG)))
    return np.asarray((radius_mm + limit_mm) / cosine + ENTRY_ALLOWANCE_MM)


def settled_depths(
    fields: ClearanceFields, entries: Float, tips: Float, radius_mm: float, limit_mm: float
) -> Float:
    """Depth (N,) from which on the posterior cortex keeps limit_mm from the needle, mm."""
    return settling_depths(fields.posterior, entries, tips, radius_mm + limit_mm)


def hip_distances(
    fields: ClearanceFields, entries: Float, directions: Float, radius_mm: float
) -> Float:
    """Least distance (N,) from the shaft behind the entry (110 mm) to a hip, mm."""
    back = entries - SHAFT_MM * directions
    return np.asarray(path_minimum(fields.hips, entries, back) - radius_mm)


def shaft_foramen_distances(
    fields: ClearanceFields, entries: Float, directions: Float, radius_mm: float
) -> Float:
    """Least distance (N,) from the shaft behind the entry to a foramen, mm."""
    back = entries - SHAFT_MM * directions
    return np.asarray(path_minimum(fields.foramina, entries, back) - radius_mm)

"""Independent evidence for the numbering of S1, measured in the image around the endplate.

Heights over the endplate's plane run along its normal; the crest's along the patient's long axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.curve import arc_length, tangents
from planner.anatomy.findings.discs import Disc, find_disc
from planner.anatomy.findings.view import foramen_stations
from planner.anatomy.orientation import body_axes
from planner.geometry.distance import face_normals
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import SIDES, Anatomy, Region, Side, side_sign
from planner.model.volume import Volume

BONE_HU = 200.0
NOT_IMAGED_HU = -2000.0
DISC_REACH_MM = (-9.0, 24.0)
"""Rays across L5/S1: discs of 5 to 15 mm, and the cancellous bone beyond both plates."""
DISC_THICKEST_MM = 16.0
RESIDUAL_REACH_MM = (-16.0, 16.0)
"""Rays across S1/S2, whose joint lies at the height of the S1 foramina, give or take 6 mm."""
RESIDUAL_THICKEST_MM = 9.0
CREST_LATERAL_MM = np.arange(45.0, 150.0, 2.5)
CREST_DEEP_MM = np.arange(-90.0, 70.0, 2.5)
CREST_HEIGHT_MM = np.arange(-20.0, 110.0, 2.5)
"""Only ilium lies here; the lowest ribs end above, separated by a gap."""
CREST_POINTS = 3
ALA_MEDIAL_MM = 24.0
TOUCH_MM = np.arange(2.0, 6.1, 0.5)
"""Bone that goes on this far beyond the ala's upper surface touches it."""
TOUCH_HU = 150.0


@dataclass(frozen=True)
class LevelEvidence:
    """What the image shows. None where it does not reach, or for a disc that is not there.

    field_mm: how far the CT goes above the middle of the endplate. pairs: foramina found on both
    sides. joint_mm: by side, height of the joint's upper end over the S1 foramen. crest_mm: by
    side, iliac crest over the endplate's middle. touch_mm2: area of the upper alae that bone
    from above touches.
    """

    field_mm: float
    disc: Disc | None
    residual: Disc | None
    pairs: int
    joint_mm: dict[Side, float]
    crest_mm: dict[Side, float]
    touch_mm2: dict[Side, float]


def gather(anatomy: Anatomy, volume: Volume) -> LevelEvidence:
    """Measure all evidence."""
    found = {item.level for item in anatomy.foramina if anatomy.foramen(item.level, "left")}
    pairs = sum(anatomy.foramen(level, "right") is not None for level in found)
    origin, axes = anatomy.frame.origin, anatomy.frame.axes
    return LevelEvidence(
        field_mm=_field_above(anatomy, volume),
        disc=find_disc(volume, origin, axes, DISC_REACH_MM, DISC_THICKEST_MM),
        residual=_residual_disc(anatomy, volume),
        pairs=pairs,
        joint_mm=joint_heights(anatomy),
        crest_mm=_crests(anatomy, volume),
        touch_mm2=_touching(anatomy, volume),
    )


def _field_above(anatomy: Anatomy, volume: Volume) -> float:
    heights = np.arange(0.0, 120.0, 1.0)
    points = anatomy.frame.to_patient(np.stack([0 * heights, 0 * heights, heights], axis=1))
    outside = np.logical_not(volume.grid.contains(points))
    return float(heights[int(np.argmax(outside))]) if outside.any() else float(heights[-1])


def _residual_disc(anatomy: Anatomy, volume: Volume) -> Disc | None:
    place = foramen_stations(anatomy).get("S1")
    if place is None:
        return None
    nearest = int(np.abs(arc_length(anatomy.axis) - place).argmin())
    up, left = -tangents(anatomy.axis)[nearest], anatomy.frame.axes[:, 0]
    back = np.cross(up, left)
    back /= np.linalg.norm(back)
    axes = np.column_stack([left, back, np.cross(left, back)])
    centre = anatomy.axis[nearest]
    return find_disc(volume, centre, axes, RESIDUAL_REACH_MM, RESIDUAL_THICKEST_MM)


def joint_heights(anatomy: Anatomy) -> dict[Side, float]:
    """Height (mm) of the sacroiliac joint's upper end over the S1 foramen, where both are known."""
    vertices, faces = anatomy.surface.part(Region.SACROILIAC)
    centres = anatomy.frame.to_sacrum(vertices[faces].mean(axis=1)).reshape(-1, 3)
    out: dict[Side, float] = {}
    for side in SIDES:
        own = centres[centres[:, 0] * side_sign(side) > 0, 2]
        foramen = anatomy.foramen("S1", side)
        if len(own) >= 20 and foramen is not None:
            base = float(anatomy.frame.to_sacrum(foramen.centre)[2])
            out[side] = float(np.percentile(own, 97.0)) - base
    return out


def _crests(anatomy: Anatomy, volume: Volume) -> dict[Side, float]:
    """Height at which ilium ends, walking up from the endplate; absent where the CT ends first."""
    left, back, up = body_axes(anatomy.frame).T
    out: dict[Side, float] = {}
    for side in SIDES:
        across, deep, high = np.meshgrid(
            CREST_LATERAL_MM, CREST_DEEP_MM, CREST_HEIGHT_MM, indexing="ij"
        )
        points = (
            anatomy.frame.origin
            + (side_sign(side) * across)[..., None] * left
            + deep[..., None] * back
            + high[..., None] * up
        )
        values = sample(volume.values, volume.grid, points, NOT_IMAGED_HU)
        imaged = np.asarray((values > NOT_IMAGED_HU + 1).any(axis=(0, 1)))
        bone = np.asarray((values > BONE_HU).sum(axis=(0, 1)))
        ends = np.flatnonzero(bone < CREST_POINTS)
        if len(ends) and ends[0] > 0 and imaged[ends[0]]:
            out[side] = float(CREST_HEIGHT_MM[ends[0] - 1])
    return out


def _touching(anatomy: Anatomy, volume: Volume) -> dict[Side, float]:
    """Area (mm2) of each ala's upper surface, before the canal, from which bone goes on upwards."""
    vertices, faces = anatomy.surface.part(Region.SUPERIOR)
    corners = vertices[faces]
    centres, normals = corners.mean(axis=1), face_normals(vertices, faces)
    areas = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    local = anatomy.frame.to_sacrum(centres)
    front = local[:, 1] < float(anatomy.frame.to_sacrum(anatomy.canal_axis[0])[1])
    out: dict[Side, float] = {}
    for side in SIDES:
        mine = front & (local[:, 0] * side_sign(side) > ALA_MEDIAL_MM)
        out[side] = float(areas[mine][_goes_on(volume, centres[mine], normals[mine])].sum())
    return out


def _goes_on(volume: Volume, centres: Float, normals: Float) -> NDArray[np.bool_]:
    points = centres[:, None, :] + TOUCH_MM[None, :, None] * normals[:, None, :]
    values = sample(volume.values, volume.grid, points, NOT_IMAGED_HU)
    return np.asarray((values > TOUCH_HU).all(axis=1))

"""How screws would run through the upper sacral segment: the axis and the width of its corridor.

The safe corridor of S1 is the bone between the anterior, superior and posterior cortex, the
foramina and the canal; its obliquity is read on an outlet view (coronal angle, positive with the
lateral end caudal) and an inlet view (axial angle, positive with the lateral end posterior) as in
Gardner 2010 (J Orthop Trauma 24:622: 21 and 4 degrees in normal, 30 and 15 in dysmorphic sacra)
and Kaiser 2014 (J Bone Joint Surg Am 96:e120). Neither gives its landmarks in a form that a program
could repeat; here the views are the coronal and axial planes of the sacral frame, so the axial
plane is the S1 endplate's, and the axis is the line fitted through the centres of the corridor's
sagittal sections from the body to the joint, each weighted by the squared room that it leaves.

The transsacral corridor is the widest straight line through S1 from joint to joint; the lattice of
its ends makes it up to 0.3 mm too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.findings.view import View
from planner.geometry.fields import Field
from planner.geometry.grid import Float
from planner.model.anatomy import SIDES, Side, side_sign
from planner.model.trajectory import Structure

AROUND = (
    Structure.FORAMINA,
    Structure.CANAL,
    Structure.ANTERIOR,
    Structure.SUPERIOR,
    Structure.POSTERIOR,
)
MEDIAL_MM = 10.0
"""Lateral place where the axis' sections begin: inside the body, off the midline."""
JOINT_MARGIN_MM = 4.0
"""The sections end this far from the joint's surface, in cancellous bone."""
BELOW_FORAMEN_MM = 3.0
"""The corridor of S1 lies above the middle of its foramina; below begins that of S2."""
SMALLEST_ROOM_MM = 2.0
"""Points closer to a border belong to no corridor (a 4 mm screw)."""
FEWEST_SECTIONS = 10
SMALLEST_SECTION_MM2 = 15.0
JOINT_UPPER_MM = -35.0
"""The part of the joint above this height is that of S1."""
LATTICE_MM = 2.5
SAMPLE_MM = 3.0


@dataclass(frozen=True)
class Obliquity:
    """Axis of one side's corridor, degrees."""

    coronal_deg: float
    axial_deg: float

    @property
    def score(self) -> float:
        """Coronal angle plus twice the axial angle (Kaiser 2014)."""
        return self.coronal_deg + 2.0 * self.axial_deg


def room(view: View) -> NDArray[np.float32]:
    """(I, J, K) distance to the nearest border of the corridor, mm; the joint is none."""
    least = np.minimum.reduce([view.distance(structure) for structure in AROUND])
    return np.where(view.outer_depth > 0, least, np.float32(-1.0)).astype(np.float32)


def corridor_axis(
    view: View, space: NDArray[np.float32], foramen_z: float, side: Side
) -> Obliquity | None:
    """Fit the axis of one side's S1 corridor; None where too few sections hold one.

    space: from `room`. foramen_z: height of the S1 foramen's centre, sacral frame, mm.
    """
    lateral = view.lateral(side).ravel()
    end = joint_place(view, side) - JOINT_MARGIN_MM
    high = view.axes[2].ravel() > foramen_z - BELOW_FORAMEN_MM
    y, z = view.axes[1].ravel(), view.axes[2].ravel()
    rows = []
    for index in np.flatnonzero((lateral >= MEDIAL_MM) & (lateral <= end)):
        section = space[index]
        weights = np.where((section > SMALLEST_ROOM_MM) & high, section.astype(float) ** 2, 0.0)
        if (weights > 0).sum() * view.voxel_mm3 < SMALLEST_SECTION_MM2:
            continue
        total = weights.sum()
        rows.append((lateral[index], weights.sum(1) @ y / total, weights.sum(0) @ z / total))
    if len(rows) < FEWEST_SECTIONS:
        return None
    places = np.array(rows)
    back, up = np.polyfit(places[:, 0], places[:, 1:], 1)[0]
    return Obliquity(-float(np.degrees(np.arctan(up))), float(np.degrees(np.arctan(back))))


def joint_place(view: View, side: Side) -> float:
    """Lateral place of the middle of the sacroiliac surface at S1, mm; 0 without one."""
    mesh = view.fields.meshes[Structure.SACROILIAC]
    centres = view.anatomy.frame.to_sacrum(mesh.centres) * (side_sign(side), 1.0, 1.0)
    upper = (centres[:, 0] > 0) & (centres[:, 2] > JOINT_UPPER_MM)
    return float(np.median(centres[upper, 0])) if upper.sum() >= 20 else 0.0


def transsacral_width(view: View, space: NDArray[np.float32], foramen_z: float) -> float:
    """Diameter (mm) of the widest straight line through S1 between the joints; 0 without one."""
    field = Field(view.fields.grid, space, -1.0)
    places = {side: joint_place(view, side) - JOINT_MARGIN_MM for side in SIDES}
    if min(places.values()) < MEDIAL_MM:
        return 0.0
    starts = _openings(view, field, places["left"], foramen_z)
    ends = _openings(view, field, -places["right"], foramen_z)
    if len(starts) == 0 or len(ends) == 0:
        return 0.0
    first, last = np.repeat(starts, len(ends), axis=0), np.tile(ends, (len(starts), 1))
    least = np.full(len(first), np.inf)
    best = SMALLEST_ROOM_MM / 2.0
    # From the middle outwards: most lines fail there, and the rest is never sampled.
    for part in _from_middle(first[0, 0] - last[0, 0]):
        alive = np.flatnonzero(least > best)
        points = first[alive] + part * (last[alive] - first[alive])
        here = field.at(view.anatomy.frame.to_patient(points))
        least[alive] = np.minimum(least[alive], here)
    return 2.0 * max(float(least.max()), 0.0) if (least > best).any() else 0.0


def _openings(view: View, field: Field, x: float, foramen_z: float) -> Float:
    """(N, 3) lattice points of a sagittal plane with room around them, sacral frame."""
    y = np.arange(-30.0, 40.0, LATTICE_MM)
    z = np.arange(foramen_z - BELOW_FORAMEN_MM, 10.0, LATTICE_MM)
    points = np.stack(np.meshgrid([x], y, z, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = field.at(view.anatomy.frame.to_patient(points)) > SMALLEST_ROOM_MM
    return np.asarray(points[inside])


def _from_middle(length_mm: float) -> Float:
    parts = np.linspace(0.0, 1.0, int(np.ceil(length_mm / SAMPLE_MM)) + 1)
    return np.asarray(parts[np.argsort(np.abs(parts - 0.5), kind="stable")])

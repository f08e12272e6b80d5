"""Landmarks of one half of the sacrum that techniques are defined by.

Everything is in the sacral frame, with x replaced by `lateral`: mm from the midplane towards the
side in question. The continuous level lambda is 1 at the S1 posterior foramen's opening, 2 at S2,
2.5 midway to S3: between two openings it is interpolated from the distances to the two planes
across the line of openings; above S1 and below the last opening it is extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from planner.errors import UntrustedAnatomyError
from planner.geometry.distance import face_normals
from planner.geometry.grid import Float
from planner.model.anatomy import LABELS, LEVELS, SIDES, Anatomy, Foramen, Region, Side, side_sign

NEEDED_LEVELS = ("S1", "S2", "S3")
# The part of a channel within this distance of its dorsal opening makes up the opening's outline.
OPENING_REACH_MM = 4.0
# A window of this half-height around a level gives the joint's local direction.
JOINT_WINDOW_MM = 8.0
# Range of joint directions on twenty real sides; estimates beyond it are cut to it.
JOINT_AZIMUTH_RANGE_DEG = (-28.0, 5.0)
JOINT_AZIMUTH_TYPICAL_DEG = -17.0
# The lowest part of the joint's surface that counts as its inferior end.
JOINT_END_MM = 3.0


@dataclass(frozen=True, eq=False)
class SideLandmarks:
    """Landmarks of one side.

    numbers: (N,) levels of the openings. openings: (N, 3) lateral, y, z. tangents: (N, 2) unit
    (y, z), caudal. edges: (N,) lateral edge of each opening, mm lateral. s1_channel: (3,) centre;
    medial_margin: its medial edge, mm lateral.
    low_entry: (2,) lateral and z of E_L, midway between the joint's inferior end and the lateral
    edge of the S3 opening. joint: (M, 2) z and azimuth (deg) of the joint.
    mirrored: levels taken from the other side because their own foramen was not found.
    """

    side: Side
    numbers: Float
    openings: Float
    tangents: Float
    edges: Float
    s1_channel: Float
    medial_margin: float
    low_entry: Float
    joint: Float
    mirrored: tuple[str, ...]

    def level(self, points: ArrayLike) -> Float:
        """Lambda of (..., 3) points (lateral, y, z)."""
        where = np.asarray(points, float)
        along = np.stack(
            [
                (where[..., 1] - o[1]) * t[0] + (where[..., 2] - o[2]) * t[1]
                for o, t in zip(self.openings, self.tangents, strict=True)
            ],
            axis=-1,
        )
        gaps = np.linalg.norm(np.diff(self.openings[:, 1:], axis=0), axis=1)
        out = self.numbers[0] + along[..., 0] / gaps[0]
        for n in range(len(gaps)):
            total = np.maximum(along[..., n] - along[..., n + 1], 1e-6)
            inner = self.numbers[n] + (self.numbers[n + 1] - self.numbers[n]) * np.clip(
                along[..., n] / total, 0, 1
            )
            out = np.where(along[..., n] > 0, inner, out)
        last = self.numbers[-1] + along[..., -1] / gaps[-1]
        return np.asarray(np.where(along[..., -1] > 0, last, out))

    def lateral_offset(self, points: ArrayLike) -> Float:
        """Distance (mm) of (..., 3) points lateral to the interpolated edge of the openings."""
        where = np.asarray(points, float)
        edge = np.interp(self.level(where), self.numbers, self.edges)
        return np.asarray(where[..., 0] - edge)

    def joint_azimuth(self, z: ArrayLike) -> Float:
        """Direction (deg, negative: tip lateral) of the joint's surface at heights z, mm."""
        return np.asarray(np.interp(np.asarray(z, float), self.joint[:, 0], self.joint[:, 1]))


_CACHE: WeakKeyDictionary[Anatomy, dict[str, SideLandmarks]] = WeakKeyDictionary()


def to_side(points_sacrum: ArrayLike, side: Side) -> Float:
    """Turn (..., 3) points or directions of the sacral frame into lateral, y, z (and back)."""
    return np.asarray(np.asarray(points_sacrum, float) * (side_sign(side), 1.0, 1.0))


def side_landmarks(anatomy: Anatomy, side: Side) -> SideLandmarks:
    """Derive (once per anatomy) the landmarks of one side.

    Raises UntrustedAnatomyError where S1, S2 or S3 has a foramen on neither side.
    """
    known = _CACHE.setdefault(anatomy, {})
    if side not in known:
        known[side] = _derive(anatomy, side)
    return known[side]


def _derive(anatomy: Anatomy, side: Side) -> SideLandmarks:
    other = SIDES[1 - SIDES.index(side)]
    numbers, openings, edges, mirrored = [], [], [], []
    for number, level in enumerate(LEVELS, start=1):
        found, source = anatomy.foramen(level, side), side
        if found is None:
            found, source = anatomy.foramen(level, other), other
            if found is None:
                if level in NEEDED_LEVELS:
                    raise UntrustedAnatomyError(
                        f"no {level} foramen was found on either side; the levels of the "
                        "techniques rest on S1, S2 and S3. Provide an anatomy that has them."
                    )
                continue
            mirrored.append(level)
        numbers.append(float(number))
        openings.append(to_side(anatomy.frame.to_sacrum(found.dorsal), source))
        edges.append(_edge(anatomy, found, source))
    line = np.array(openings)
    flow = np.gradient(line[:, 1:], axis=0)
    tangents = flow / np.linalg.norm(flow, axis=1, keepdims=True)
    s1 = anatomy.foramen("S1", side) or anatomy.foramen("S1", other)
    centre = np.zeros(3) if s1 is None else to_side(anatomy.frame.to_sacrum(s1.centre), s1.side)
    margin = 0.0 if s1 is None else float(centre[0] - s1.width_mm / 2.0)
    end, joint = _joint(anatomy, side)
    third = numbers.index(3.0)
    low_entry = (end + (edges[third], line[third, 2])) / 2.0
    return SideLandmarks(
        side,
        np.array(numbers),
        line,
        tangents,
        np.array(edges),
        centre,
        margin,
        low_entry,
        joint,
        tuple(mirrored),
    )


def _edge(anatomy: Anatomy, foramen: Foramen, side: Side) -> float:
    """Lateral edge of an opening, mm from the midplane."""
    reach = np.ceil(OPENING_REACH_MM / anatomy.grid.spacing_mm).astype(int) + 1
    centre = np.round(anatomy.grid.to_ijk(foramen.dorsal)).astype(int)
    low = np.clip(centre - 2 * reach, 0, np.array(anatomy.grid.shape) - 1)
    high = np.clip(centre + 2 * reach + 1, 1, np.array(anatomy.grid.shape))
    part = anatomy.labels[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    inside = np.argwhere(part == LABELS[foramen.name]) + low
    points = to_side(anatomy.frame.to_sacrum(anatomy.grid.to_patient(inside)), side)
    dorsal = to_side(anatomy.frame.to_sacrum(foramen.dorsal), side)
    near = np.abs(points[:, 1] - dorsal[1]) <= OPENING_REACH_MM if len(points) else []
    if not np.any(near):
        return float(dorsal[0] + foramen.width_mm / 2.0)
    return float(np.percentile(points[near, 0], 98))


def _joint(anatomy: Anatomy, side: Side) -> tuple[Float, Float]:
    """Inferior end of the joint (lateral, z) and its azimuth over z."""
    vertices, faces = anatomy.surface.part(Region.SACROILIAC)
    centres = to_side(anatomy.frame.to_sacrum(vertices[faces].mean(axis=1)), side)
    own = centres[:, 0] > 0
    if not own.any():
        raise UntrustedAnatomyError(
            f"the anatomy has no sacroiliac joint surface on the {side}; provide hips or the "
            "joint's surface."
        )
    centres = centres[own]
    normals = to_side(anatomy.frame.direction_to_sacrum(face_normals(vertices, faces[own])), side)
    low = np.percentile(centres[:, 2], 1)
    end = centres[centres[:, 2] <= low + JOINT_END_MM][:, [0, 2]].mean(axis=0)
    rows = []
    for z in np.arange(centres[:, 2].min(), centres[:, 2].max() + 1, JOINT_WINDOW_MM / 2):
        near = np.abs(centres[:, 2] - z) <= JOINT_WINDOW_MM
        mean = normals[near].sum(axis=0)
        angle = JOINT_AZIMUTH_TYPICAL_DEG
        if near.sum() >= 20 and mean[0] > 0:
            angle = -float(np.degrees(np.arctan2(mean[1], mean[0])))
        rows.append((z, float(np.clip(angle, *JOINT_AZIMUTH_RANGE_DEG))))
    return np.asarray(end), np.array(rows)

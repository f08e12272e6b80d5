"""The sacrum's surface, every triangle in one named region.

In order of precedence: walls of canal and foramina (next to their labels and facing them), the
sacroiliac surface (the hip within 4 mm and faced), the tail, the superior surfaces of S1 body and
alae, and front or back. Front and back are decided by what can be seen: a triangle that faces
forward with no bone before it is anterior, one that faces backward with none behind it posterior;
the rest (undercuts, grooves) goes with the nearest of these along the surface. Directions are
local: the sacrum is curved, its back at S4 looks upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.curve import arc_length, station, tangents
from planner.anatomy.material import FORAMINA, Material
from planner.anatomy.patches import (
    UNKNOWN,
    drop_speckles,
    majority,
    neighbours,
    spread,
)
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import (
    REGIONS,
    SIDES,
    Foramen,
    Region,
    SacralFrame,
    SacralSurface,
    Side,
    side_sign,
)

JOINT_MM = 4.0
"""Hip within this is joint (gap 2.4 to 3.8 mm); with 6 mm the ligament zone behind counts too."""
JOINT_FACING = 0.3
"""Least rate at which the hip comes nearer along the triangle's normal."""
JOINT_LEAST_MM2 = 400.0
"""An auricular surface measures 1000 to 1500 mm2; less than this much means the hip is missing."""
WALL_LOOK_MM = 0.75
"""Walls are looked for this far out along the normal, within this of the label: slits of 1.5 mm
between label and bone are bridged, surfaces that look away from a channel are not walls."""
TAIL_MM = 8.0
"""The last part of the axis where triangles that look down it belong to the tail."""
TAIL_FACING = 0.4
SUPERIOR_FACING = 0.6
"""Cosine with the endplate's normal: alae slope by up to 45 degrees before the brim."""
SUPERIOR_LOWEST_MM = -30.0
"""The alae's superior surface descends to the brim, at most one segment below the endplate."""
ARCH_LOWEST_MM = -15.0
"""Behind the canal's top and above this all is arch, processes or the alae's back."""
SIGHT_MM = np.arange(2.0, 62.0, 2.0)
VOTE_ROUNDS = 2
SPECK_MM2 = {Region.CANAL: 12.0, Region.FORAMEN: 12.0, Region.INFERIOR: 12.0}
SPECK_OTHER_MM2 = 60.0
FALLBACK_FACING = 0.6
FALLBACK_LOWEST_MM = 60.0
"""Without a hip the joint is taken to reach from the ala's top to the S3 foramen, or so far."""


@dataclass(frozen=True, eq=False)
class _Faces:
    """What is known per triangle. centres, normals (smoothed): (F, 3). areas: (F,), mm2.

    at: (F,) station on the sacral axis, mm. back, down: (F, 3) local directions.
    """

    centres: Float
    normals: Float
    areas: Float
    at: Float
    length: float
    back: Float
    down: Float


def sacral_surface(
    material: Material,
    frame: SacralFrame,
    axis: Float,
    canal_axis: Float,
    foramina: tuple[Foramen, ...],
) -> tuple[SacralSurface, tuple[str, ...]]:
    """Sort the triangles of the sacrum's surface into regions; returns warnings as well.

    axis, canal_axis: (N, 3) from cranial to caudal, patient LPS, mm.
    """
    info = _describe(material, frame, axis)
    pairs = neighbours(material.faces)
    regions = np.full(len(material.faces), UNKNOWN, np.uint8)
    canal_y = float(frame.to_sacrum(canal_axis[0])[1])
    _front_and_back(regions, material, info)
    regions[_arch(frame, info, canal_y)] = _code(Region.POSTERIOR)
    # spread before the other regions are laid over it, so that they do not bound it
    fallback = np.where(
        np.einsum("ij,ij->i", info.normals, info.back) > 0,
        _code(Region.POSTERIOR),
        _code(Region.ANTERIOR),
    ).astype(np.uint8)
    regions = spread(regions, pairs, fallback)
    regions[_superior(frame, info, canal_y)] = _code(Region.SUPERIOR)
    regions[_tail(info)] = _code(Region.INFERIOR)
    joint, warnings = _joint(material, frame, info, axis, foramina)
    regions[joint] = _code(Region.SACROILIAC)
    regions[_wall(material, info, FORAMINA)] = _code(Region.FORAMEN)
    regions[_wall(material, info, ("sacral_canal",))] = _code(Region.CANAL)
    regions = majority(regions, material.faces, len(REGIONS), VOTE_ROUNDS)
    least = np.array([SPECK_MM2.get(region, SPECK_OTHER_MM2) for region in REGIONS])
    regions = drop_speckles(regions, pairs, info.areas, least)
    return SacralSurface(material.vertices, material.faces, regions), warnings


def _code(region: Region) -> int:
    return REGIONS.index(region)


def _describe(material: Material, frame: SacralFrame, axis: Float) -> _Faces:
    centres, normals, areas = material.centres, material.normals, material.areas
    # stations on a flattened copy: the lateral place must not decide the level
    left = frame.axes[:, 0]
    flat = centres - ((centres - frame.origin) @ left)[:, None] * left
    along = arc_length(axis)
    at = station(axis, flat)
    slope = tangents(axis)
    down = np.stack([np.interp(at, along, slope[:, n]) for n in range(3)], axis=1)
    down -= (down @ left)[:, None] * left
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    back = np.cross(left, down)
    return _Faces(centres, normals, areas, at, float(along[-1]), back, down)


def _front_and_back(regions: NDArray[np.uint8], material: Material, info: _Faces) -> None:
    """Mark the triangles that face and see freely forward or backward."""
    facing = np.einsum("ij,ij->i", info.normals, info.back)
    for sign, region in ((-1.0, Region.ANTERIOR), (1.0, Region.POSTERIOR)):
        ahead = np.flatnonzero(sign * facing > 0.0)
        free = np.ones(len(ahead), bool)
        for far in SIGHT_MM:
            still = ahead[free]
            where = info.centres[still] + 0.5 * info.normals[still] + sign * far * info.back[still]
            free[free] = sample(material.field, material.grid, where, 9.0) > 0
        regions[ahead[free]] = _code(region)


def _superior(frame: SacralFrame, info: _Faces, canal_y: float) -> NDArray[np.bool_]:
    """(F,) upper surfaces of body and alae, in front of the canal's top."""
    where = frame.to_sacrum(info.centres)
    up = info.normals @ frame.axes[:, 2]
    return np.asarray(
        (up > SUPERIOR_FACING) & (where[:, 1] < canal_y) & (where[:, 2] > SUPERIOR_LOWEST_MM)
    )


def _arch(frame: SacralFrame, info: _Faces, canal_y: float) -> NDArray[np.bool_]:
    """(F,) arch and articular processes of S1: some face forward, and see over the endplate."""
    where = frame.to_sacrum(info.centres)
    return np.asarray((where[:, 1] > canal_y) & (where[:, 2] > ARCH_LOWEST_MM))


def _tail(info: _Faces) -> NDArray[np.bool_]:
    facing = np.einsum("ij,ij->i", info.normals, info.down)
    return np.asarray(
        (info.at > info.length) | ((info.at > info.length - TAIL_MM) & (facing > TAIL_FACING))
    )


def _wall(material: Material, info: _Faces, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """(F,) triangles that face the named segments at close quarters."""
    out = info.centres + WALL_LOOK_MM * info.normals
    return np.asarray(material.near(names, out, WALL_LOOK_MM) < WALL_LOOK_MM)


def _joint(
    material: Material,
    frame: SacralFrame,
    info: _Faces,
    axis: Float,
    foramina: tuple[Foramen, ...],
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(F,) sacroiliac surface of both sides, and warnings where it had to be guessed."""
    joint = np.zeros(len(info.centres), bool)
    warnings = []
    for side in SIDES:
        faced = _faces_hip(material, info, side)
        if info.areas[faced].sum() < JOINT_LEAST_MM2:
            faced |= _guessed_joint(frame, info, axis, foramina, side)
            warnings.append(
                f"hip_{side} is missing or cut off at the joint: the sacroiliac surface on the "
                f"{side} is guessed from the sacrum's lateral face and reaches too far"
            )
        joint |= faced
    return joint, tuple(warnings)


def _faces_hip(material: Material, info: _Faces, side: Side) -> NDArray[np.bool_]:
    """(F,) triangles with the hip within JOINT_MM and nearer along their normal."""
    both = np.concatenate([info.centres, info.centres + info.normals])
    far = material.near((f"hip_{side}",), both, JOINT_MM + 2.0)
    here, ahead = far[: len(far) // 2], far[len(far) // 2 :]
    return np.asarray((here <= JOINT_MM) & (here - ahead > JOINT_FACING))


def _guessed_joint(
    frame: SacralFrame, info: _Faces, axis: Float, foramina: tuple[Foramen, ...], side: Side
) -> NDArray[np.bool_]:
    """(F,) lateral face from the ala's top to S3, lateral of the foramina: larger than a joint."""
    mine = [item for item in foramina if item.side == side]
    lateral = side_sign(side) * frame.to_sacrum(info.centres)[:, 0]
    third = [item.centre for item in mine if item.level == "S3"]
    lowest = float(station(axis, np.array(third))[0]) if third else FALLBACK_LOWEST_MM
    inner = max((side_sign(side) * frame.to_sacrum(item.centre)[0] for item in mine), default=20.0)
    facing = side_sign(side) * (info.normals @ frame.axes[:, 0])
    return np.asarray((facing > FALLBACK_FACING) & (info.at < lowest) & (lateral > inner + 10.0))

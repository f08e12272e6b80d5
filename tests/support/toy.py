"""A toy pelvis with landmarks that are known exactly, on any grid.

The shapes are analytic and given in the sacral frame (x left, y posterior, z along the endplate's
normal, mm): a wedge that bends backwards and tapers downwards, with alae that slope, a canal tube,
four pairs of straight round channels from back to front, two hip slabs 2.5 mm beside the alae and
an L5 box over the disc. `toy_labels` places it in the patient and samples it at voxel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, SacralFrame

LENGTH_MM = 104.0
LEVEL_Z = {"S1": -28.0, "S2": -48.0, "S3": -66.0, "S4": -82.0}
LATERAL_MM = {"S1": 21.0, "S2": 19.0, "S3": 17.0, "S4": 15.0}
RADIUS_MM = {"S1": 5.5, "S2": 5.0, "S3": 4.0, "S4": 3.5}
CANAL_TOP_Z, CANAL_BOTTOM_Z = -8.0, -88.0
JOINT_GAP_MM = 2.5


def bend(z: Float) -> Float:
    """y of the bodies' middle at height z: the sacrum is hollow towards the belly by 14 mm."""
    return np.asarray(14.0 * np.sin(np.pi * np.clip(-z / LENGTH_MM, 0.0, 1.0)))


def taper(z: Float, top: float, bottom: float) -> Float:
    """Straight course from `top` at the endplate to `bottom` at the tail."""
    part = np.clip(-z / LENGTH_MM, 0.0, 1.0)
    return np.asarray(top + part * (bottom - top))


def depth_front(z: Float) -> Float:
    """y of the anterior cortex in the midplane."""
    return bend(z) - taper(z, 15.0, 4.0)


def depth_back(z: Float) -> Float:
    """y of the posterior cortex in the midplane."""
    return bend(z) + taper(z, 27.0, 7.0)


def canal_y(z: Float) -> Float:
    """y of the canal's centreline."""
    return bend(z) + taper(z, 20.0, 4.0)


@dataclass(frozen=True, eq=False)
class ToyTruth:
    """frame: the exact sacral frame. Points: (3,) patient LPS, mm, by (level, side)."""

    frame: SacralFrame
    centre: dict[tuple[str, str], Float]
    ventral: dict[tuple[str, str], Float]
    dorsal: dict[tuple[str, str], Float]
    width_mm: dict[str, float]


def toy_values(points: Float) -> NDArray[np.uint8]:
    """(...,) label of (..., 3) points of the sacral frame."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    far = np.abs(x)
    below = (z < 0.0) & (z > -LENGTH_MM)
    half_width = np.where(z > -50.0, 55.0, 55.0 - (-50.0 - z) * 0.75)
    slope = np.clip(far - 24.0, 0.0, None)
    # the alae's top slopes down to the side, and their front recedes
    solid = below & (far < half_width) & (z < -0.25 * slope)
    solid &= (y > depth_front(z) + 0.45 * slope) & (y < depth_back(z))
    out = np.where(solid, LABELS["sacrum"], 0)
    along_canal = (z < CANAL_TOP_Z) & (z > CANAL_BOTTOM_Z)
    wide, deep = taper(z, 13.0, 5.0), taper(z, 5.5, 2.5)
    canal = along_canal & ((x / wide) ** 2 + ((y - canal_y(z)) / deep) ** 2 < 1.0)
    # the arch is open at the top, as the canal's way in
    canal |= (z >= CANAL_TOP_Z) & (z < 0) & (far < 13.0) & (np.abs(y - canal_y(z)) < 5.5)
    canal |= (z >= CANAL_TOP_Z) & (z < 0) & (far < 13.0) & (y >= canal_y(z)) & solid
    for level, height in LEVEL_Z.items():
        within = solid & ~canal
        for side, sign in (("left", 1.0), ("right", -1.0)):
            inside = np.hypot(x - sign * LATERAL_MM[level], z - height) < RADIUS_MM[level]
            out = np.where(within & inside, LABELS[f"foramen_{level.lower()}_{side}"], out)
    open_top = canal & (z >= CANAL_TOP_Z)
    out = np.where(canal & ~open_top, LABELS["sacral_canal"], out)
    out = np.where(open_top, 0, out)
    gap = far - half_width
    slab = (gap > JOINT_GAP_MM) & (gap < 25.0) & (z < 0) & (z > -60) & (y > -5) & (y < 30)
    out = np.where(slab & (x > 0), LABELS["hip_left"], out)
    out = np.where(slab & (x < 0), LABELS["hip_right"], out)
    l5 = (z > 9.0) & (z < 34.0) & (far < 24.0) & (np.abs(y) < 16.0)
    return np.asarray(np.where(l5, LABELS["l5"], out), np.uint8)


def patient_frame(slope_deg: float = 40.0, yaw_deg: float = 0.0) -> SacralFrame:
    """Place the toy in a patient: the endplate leans forward, the pelvis may be turned."""
    s, w = np.deg2rad(slope_deg), np.deg2rad(yaw_deg)
    lean = np.array([[1, 0, 0], [0, np.cos(s), -np.sin(s)], [0, np.sin(s), np.cos(s)]])
    turn = np.array([[np.cos(w), -np.sin(w), 0], [np.sin(w), np.cos(w), 0], [0, 0, 1]])
    return SacralFrame(np.array([11.0, -23.0, 640.0]), turn @ lean)


def _axes(name: str) -> Float:
    """Direction columns of the awkward grids."""
    if name == "negative":
        return np.diag([-1.0, -1.0, 1.0])
    if name == "left_handed":
        return np.diag([1.0, 1.0, -1.0])
    if name == "permuted":
        return np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    if name == "oblique":
        angle = np.deg2rad([17.0, -11.0, 23.0])
        c, s = np.cos(angle), np.sin(angle)
        about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
        about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
        about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
        return about_z @ about_y @ about_x
    if name == "straight":
        return np.eye(3)
    raise ValueError(f"unknown grid {name!r}, expected one of {AWKWARD}")


AWKWARD = ("straight", "negative", "left_handed", "permuted", "oblique")


def toy_grid(
    frame: SacralFrame, axes: str = "straight", spacing_mm: tuple[float, float, float] = (1, 1, 1)
) -> Grid:
    """Build a grid of one of the AWKWARD kinds that covers the toy in the patient."""
    corners = np.array(
        [[x, y, z] for x in (-72, 72) for y in (-24, 50) for z in (-LENGTH_MM - 12, 24)], float
    )
    direction = _axes(axes)
    local = frame.to_patient(corners) @ direction
    low, high = local.min(axis=0), local.max(axis=0)
    size = np.ceil((high - low) / np.array(spacing_mm)).astype(int) + 1
    shape = (int(size[0]), int(size[1]), int(size[2]))
    return Grid.from_axes(shape, direction @ low, spacing_mm, direction)


def toy_truth(frame: SacralFrame) -> ToyTruth:
    """Exact landmarks for a placement."""
    centre, ventral, dorsal = {}, {}, {}
    for level, height in LEVEL_Z.items():
        z = np.asarray(height)
        for side, sign in (("left", 1.0), ("right", -1.0)):
            x = sign * LATERAL_MM[level]
            front, back = float(depth_front(z)), float(depth_back(z))
            ventral[level, side] = frame.to_patient([x, front, height])
            dorsal[level, side] = frame.to_patient([x, back, height])
            centre[level, side] = frame.to_patient([x, 0.5 * (front + back), height])
    return ToyTruth(frame, centre, ventral, dorsal, {k: 2.0 * r for k, r in RADIUS_MM.items()})


@lru_cache(maxsize=16)
def toy_labels(
    axes: str = "straight",
    spacing_mm: tuple[float, float, float] = (1, 1, 1),
    slope_deg: float = 40.0,
    yaw_deg: float = 0.0,
) -> tuple[NDArray[np.uint8], Grid, ToyTruth]:
    """Label the toy on a grid; returns labels (I, J, K) uint8, the grid and the truth."""
    frame = patient_frame(slope_deg, yaw_deg)
    grid = toy_grid(frame, axes, spacing_mm)
    index = np.stack(np.indices(grid.shape), axis=-1)
    return toy_values(frame.to_sacrum(grid.to_patient(index))), grid, toy_truth(frame)

"""A toy sacrum of boxes and cylinders with known distances, and a block of flesh around it.

In its own frame (the sacral frame): bone fills |x| <= 55, -18 <= y <= 14, -95 <= z <= 0 mm; the
canal is a square tube |x| <= 8, 4 <= y <= 12; foramina are tubes along y at |x| = 20 with radius 4
at z = -22, -44, -64, -80. Hips are slabs from |x| = 58 on in front of y = 5. Flesh ends at y = 60.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from planner.geometry.distance import isosurface, signed_distance
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import (
    LABELS,
    LEVELS,
    REGIONS,
    SIDES,
    Anatomy,
    Foramen,
    Region,
    SacralFrame,
    SacralSurface,
    Side,
    side_sign,
)
from planner.model.trajectory import Needle, Technique, Trajectory
from planner.model.volume import CtSource, Volume

HALF_WIDTH, FRONT, BACK, BOTTOM = 55.0, -18.0, 14.0, -95.0
CANAL_HALF, CANAL_FRONT, CANAL_BACK = 8.0, 4.0, 12.0
FORAMEN_X, FORAMEN_RADIUS = 20.0, 4.0
FORAMEN_Z = (-22.0, -44.0, -64.0, -80.0)
HIP_X, HIP_BACK = 58.0, 5.0
SKIN_Y = 60.0
SPACING = 1.0


def rotation(degrees: float = 20.0) -> Float:
    """A turn about x (sacral slope) with a little yaw."""
    a, b = np.radians(degrees), np.radians(degrees / 4)
    pitch = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    yaw = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(pitch @ yaw)


def _grid(axes: Float, origin: Float, spacing: float) -> Grid:
    # half a voxel off the faces of the box, so that no voxel centre lies on one
    corners = np.array([[-75, -35, -110], [75, 30, 15]], float) + 0.5
    return Grid.around(corners @ axes.T + origin, spacing, 0.0, axes)


def labels_on(points_sacrum: Float) -> np.ndarray:
    """Labels of (..., 3) points of the sacral frame."""
    x, y, z = np.moveaxis(points_sacrum, -1, 0)
    out = np.zeros(x.shape, np.uint8)
    bone = (np.abs(x) <= HALF_WIDTH) & (y >= FRONT) & (y <= BACK) & (z >= BOTTOM) & (z <= 0)
    out[bone] = LABELS["sacrum"]
    canal = bone & (np.abs(x) <= CANAL_HALF) & (y >= CANAL_FRONT) & (y <= CANAL_BACK)
    out[canal] = LABELS["sacral_canal"]
    for side in SIDES:
        sign = side_sign(side)
        for level, height in zip(LEVELS, FORAMEN_Z, strict=False):
            tube = np.hypot(x - sign * FORAMEN_X, z - height) <= FORAMEN_RADIUS
            out[bone & tube] = LABELS[f"foramen_{level.lower()}_{side}"]
        hip = (sign * x >= HIP_X) & (sign * x <= 70) & (y <= HIP_BACK) & (z >= -60) & (z <= 5)
        out[hip] = LABELS[f"hip_{side}"]
    return out


def regions_of(centres_sacrum: Float) -> np.ndarray:
    """Region of (F, 3) triangle centres by the face of the box they lie on."""
    x, y, z = centres_sacrum.T
    faces = {
        Region.ANTERIOR: np.abs(y - FRONT),
        Region.POSTERIOR: np.abs(y - BACK),
        Region.SACROILIAC: np.abs(np.abs(x) - HALF_WIDTH),
        Region.SUPERIOR: np.abs(z),
        Region.INFERIOR: np.abs(z - BOTTOM),
        Region.CANAL: np.maximum(np.abs(x) - CANAL_HALF, 0) + 1.01,
        Region.FORAMEN: np.full(len(x), np.inf),
    }
    wall = np.full(len(x), np.inf)
    for height in FORAMEN_Z:
        radial = np.hypot(np.abs(x) - FORAMEN_X, z - height)
        wall = np.minimum(wall, np.where(radial <= FORAMEN_RADIUS + 0.8, 0.0, np.inf))
    faces[Region.FORAMEN] = wall
    return np.stack([faces[r] for r in REGIONS]).argmin(axis=0).astype(np.uint8)


def anatomy(
    degrees: float = 20.0, origin: tuple[float, float, float] = (3.0, -8.0, 21.0)
) -> Anatomy:
    """The toy sacrum, turned and moved."""
    axes, where = rotation(degrees), np.array(origin)
    frame = SacralFrame(where, axes)
    grid = _grid(axes, where, SPACING)
    points = frame.to_sacrum(grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)))
    labels = labels_on(points)
    vertices, faces = isosurface(signed_distance(labels == 1, grid.spacing_mm, 0.3), grid)
    regions = regions_of(frame.to_sacrum(vertices[faces].mean(axis=1)))
    foramina = []
    for side in SIDES:
        for level, height in zip(LEVELS, FORAMEN_Z, strict=False):
            x = side_sign(side) * FORAMEN_X
            centre, ventral, dorsal = frame.to_patient(
                np.array([[x, (FRONT + BACK) / 2, height], [x, FRONT, height], [x, BACK, height]])
            )
            foramina.append(Foramen(level, side, centre, ventral, dorsal, 8.0, 1.0))
    line = np.array([[0.0, 0.0, z] for z in (-10, -50, -90)])
    return Anatomy(
        grid,
        labels,
        frame,
        frame.to_patient((0, 0, 0)),
        axes[:, 2],
        frame.to_patient(line),
        frame.to_patient(line + (0, 8, 0)),
        tuple(foramina),
        SacralSurface(vertices, faces, regions),
        "provided",
        1.0,
    )


def flesh(subject: Anatomy, spacing: float = 3.0, shift_mm: float = 0.0) -> Volume:
    """A CT of a block of soft tissue (40 HU) around an anatomy, air outside, bone at 300 HU."""
    frame = subject.frame
    corners = np.array([[-150, -130, -190], [150, SKIN_Y + 60, 110]], float)
    grid = Grid.around(frame.to_patient(corners), spacing, 0.0, frame.axes)
    points = frame.to_sacrum(grid.to_patient(np.stack(np.indices(grid.shape), axis=-1)))
    x, y = points[..., 0], points[..., 1]
    body = (np.abs(x) < 130) & (y < SKIN_Y + shift_mm) & (y > -110)
    values = np.where(body, 40, -1000).astype(np.int16)
    values[labels_on(points) == LABELS["sacrum"]] = 300
    return Volume(values, grid, CtSource("phantom", "0" * 64))


@lru_cache(maxsize=1)
def standard() -> tuple[Anatomy, Volume]:
    """The toy sacrum and its flesh, once per session."""
    subject = anatomy()
    return subject, flesh(subject)


def needle(
    subject: Anatomy,
    entry: tuple[float, float, float],
    tip: tuple[float, float, float],
    gauge: str = "11G",
    technique: Technique = Technique.SHORT_AXIS,
    level: str = "S1",
) -> Trajectory:
    """A needle between two points of the sacral frame; its skin point is 30 mm further back."""
    start = subject.frame.to_patient(np.array(entry, float))
    end = subject.frame.to_patient(np.array(tip, float))
    along = (end - start) / np.linalg.norm(end - start)
    side: Side = "left" if entry[0] > 0 else "right"
    return Trajectory(technique, side, level, start - 30 * along, start, end, Needle(gauge))

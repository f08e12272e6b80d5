"""The parametric bones put in place: where they lie in the patient, and their analytic distances.

Three frames occur. Patient LPS; the sacral frame (origin at the S1 endplate's centre, x left, y
dorsal, z along the endplate's normal), in which the shapes are defined; and the body frame (same
origin, turned with the patient but not by the sacral slope), in which soft tissue is laid out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, SIDES, Foramen, SacralFrame, Side
from planner.phantom.lattice import (
    Distance,
    Field,
    Floats,
    box_affine,
    box_shape,
    evaluate,
    lattice_points,
    refine,
)
from planner.phantom.parameters import PhantomParameters
from planner.shape import lumbar, pelvis, sacrum
from planner.shape.sacrum import ForamenLandmark

# The boxes of the sacral frame, mm, in which the bones of the largest allowed patient lie.
_SACRUM_BOX = (np.array([-90.0, -60.0, -190.0]), np.array([90.0, 90.0, 30.0]))
_HALF_PELVIS_BOX = (np.array([-10.0, -220.0, -300.0]), np.array([220.0, 140.0, 120.0]))
_L5_BOX = (np.array([-80.0, -60.0, -30.0]), np.array([80.0, 100.0, 80.0]))
_BOUNDS_STEP_MM = 8.0
# Half the box around a foramen's landmarks, beyond which no channel reaches.
_FORAMEN_REACH_MM = 24.0
# The skin of the back is laid over the bones within this of the midplane.
_MIDLINE_MM = 75.0
# Labels are evaluated in full at about this spacing, and refined near the surface.
_COARSE_MM = 4.0
# The refined band covers the interpolation's error for distances that change less than this much
# per mm; the analytic distances are first-order and may be steeper than 1.
MAX_SLOPE = 1.6


def rotation_deg(pitch: float, roll: float, yaw: float) -> Float:
    """(3, 3) right-handed turn about patient x by pitch, then y by roll, then z by yaw."""
    a, b, c = np.deg2rad([pitch, roll, yaw])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def rigid(rotation: Float, origin: Float) -> Float:
    """(4, 4) patient from a frame with the given axes (columns) and origin."""
    affine = np.eye(4)
    affine[:3, :3] = rotation
    affine[:3, 3] = origin
    return affine


@dataclass(frozen=True, eq=False)
class PhantomAnatomy:
    """The bones of one phantom in place."""

    parameters: PhantomParameters

    @cached_property
    def patient_from_body(self) -> Float:
        """(4, 4) body frame to patient LPS, mm."""
        p = self.parameters
        turn = rotation_deg(p.pitch_deg, p.roll_deg, p.yaw_deg)
        return rigid(turn, np.array(p.position_mm, float))

    @cached_property
    def frame(self) -> SacralFrame:
        """The sacral frame in patient LPS: the slope leans the endplate's normal forwards."""
        slope = rotation_deg(self.parameters.sacral_slope_deg, 0.0, 0.0)
        axes = self.patient_from_body[:3, :3] @ slope
        return SacralFrame(self.patient_from_body[:3, 3].copy(), axes)

    @cached_property
    def patient_from_sacrum(self) -> Float:
        """(4, 4) sacral frame to patient LPS, mm."""
        return rigid(self.frame.axes, self.frame.origin)

    @property
    def foramina(self) -> tuple[str, ...]:
        """Names of the foramina that this sacrum has, S1 first, left before right."""
        levels = [level.lower() for level in self.parameters.sacrum.levels]
        return tuple(f"foramen_{level}_{side}" for level in levels for side in SIDES)

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the segments in the order in which they win where they overlap."""
        return ("sacrum", "sacral_canal", *self.foramina, "l5", "hip_left", "hip_right")

    def distance_sacrum(self, structure: str) -> Distance:
        """Signed distance (mm) of a structure as a function of (N, 3) points of the sacral frame.

        structure: one of `structures`, or sacrum_hull, femur_left, femur_right.
        Raises ValueError for any other name.
        """
        p, q = self.parameters.sacrum, self.parameters.pelvis
        kind, _, rest = structure.partition("_")
        if structure == "sacrum":
            return lambda x: sacrum.sacrum_distance(x, p)
        if structure == "sacrum_hull":
            return lambda x: sacrum.sacrum_hull_distance(x, p)
        if structure == "l5":
            return lambda x: lumbar.l5_distance(x, p, q)
        if structure == "hip_left" or structure == "hip_right":
            return lambda x: pelvis.hip_distance(x, SIDES[rest == "right"], p, q)
        if structure == "femur_left" or structure == "femur_right":
            return lambda x: pelvis.femur_distance(x, SIDES[rest == "right"], p, q)
        if structure == "sacral_canal":
            return self._canal
        if structure in self.foramina:
            level, _, side = rest.partition("_")
            return lambda x: self._foramen(x, level.upper(), SIDES[side == "right"])
        known = (*self.structures, "sacrum_hull", "femur_left", "femur_right")
        raise ValueError(f"no structure {structure!r} in this phantom; known: {', '.join(known)}")

    def _canal(self, points_sacrum: Float) -> Floats:
        p = self.parameters.sacrum
        hull = sacrum.sacrum_hull_distance(points_sacrum, p)
        return np.maximum(sacrum.canal_distance(points_sacrum, p), hull)

    def _foramen(self, points_sacrum: Float, level: str, side: Side) -> Floats:
        p = self.parameters.sacrum
        channel = sacrum.foramen_distance(points_sacrum, p, level, side)
        hull = sacrum.sacrum_hull_distance(points_sacrum, p)
        canal = sacrum.canal_distance(points_sacrum, p)
        return np.maximum(np.maximum(channel, hull), -canal)

    def distance(self, structure: str, points: Float) -> Floats:
        """Signed distance (N,) in mm of a structure at (N, 3) patient points."""
        return self.distance_sacrum(structure)(self.frame.to_sacrum(points))

    def box(self, structure: str, margin_mm: float = 0.0) -> tuple[Float, Float]:
        """Lower and upper corner (3,) of a structure's box in the sacral frame, mm."""
        if structure not in self._boxes:
            self._boxes[structure] = self._find_box(structure)
        low, high = self._boxes[structure]
        return low - margin_mm, high + margin_mm

    @cached_property
    def _boxes(self) -> dict[str, tuple[Float, Float]]:
        return {}

    def _find_box(self, structure: str) -> tuple[Float, Float]:
        kind = structure.partition("_")[0]
        if kind == "foramen":
            marks = self._marks[structure]
            points = np.array([marks.centre, marks.ventral, marks.dorsal])
            return points.min(axis=0) - _FORAMEN_REACH_MM, points.max(axis=0) + _FORAMEN_REACH_MM
        if structure in ("sacral_canal", "sacrum"):
            return self.box("sacrum_hull")
        low, high = _L5_BOX if kind == "l5" else _SACRUM_BOX
        if kind in ("hip", "femur"):
            low, high = (edge.copy() for edge in _HALF_PELVIS_BOX)
            if structure.endswith("right"):
                low[0], high[0] = -high[0], -low[0]
        affine = box_affine(low, _BOUNDS_STEP_MM)
        shape = box_shape(low, high, _BOUNDS_STEP_MM)
        values = evaluate(self.distance_sacrum(structure), affine, shape)
        # Every point of the structure has a lattice point within half a cell's diagonal.
        near = np.argwhere(values < MAX_SLOPE * _BOUNDS_STEP_MM * np.sqrt(3.0) / 2.0)
        if len(near) == 0:
            raise ValueError(f"structure {structure!r} is empty")
        return low + _BOUNDS_STEP_MM * near.min(axis=0), low + _BOUNDS_STEP_MM * near.max(axis=0)

    @cached_property
    def rearmost_bone_mm(self) -> float:
        """Body-frame y of the rearmost bone near the midline and not below the sacrum, to 3 mm."""
        body_from_sacrum = np.linalg.inv(self.patient_from_body) @ self.patient_from_sacrum
        low, high = self.box("sacrum_hull")
        low = np.array([-_MIDLINE_MM, low[1], low[2]])
        high = np.array([_MIDLINE_MM, high[1] + 30.0, high[2] + 20.0])
        affine, shape = box_affine(low, 3.0), box_shape(low, high, 3.0)
        ijk = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
        points = lattice_points(affine, ijk.reshape(-1, 3))
        y = points @ body_from_sacrum[1, :3]
        points, y = points[y > 15.0], y[y > 15.0]
        inside = np.zeros(len(points), bool)
        for structure in ("sacrum_hull", "hip_left", "hip_right"):
            rest = np.flatnonzero(~inside)
            inside[rest] = self.distance_sacrum(structure)(points[rest]) < 0
        return float(y[inside].max())

    @cached_property
    def _marks(self) -> dict[str, ForamenLandmark]:
        marks = sacrum.foramen_landmarks(self.parameters.sacrum)
        return {f"foramen_{item.level.lower()}_{item.side}": item for item in marks}

    def landmarks(self) -> tuple[Foramen, ...]:
        """Foramina with their landmarks in patient LPS, S1 first, left before right."""
        to_patient = self.frame.to_patient
        found = [
            Foramen(
                level=item.level,
                side=item.side,
                centre=to_patient(item.centre),
                ventral=to_patient(item.ventral),
                dorsal=to_patient(item.dorsal),
                width_mm=float(item.width),
                confidence=1.0,
            )
            for item in sacrum.foramen_landmarks(self.parameters.sacrum)
        ]
        return tuple(sorted(found, key=lambda item: (item.level, item.side)))


def label_map(anatomy: PhantomAnatomy, grid: Grid) -> NDArray[np.uint8]:
    """Label every voxel of a grid by the sign of the analytic distances at its centre.

    Returns (I, J, K) with the values of LABELS; what comes first in `anatomy.structures` wins.
    """
    labels = np.zeros(grid.shape, np.uint8)
    for structure in reversed(anatomy.structures):
        part, inside = _inside(anatomy, structure, grid)
        if inside is not None:
            labels[part][inside] = LABELS[structure]
    return labels


def _inside(
    anatomy: PhantomAnatomy, structure: str, grid: Grid
) -> tuple[tuple[slice, ...], NDArray[np.bool_] | None]:
    """Part of the grid that a structure's box covers, and the voxels inside the structure."""
    low, high = anatomy.box(structure)
    bits = np.array([[(c >> a) & 1 for a in range(3)] for c in range(8)])
    corners_ijk = grid.to_ijk(anatomy.frame.to_patient(low + bits * (high - low)))
    start = np.maximum(np.floor(corners_ijk.min(axis=0)).astype(int), 0)
    stop = np.minimum(np.ceil(corners_ijk.max(axis=0)).astype(int) + 1, grid.shape)
    part = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    if (stop <= start).any():
        return part, None
    sacrum_from_ijk = (
        np.linalg.inv(anatomy.patient_from_sacrum) @ grid.crop(start, stop).patient_from_ijk
    )
    i, j, k = (int(n) for n in stop - start)
    values = _near_exact(anatomy.distance_sacrum(structure), sacrum_from_ijk, (i, j, k))
    return part, values < 0


def _near_exact(distance: Distance, space_from_ijk: Float, shape: tuple[int, int, int]) -> Floats:
    """Distances on a lattice, exact near the surface and interpolated elsewhere."""
    spacing = np.linalg.norm(space_from_ijk[:3, :3], axis=0)
    factors = np.maximum(np.rint(_COARSE_MM / spacing), 2.0)
    coarse_from_ijk = np.diag([*(1.0 / factors), 1.0])
    size = np.ceil((np.array(shape) - 1) / factors).astype(int) + 1
    i, j, k = (max(int(n), 2) for n in size)
    coarse = evaluate(distance, space_from_ijk @ np.linalg.inv(coarse_from_ijk), (i, j, k))
    values = Field(coarse, coarse_from_ijk, 0.0).on(np.eye(4), shape)
    half_diagonal = float(np.linalg.norm(factors * spacing)) / 2.0
    refine(values, distance, space_from_ijk, MAX_SLOPE * half_diagonal)
    return values

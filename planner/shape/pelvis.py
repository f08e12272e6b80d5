"""Hip bones, upper femora and L5 around the parametric sacrum: schematic, for realism.

All points are sacral frame, mm, (N, 3); results (N,) float32 mm, negative inside. The hip is built
on the left (x > 0) and reflected. Landmarks: means on seven of the ten pelves of Fischer, Sci Data
10:763, 2023, over both sides, rounded to 1 mm; radii fitted to the same average.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .channels import SIDES, Side
from .form import Floats
from .parameters import MEAN_WIDTH_MM, SacrumParameters
from .sacrum import sacrum_hull_distance
from .solids import Point, ball, capsule, smooth_min, thick_triangle, within_box

_FILLET_MM: Final = 4.0
_REACH_MM: Final = 12.0  # distances are exact up to here, bounds beyond

# Name: (x, y, z, radius).
_LANDMARKS: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "asis": (122, -68, 25, 5.5),
    "tubercle": (134, -14, 28, 6.5),
    "crest": (80, 42, 18, 2.5),
    "psis": (48, 36, -43, 11),
    "auricular": (61, 16, -18, 10.5),
    "brim": (73, -29, -35, 11.5),
    "notch": (70, -28, -63, 3.5),
    "fossa": (107, -26, -5, 1.5),
    "roof": (84, -66, -42, 17),
    "aiis": (96, -78, -16, 8),
    "posterior_wall": (74, -55, -66, 15),
    "tuber": (64, -78, -124, 13.5),
    "spine": (58, -48, -98, 5.5),
    "anterior_wall": (69, -89, -49, 8.5),
    "pubis": (12, -128, -56, 9),
    "low_pubis": (14, -120, -79, 7),
    "ramus": (47, -100, -129, 5.5),
}
_PLATES: Final = (
    ("asis", "tubercle", "fossa"),
    ("tubercle", "crest", "fossa"),
    ("crest", "psis", "auricular"),
    ("crest", "auricular", "fossa"),
    ("psis", "auricular", "notch"),
    ("auricular", "brim", "fossa"),
    ("auricular", "brim", "notch"),
    ("brim", "notch", "roof"),
    ("brim", "roof", "fossa"),
    ("fossa", "roof", "aiis"),
    ("asis", "aiis", "fossa"),
)
_BARS: Final = (
    ("roof", "posterior_wall"),
    ("notch", "posterior_wall"),
    ("posterior_wall", "tuber"),
    ("posterior_wall", "spine"),
    ("roof", "anterior_wall"),
    ("anterior_wall", "pubis"),
    ("pubis", "low_pubis"),
    ("low_pubis", "ramus"),
    ("ramus", "tuber"),
)


@dataclass(frozen=True)
class PelvisParameters:
    """Pelvis around a sacrum; defaults are population means."""

    joint_gap_mm: float = 3.0  # CT series: medians 2.4 to 3.8
    ligament_gap_mm: float = 8.0  # extra gap behind the joint, in front of the ilium (assumed)
    head_centre_mm: Point = (85.0, -85.0, -65.0)  # seven pelves, SD 5, 9, 14
    head_radius_mm: float = 22.9  # seven pelves, SD 1.4
    hip_joint_space_mm: float = 3.5  # assumed
    socket_wall_mm: float = 9.0  # assumed
    neck_shaft_deg: float = 126.0  # textbook mean
    neck_length_mm: float = 48.0  # head centre to shaft axis, textbook mean
    shaft_radius_mm: float = 14.0  # textbook mean
    disc_height_mm: float = 9.0  # L5/S1, textbook 8 to 10
    lordosis_deg: float = 12.0  # wedge of the L5/S1 disc, textbook mean
    l5_body_height_mm: float = 28.0  # textbook mean
    l5_facet_gap_mm: float = 2.0  # textbook mean

    def validate(self) -> None:
        """Raise ValueError listing every defect."""
        limits = {
            "joint_gap_mm": (0.0, 8.0),
            "ligament_gap_mm": (0.0, 20.0),
            "head_radius_mm": (17.0, 30.0),
            "hip_joint_space_mm": (0.0, 8.0),
            "socket_wall_mm": (4.0, 15.0),
            "neck_shaft_deg": (105.0, 150.0),
            "neck_length_mm": (30.0, 70.0),
            "shaft_radius_mm": (9.0, 20.0),
            "disc_height_mm": (2.0, 16.0),
            "lordosis_deg": (0.0, 25.0),
            "l5_body_height_mm": (20.0, 36.0),
            "l5_facet_gap_mm": (0.0, 4.0),
        }
        defects = []
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                defects.append(f"{name} is {value:g}, allowed {low:g} to {high:g}")
        if defects:
            raise ValueError("implausible pelvis: " + "; ".join(defects))


def hip_distance(
    points: npt.NDArray[np.floating],
    side: Side,
    sacrum_params: SacrumParameters,
    pelvis_params: PelvisParameters,
) -> Floats:
    """Distance to one hip bone, fitted to the sacrum's auricular surface."""
    cloud = _left(points, side)
    outward = _outward_mm(side, sacrum_params)
    marks = {name: (x + outward, y, z, r) for name, (x, y, z, r) in _LANDMARKS.items()}
    marks |= {n: _LANDMARKS[n] for n in ("pubis", "low_pubis", "ramus", "tuber")}
    distance = _scaffold(cloud, marks)
    distance = _socket(cloud, distance, outward, pelvis_params)
    # The symphysis: the pubic bones stop short of the midplane.
    distance = np.maximum(distance, 2.0 - cloud[:, 0])
    near = (distance < 12.0) & (cloud[:, 0] < marks["crest"][0])
    sacral = np.asarray(points, dtype=np.float32)[near]
    distance[near] = _clear_of_sacrum(sacral, distance[near], sacrum_params, pelvis_params)
    return np.asarray(distance, dtype=np.float32)


def _scaffold(cloud: Floats, marks: Mapping[str, tuple[float, float, float, float]]) -> Floats:
    """Distance to the plates and bars between landmarks; a lower bound beyond `_REACH_MM`."""
    distance = np.full(len(cloud), np.float32(1e3))
    for names in _PLATES + _BARS:
        rows = np.array([marks[n] for n in names])
        low, high = rows[:, :3] - rows[:, 3:], rows[:, :3] + rows[:, 3:]
        box = _point(low.min(axis=0)), _point(high.max(axis=0))
        near, bound = within_box(cloud, *box, _REACH_MM)
        part, local = bound, cloud[near]
        if len(rows) == 3:
            part[near] = thick_triangle(local, rows[:, :3], rows[:, 3])
            distance = np.minimum(distance, part)
        else:
            start, end = _point(rows[0, :3]), _point(rows[1, :3])
            part[near] = capsule(local, start, end, float(rows[0, 3]), float(rows[1, 3]))
            distance = smooth_min(distance, part, _FILLET_MM)
    return distance


def _left(points: npt.NDArray[np.floating], side: Side) -> Floats:
    """Points as float32, reflected when the right side is asked for."""
    if side not in SIDES:
        raise ValueError(f"side is {side!r}, allowed {SIDES}")
    cloud = np.array(points, dtype=np.float32)
    if side == "right":
        cloud[:, 0] *= -1
    return cloud


def _outward_mm(side: Side, p: SacrumParameters) -> float:
    """How much further out than the mean this side's auricular surface lies."""
    scale = p.left_width_scale if side == "left" else p.right_width_scale
    return (p.width_mm * scale - MEAN_WIDTH_MM) / 2


def _socket(cloud: Floats, distance: Floats, outward: float, q: PelvisParameters) -> Floats:
    """Add the acetabular cup, open to the side of the femur, and hollow it."""
    x, y, z = q.head_centre_mm
    inner = q.head_radius_mm + q.hip_joint_space_mm
    cup = ball(cloud, (x + outward - 9.0, y + 5.0, z + 6.0), inner + q.socket_wall_mm - 3.0)
    hollow = ball(cloud, (x + outward, y, z), inner)
    return np.asarray(np.maximum(smooth_min(distance, cup, _FILLET_MM), -hollow))


def _clear_of_sacrum(
    points: Floats, distance: Floats, p: SacrumParameters, q: PelvisParameters
) -> Floats:
    """Keep the joint gap; behind the auricular surface the interosseous ligament widens it."""
    gap = q.joint_gap_mm + np.clip((points[:, 1] - 16.0) / 14.0, 0.0, 1.0) * q.ligament_gap_mm
    return np.asarray(np.maximum(distance, gap - sacrum_hull_distance(points, p)))


def femur_distance(
    points: npt.NDArray[np.floating],
    side: Side,
    sacrum_params: SacrumParameters,
    pelvis_params: PelvisParameters,
) -> Floats:
    """Distance to one upper femur: head, neck, greater trochanter and shaft."""
    cloud = _left(points, side)
    q = pelvis_params
    head = np.array(q.head_centre_mm) + [_outward_mm(side, sacrum_params), 0, 0]
    # The pelvis stands upright: the shaft runs caudally in the patient, tilted in this frame by
    # the mean sacral slope (39 deg, n=709).
    slope = np.radians(39.0)
    down = np.array([0.0, -np.sin(slope), -np.cos(slope)])
    angle = np.radians(180.0 - q.neck_shaft_deg)
    neck = np.array([np.sin(angle), 0.0, 0.0]) + np.cos(angle) * down
    base = head + neck * q.neck_length_mm
    tip = base + 140.0 * down
    trochanter = base - 12.0 * down + [8.0, 0.0, 0.0]
    r = q.shaft_radius_mm
    distance = ball(cloud, _point(head), q.head_radius_mm)
    distance = smooth_min(distance, capsule(cloud, _point(head), _point(base), 15.0, 17.0), 3.0)
    shaft = capsule(cloud, _point(base), _point(tip), r + 4.0, r)
    distance = smooth_min(distance, shaft, 6.0)
    mass = capsule(cloud, _point(base), _point(trochanter), 17.0, 12.0)
    return smooth_min(distance, mass, 6.0)


def _point(values: npt.NDArray[np.floating]) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z

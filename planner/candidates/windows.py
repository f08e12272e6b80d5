"""The rules that make a needle one of a technique: where it enters, how it runs, where it ends.

A Window holds one technique's figures; a rule is named and its breach can be listed. Figures come
from an exhaustive search over twenty real sides (see the techniques' files); they are a starting
point with evidence, not law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from planner.anatomy.fields import ClearanceFields
from planner.anatomy.levels import SideLandmarks
from planner.anatomy.needles import NeedlePoses, far_depths, unit
from planner.geometry.fields import exit_distances
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.trajectory import Technique

Broken = dict[str, NDArray[np.bool_]]

# Rules are told apart from rounding by this much (mm or deg), and levels by its hundredth.
ROUNDING = 1e-3
AP_REACH_MM = 100.0


@dataclass(frozen=True)
class Window:
    """One technique's window; None switches a rule off.

    level_name: sacral level given to trajectories. levels: lambda of the entry.
    lateral_offset_mm: entry lateral of the posterior foramina's edge, least.
    inclination_deg: to the endplate plane. ap_deg: AP angle, most.
    azimuth_past_joint_deg: tip lateral of the joint's own azimuth, most.
    azimuth_hub_lateral_deg: hub lateral of straight posterior-anterior, most.
    tip_height_mm: tip over the S1 channel's centre along the endplate normal.
    tip_y_mm: tip before or behind the endplate's centre, most.
    path_fraction: part of the way along the needle to the far cortex, least.
    ap_fraction: part of the bone's AP depth at the tip, least.
    tip_to_anterior_mm: tip (the point, not its surface) to the anterior cortex, least.
    low_entry_mm: entry to E_L in the coronal plane, most.
    """

    technique: Technique
    level_name: str
    levels: tuple[float, float]
    inclination_deg: tuple[float, float]
    tip_height_mm: tuple[float, float]
    tip_to_anterior_mm: float
    lateral_offset_mm: float = 0.0
    ap_deg: float | None = None
    azimuth_past_joint_deg: float | None = None
    azimuth_hub_lateral_deg: float | None = None
    tip_y_mm: float | None = None
    path_fraction: float | None = None
    ap_fraction: float | None = None
    low_entry_mm: float | None = None


def entry_rules(window: Window, landmarks: SideLandmarks, entries: Float) -> Broken:
    """Rules on (N, 3) entries (lateral, y, z)."""
    level = landmarks.level(entries)
    broken = {
        "entry_level": _outside(level, window.levels, ROUNDING / 100),
        "entry_lateral_offset": landmarks.lateral_offset(entries)
        < window.lateral_offset_mm - ROUNDING,
    }
    if window.low_entry_mm is not None:
        gap = np.linalg.norm(entries[:, [0, 2]] - landmarks.low_entry, axis=1)
        broken["entry_near_joint_end"] = gap > window.low_entry_mm + ROUNDING
    return broken


def direction_rules(window: Window, landmarks: SideLandmarks, poses: NeedlePoses) -> Broken:
    """Rules on the direction of needles."""
    broken = {"inclination": _outside(poses.inclination_deg, window.inclination_deg)}
    if window.ap_deg is not None:
        broken["ap_angle"] = poses.ap_deg > window.ap_deg + ROUNDING
    if window.azimuth_past_joint_deg is not None:
        joint = landmarks.joint_azimuth(poses.entries[:, 2])
        least = joint - window.azimuth_past_joint_deg
        broken["azimuth_past_joint"] = poses.azimuth_deg < least - ROUNDING
    if window.azimuth_hub_lateral_deg is not None:
        broken["azimuth_hub_lateral"] = (
            poses.azimuth_deg > window.azimuth_hub_lateral_deg + ROUNDING
        )
    return broken


def direction_mask(
    window: Window, landmarks: SideLandmarks, entries: Float, tips: Float
) -> NDArray[np.bool_]:
    """Tell (E, T) whether the pair of every entry and tip (lateral, y, z) keeps direction_rules."""
    least = np.full(len(entries), -180.0)
    if window.azimuth_past_joint_deg is not None:
        least = landmarks.joint_azimuth(entries[:, 2]) - window.azimuth_past_joint_deg
    most = window.azimuth_hub_lateral_deg
    out = np.zeros((len(entries), len(tips)), np.bool_)
    _directions(
        np.ascontiguousarray(entries),
        np.ascontiguousarray(tips),
        np.sin(np.radians(window.inclination_deg)),
        90.0 if window.ap_deg is None else window.ap_deg,
        least,
        180.0 if most is None else most,
        out,
    )
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _directions(
    entries: Float,
    tips: Float,
    sines: Float,
    ap: float,
    least: Float,
    most: float,
    out: NDArray[np.bool_],
) -> None:
    slope = np.tan(np.radians(ap)) if ap < 90.0 else np.inf
    for e in range(len(entries)):
        for t in range(len(tips)):
            x, y, z = tips[t] - entries[e]
            rise = z / np.sqrt(x * x + y * y + z * z + 1e-12)
            if rise < sines[0] or rise > sines[1]:
                continue
            if ap < 90.0 and abs(x) > slope * z:
                continue
            if least[e] > -180.0 or most < 180.0:
                azimuth = -np.degrees(np.arctan2(x, -y))
                out[e, t] = least[e] <= azimuth <= most
            else:
                out[e, t] = True


def tip_rules(window: Window, landmarks: SideLandmarks, tips: Float) -> Broken:
    """Rules on the place of (N, 3) tips (lateral, y, z)."""
    height = tips[:, 2] - landmarks.s1_channel[2]
    broken = {
        "tip_height": _outside(height, window.tip_height_mm),
        # The line through the medial margins of the foramina is not crossed (Tabilo 2025).
        "tip_medial": tips[:, 0] < landmarks.medial_margin - ROUNDING,
    }
    if window.tip_y_mm is not None:
        broken["tip_beside_body"] = np.abs(tips[:, 1]) > window.tip_y_mm + ROUNDING
    return broken


def bone_rules(
    window: Window, anatomy: Anatomy, fields: ClearanceFields, entries: Float, tips: Float
) -> Broken:
    """Rules on how deep (N, 3) tips lie in the bone; patient LPS, mm."""
    broken = {"tip_to_anterior": fields.anterior.at(tips) < window.tip_to_anterior_mm - ROUNDING}
    if window.path_fraction is not None:
        deep = np.linalg.norm(tips - entries, axis=1)
        whole = deep + far_depths(fields, tips, unit(tips - entries))
        broken["tip_depth"] = deep < window.path_fraction * whole - ROUNDING
    if window.ap_fraction is not None:
        broken["tip_depth"] = ap_fractions(anatomy, fields, tips) < window.ap_fraction - ROUNDING
    return broken


def ap_fractions(anatomy: Anatomy, fields: ClearanceFields, tips: Float) -> Float:
    """Part (N,) of the solid's AP depth through each tip that lies behind it, 0 to 1."""
    back = np.broadcast_to(anatomy.frame.axes[:, 1], tips.shape)
    behind = exit_distances(fields.solid, tips, back, AP_REACH_MM)
    before = exit_distances(fields.solid, tips, -back, AP_REACH_MM)
    return np.asarray(behind / np.maximum(behind + before, 1e-6))


def any_broken(broken: Broken) -> NDArray[np.bool_]:
    """Tell (N,) whether any rule is broken."""
    return np.asarray(np.logical_or.reduce(list(broken.values())))


def _outside(
    values: Float, window: tuple[float, float], rounding: float = ROUNDING
) -> NDArray[np.bool_]:
    return np.asarray((values < window[0] - rounding) | (values > window[1] + rounding))

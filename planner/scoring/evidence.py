"""Everything that is measured on one needle before it is judged.

Clearances are exact between the needle's axis and triangle surfaces, less the outer radius, over
the whole way from bone entry to tip. Where the needle has left the bone or entered a channel the
figure is negative: minus the depth reached (from the signed distance fields, to about a tenth of a
millimetre, never deeper than fields.BAND_MM outside bone), minus the radius. The posterior cortex
counts once the entry is settled, see `entering`; nothing else is exempt anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.anatomy.body import Body, body_of, way_out
from planner.anatomy.fields import CAP_MM, GUARDED, ClearanceFields, clearance_fields
from planner.anatomy.levels import side_landmarks, to_side
from planner.anatomy.needles import (
    NeedlePoses,
    entry_depth_limits,
    far_depths,
    hip_distances,
    incidences,
    poses,
    reenters,
    settled_depths,
    shaft_foramen_distances,
)
from planner.geometry.capsules import Nearest, nearest_on_triangles
from planner.geometry.entering import returns_to
from planner.geometry.fields import Spread, least_margins
from planner.geometry.grid import Float
from planner.geometry.sampling import sample
from planner.model.anatomy import Anatomy
from planner.model.configuration import Configuration
from planner.model.trajectory import Clearance, Structure, Trajectory
from planner.model.volume import Volume
from planner.scoring.slip import safe_entry_radius

STATION_MM = 0.25
# Walks to the skin are followed this far, so that a refusal can say how long the way is.
SKIN_REACH_MM = 300.0
# A ball of 3.6 mL (mean per site, Anton Jimenez 2025) has a radius of 9.5 mm; assumed that cement
# spreads evenly, and that it is injected while the needle is drawn back by 20 mm.
CEMENT_REACH_MM, CEMENT_WITHDRAWAL_MM = 9.5, 20.0


@dataclass(frozen=True, eq=False)
class Setting:
    """What needles are judged in. target: (T, 3) patient points to reach, or None."""

    anatomy: Anatomy
    volume: Volume
    fields: ClearanceFields
    body: Body
    configuration: Configuration
    target: Float | None = None

    @property
    def spread(self) -> Spread:
        """The placement error as a spread."""
        return self.configuration.placement_error.spread()


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was measured on one needle; lengths in mm, angles in degrees.

    settled_mm: depth from which the posterior cortex keeps its limit; settle_limit_mm: by which it
    must. far_mm: from the tip on to the far cortex. entry_gap_mm: bone entry to the bone's surface.
    skin: (3,) where the needle passes the skin. target_mm: tip to target; target_coverage: share of
    the target that cement can reach, 0 to 1; both nan without one. safe_entry_radius_mm: see slip.
    """

    trajectory: Trajectory
    clearances: dict[Structure, Clearance]
    pose: NeedlePoses
    incidence_deg: float
    settled_mm: float
    settle_limit_mm: float
    far_mm: float
    tip_to_anterior_mm: float
    entry_gap_mm: float
    returns_to_bone: bool
    hip_mm: float
    shaft_foramen_mm: float
    skin: Float
    soft_tissue_mm: float
    skin_reached: bool
    skin_crossings: int
    axial_tilt_deg: float
    z: float
    mean_hu: float
    target_mm: float
    target_coverage: float
    safe_entry_radius_mm: float

    @property
    def skin_to_tip_mm(self) -> float:
        """Length from skin to tip, mm."""
        return self.soft_tissue_mm + self.trajectory.intraosseous_length_mm

    @property
    def depth_fraction(self) -> float:
        """Part of the way along the needle from bone entry to the far cortex, 0 to 1."""
        length = self.trajectory.intraosseous_length_mm
        return length / max(length + self.far_mm, 1e-6)


def setting_of(
    anatomy: Anatomy, volume: Volume, configuration: Configuration, target: Float | None = None
) -> Setting:
    """Gather fields, body and configuration (fields and body are kept per anatomy and volume)."""
    return Setting(
        anatomy, volume, clearance_fields(anatomy), body_of(volume), configuration, target
    )


def gather(setting: Setting, trajectory: Trajectory) -> Evidence:
    """Measure one needle."""
    fields, limits = setting.fields, setting.configuration.limits
    radius = trajectory.needle.radius_mm
    entry, tip = trajectory.bone_entry, trajectory.tip
    starts, ends, along = entry[None], tip[None], trajectory.direction[None]
    incidence = incidences(fields, starts, ends)
    settle_limit = entry_depth_limits(radius, limits.posterior_cortex_mm, incidence)
    z, _ = least_margins(fields.guarded, starts, ends, radius, setting.spread, -np.inf)
    again = returns_to(
        fields.posterior,
        fields.solid,
        starts,
        ends,
        radius,
        spread=setting.spread,
        late_mm=settle_limit,
    )
    out = way_out(setting.body, starts, along, SKIN_REACH_MM)
    anterior = nearest_on_triangles(tip, tip, fields.meshes[Structure.ANTERIOR])
    inside = float(fields.solid.at(tip)) < 0
    return Evidence(
        trajectory,
        clearances(fields, trajectory, float(again.depth[0])),
        poses(setting.anatomy, side_landmarks(setting.anatomy, trajectory.side), starts, ends),
        float(incidence[0]),
        float(settled_depths(fields, starts, ends, radius, limits.posterior_cortex_mm)[0]),
        float(settle_limit[0]),
        float(far_depths(fields, ends, along)[0]),
        anterior.distance_mm if inside else -anterior.distance_mm,
        float(abs(fields.solid.at(entry))),
        bool(reenters(fields, starts, along)[0]),
        float(hip_distances(fields, starts, along, radius)[0]),
        float(shaft_foramen_distances(fields, starts, along, radius)[0]),
        out.skin[0],
        float(out.soft_tissue_mm[0]),
        bool(out.reached[0]),
        int(out.crossings[0]),
        _axial_tilt(setting.volume, trajectory),
        float(min(z[0], again.z[0])),
        _mean_hu(setting.volume, trajectory),
        _target_gap(setting.target, tip),
        _target_coverage(setting.target, trajectory),
        safe_entry_radius(trajectory, fields, limits),
    )


def clearances(
    fields: ClearanceFields, trajectory: Trajectory, counts_mm: float
) -> dict[Structure, Clearance]:
    """Clearance to every structure; counts_mm: depth from which the posterior cortex counts."""
    entry = trajectory.bone_entry
    length = trajectory.intraosseous_length_mm
    radius = trajectory.needle.radius_mm
    count = max(2, int(np.ceil(length / STATION_MM)) + 1)
    depths = np.linspace(0.0, length, count)
    stations = entry + depths[:, None] * trajectory.direction
    out: dict[Structure, Clearance] = {}
    foramina = [name for name in fields.label_fields if name != "sacral_canal"]
    found = [_channel(fields, name, Structure.FORAMINA, stations, depths) for name in foramina]
    out[Structure.FORAMINA] = min(found, key=lambda c: (c.distance_mm, c.label))
    out[Structure.CANAL] = _channel(fields, "sacral_canal", Structure.CANAL, stations, depths)
    for structure in GUARDED[2:]:
        out[structure] = _cortex(fields, structure, stations, depths)
    late = depths >= min(counts_mm, length)
    out[Structure.POSTERIOR] = _cortex(fields, Structure.POSTERIOR, stations[late], depths[late])
    return {
        name: Clearance(c.structure, c.distance_mm - radius, c.witness, c.depth_mm, c.label)
        for name, c in out.items()
    }


def _channel(
    fields: ClearanceFields, name: str, structure: Structure, stations: Float, depths: Float
) -> Clearance:
    """Axis distance to a foramen or the canal."""
    near = nearest_on_triangles(stations[0], stations[-1], fields.meshes[name])
    signed = fields.label_fields[name].at(stations)
    return _combine(fields, structure, name, name, near, signed, stations, depths)


def _cortex(
    fields: ClearanceFields, structure: Structure, stations: Float, depths: Float
) -> Clearance:
    """Axis distance to a cortex; negative where the needle left the bone through it."""
    near = nearest_on_triangles(stations[0], stations[-1], fields.meshes[structure])
    signed = fields.of(structure).at(stations)
    signed = np.where(fields.solid.at(stations) > 0, signed, CAP_MM)
    return _combine(fields, structure, structure.value, "", near, signed, stations, depths)


def _combine(
    fields: ClearanceFields,
    structure: Structure,
    mesh: str,
    label: str,
    near: Nearest,
    signed: Float,
    stations: Float,
    depths: Float,
) -> Clearance:
    worst = int(np.argmin(signed))
    if signed[worst] < 0:
        point = stations[worst]
        witness = nearest_on_triangles(point, point, fields.meshes[mesh]).witness
        return Clearance(structure, float(signed[worst]), witness, float(depths[worst]), label)
    depth = depths[0] + near.fraction * (depths[-1] - depths[0])
    return Clearance(structure, near.distance_mm, near.witness, float(depth), label)


def _axial_tilt(volume: Volume, trajectory: Trajectory) -> float:
    """Angle (deg) of the needle against the CT's slices, positive with the tip cranial.

    The slices are across the grid axis nearest to the patient's long axis.
    """
    direction = volume.grid.direction
    axis = direction[:, int(np.argmax(np.abs(direction[2])))]
    axis = axis * np.sign(axis[2])
    return float(np.degrees(np.arcsin(np.clip(trajectory.direction @ axis, -1, 1))))


def _mean_hu(volume: Volume, trajectory: Trajectory) -> float:
    """Mean CT value along the needle's axis in bone; 0 where the CT does not cover it."""
    steps = np.linspace(0, 1, max(2, int(trajectory.intraosseous_length_mm / 0.5)))[:, None]
    points = trajectory.bone_entry + steps * (trajectory.tip - trajectory.bone_entry)
    values = sample(volume.values, volume.grid, points, np.nan)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _target_gap(target: Float | None, tip: Float) -> float:
    if target is None:
        return float("nan")
    return float(np.linalg.norm(target - tip, axis=1).min())


def _target_coverage(target: Float | None, trajectory: Trajectory) -> float:
    """Share of the target within reach of cement injected while the needle is drawn back."""
    if target is None:
        return float("nan")
    back = min(CEMENT_WITHDRAWAL_MM, trajectory.intraosseous_length_mm)
    depth = np.clip((trajectory.tip - target) @ trajectory.direction, 0.0, back)
    nearest = trajectory.tip - depth[:, None] * trajectory.direction
    return float(np.mean(np.linalg.norm(target - nearest, axis=1) <= CEMENT_REACH_MM))


def tip_on_side(setting: Setting, trajectory: Trajectory) -> Float:
    """(3,) tip in the sacral frame with x lateral on the trajectory's side."""
    return to_side(setting.anatomy.frame.to_sacrum(trajectory.tip), trajectory.side)

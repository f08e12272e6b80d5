"""How far the entry may slip before a needle comes too near to something."""

from __future__ import annotations

import numpy as np

from planner.anatomy.fields import COUNTED, ClearanceFields
from planner.anatomy.needles import hip_distances, shaft_foramen_distances
from planner.geometry.entering import returns_to
from planner.geometry.segments import perpendicular_axes
from planner.geometry.stacks import displaced_paths, stack_minima
from planner.model.configuration import Limits
from planner.model.trajectory import Trajectory

DIRECTIONS = 16
STEP_MM = 0.5
WALK_MM = 1.0
MOST_MM = 10.0
"""Further than this no entry slips unnoticed; the figure is capped here."""


def safe_entry_radius(trajectory: Trajectory, fields: ClearanceFields, limits: Limits) -> float:
    """Radius, mm, of the disc across the needle within which its entry may slip.

    The needle is moved parallel to itself, its direction and depth kept, as one is that slides on
    the cortex before it bites. For every shift within the disc the hard limits hold on clearances,
    on the tip's distance from the anterior cortex, and on what the shaft outside the bone keeps
    from hips and foramina; 0 where one is broken already. Read off the distance fields, to about
    0.1 mm.
    """
    radius = trajectory.needle.radius_mm
    radii = np.arange(0.0, MOST_MM + STEP_MM / 2, STEP_MM)
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    moves = np.zeros((len(radii), DIRECTIONS, 5))
    moves[..., 0] = radii[:, None] * np.cos(angles)
    moves[..., 1] = radii[:, None] * np.sin(angles)
    starts, ends = displaced_paths(trajectory.bone_entry, trajectory.tip, moves.reshape(-1, 5))
    least = stack_minima(fields.guarded_stack, fields.grid, starts, ends, WALK_MM)
    back = returns_to(
        fields.posterior, fields.solid, starts, ends, radius, lead_mm=MOST_MM, care_mm=MOST_MM
    )
    least = np.column_stack([least, back.least]).reshape(len(radii), DIRECTIONS, len(COUNTED))
    wanted = np.array([getattr(limits, f"{s.value}_mm") for s in COUNTED])
    room = (least - radius - wanted).min(axis=(1, 2))
    axes = perpendicular_axes(trajectory.tip - trajectory.bone_entry)
    shifts = moves[..., :2].reshape(-1, 2) @ axes[1:]
    entries, tips = trajectory.bone_entry + shifts, trajectory.tip + shifts
    along = np.broadcast_to(trajectory.direction, shifts.shape)
    others = (
        fields.anterior.at(tips) - limits.tip_to_anterior_cortex_mm,
        hip_distances(fields, entries, along, radius) - limits.hip_outside_bone_mm,
        shaft_foramen_distances(fields, entries, along, radius) - limits.foramina_mm,
    )
    for margin in others:
        room = np.minimum(room, margin.reshape(len(radii), DIRECTIONS).min(axis=1))
    broken = np.flatnonzero(room < 0)
    if len(broken) == 0:
        return MOST_MM
    n = int(broken[0])
    if n == 0:
        return 0.0
    return float(radii[n - 1] + STEP_MM * room[n - 1] / (room[n - 1] - room[n]))

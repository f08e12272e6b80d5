"""Clearance along a needle: how far each structure is at every depth behind the bone entry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.anatomy.fields import COUNTED, clearance_fields
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy
from planner.model.trajectory import Structure, Trajectory

STEP_MM = 0.5


@dataclass(frozen=True, eq=False)
class Profile:
    """depths: (N,) from the bone entry, mm. distances: structure to (N,) mm from the needle's
    surface, from the distance fields (to about 0.1 mm; far ones are cut at 20 mm less the radius);
    the posterior cortex over the whole path, before it counts as well."""

    depths: Float
    distances: dict[Structure, Float]


def clearance_profile(trajectory: Trajectory, anatomy: Anatomy) -> Profile:
    """Sample the clearance of every structure from bone entry to tip."""
    fields = clearance_fields(anatomy)
    length = trajectory.intraosseous_length_mm
    depths = np.linspace(0.0, length, max(2, int(np.ceil(length / STEP_MM)) + 1))
    points = trajectory.bone_entry + depths[:, None] * trajectory.direction
    radius = trajectory.needle.radius_mm
    return Profile(depths, {s: fields.of(s).at(points) - radius for s in COUNTED})

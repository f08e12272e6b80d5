"""From a trajectory to the figures that set up a CT, a C-arm and a hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.anatomy.orientation import body_axes
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import LABELS, SIDES, Anatomy, Side, side_sign
from planner.model.configuration import Configuration
from planner.model.guidance import BeamView, Guidance
from planner.model.trajectory import ScoredTrajectory
from planner.scoring.pairs import needle_length

SPINE_SHARE = 99.9
"""Percentile of the hip's extent to the back that counts as its posterior superior spine."""
AXIS_MM = 45.0
"""Length of the sacral axis from the endplate that inlet and outlet are set up for: S1 and S2."""
LEVEL_MM = 3.0
"""Nearer than this in height, an entry is at a foramen's level."""


@dataclass(frozen=True, eq=False)
class SetUp:
    """What all needles of one patient share: landmarks on the back, and views of this sacrum."""

    anatomy: Anatomy
    ct: Grid
    configuration: Configuration
    spines: dict[Side, Float | None]
    views: dict[str, BeamView]

    def of(self, item: ScoredTrajectory) -> Guidance:
        """Compute the set-up of one trajectory."""
        path, spine = item.trajectory, self.spines[item.trajectory.side]
        along, skin = path.direction, path.skin_entry
        frame, sign = self.anatomy.frame, side_sign(path.side)
        below = medial = None
        if spine is not None:
            below = float(spine[2] - skin[2])
            medial = -float((skin - spine) @ frame.axes[:, 0] * sign)
        shown = item.measures.get("skin_in_view", 1.0) > 0
        return Guidance(
            skin_in_view=shown,
            skin_slice=_slice_of(self.ct, skin),
            skin_z_mm=float(skin[2]),
            in_plane_deg=float(np.degrees(np.arctan2(along[0], -along[1]))),
            cranial_deg=float(np.degrees(np.arcsin(np.clip(along[2], -1.0, 1.0)))),
            gantry_tilt_deg=float(np.degrees(np.arctan2(along[2], -along[1]))),
            skin_lateral_mm=float(frame.to_sacrum(skin)[0]) * sign,
            skin_below_spine_mm=below,
            skin_medial_of_spine_mm=medial,
            skin_to_bone_mm=float(np.linalg.norm(path.bone_entry - skin)),
            skin_to_tip_mm=path.skin_to_tip_mm,
            needle_length_mm=needle_length(item, self.configuration) if shown else None,
            down_the_barrel=view_along(along),
            views=self.views,
            entry=entry_in_words(self.anatomy, path.side, path.bone_entry),
        )


def set_up(anatomy: Anatomy, ct: Grid, configuration: Configuration) -> SetUp:
    """Find what the set-up of every trajectory needs; ct: the grid of the CT planned on."""
    spines = {side: iliac_spine(anatomy, side) for side in SIDES}
    return SetUp(anatomy, ct, configuration, spines, sacral_views(anatomy))


def guide(
    items: Iterable[ScoredTrajectory], anatomy: Anatomy, ct: Grid, configuration: Configuration
) -> dict[str, Guidance]:
    """Compute the set-up of trajectories, by their ids; ct: the grid of the CT planned on."""
    shared = set_up(anatomy, ct, configuration)
    return {item.id: shared.of(item) for item in items}


def view_along(along: Float) -> BeamView:
    """Describe the beam that runs along a (3,) unit direction from back to front."""
    rotation = float(np.degrees(np.arctan2(-along[0], -along[1])))
    return BeamView(rotation, -float(np.degrees(np.arcsin(np.clip(along[2], -1.0, 1.0)))))


def needle_along(in_plane_deg: float, cranial_deg: float) -> Float:
    """(3,) unit direction of a needle by the angles of its set-up: `SetUp.of` undone."""
    turn, rise = np.radians(in_plane_deg), np.radians(cranial_deg)
    flat = np.cos(rise)
    return np.array([np.sin(turn) * flat, -np.cos(turn) * flat, np.sin(rise)])


def beam_along(view: BeamView) -> Float:
    """(3,) unit vector from the viewer's side to the source of a view: view_along undone."""
    turn, tilt = np.radians(view.rotation_deg), np.radians(view.tilt_deg)
    flat = np.cos(tilt)
    return np.array([-np.sin(turn) * flat, -np.cos(turn) * flat, -np.sin(tilt)])


def sacral_views(anatomy: Anatomy) -> dict[str, BeamView]:
    """Beams that show this sacrum from the front, en face, from above and from the side.

    ap: in the sacrum's midplane, across the patient. outlet: in the midplane, square to the line
    through the bodies of S1 and S2. inlet: along that line, from above, so that their fronts lie
    over one another. lateral: square to the midplane, from the patient's left.
    """
    left = anatomy.frame.axes[:, 0]
    steps = np.linalg.norm(np.diff(anatomy.axis, axis=0), axis=1)
    walked = np.concatenate([[0.0], np.cumsum(steps)])
    upper = anatomy.axis[walked <= AXIS_MM]
    down = upper[-1] - upper[0]
    down = down - (down @ left) * left
    down /= np.linalg.norm(down)
    front = np.cross(down, left)  # square to the bodies, within the midplane
    _, back, _ = body_axes(anatomy.frame).T
    if front @ back > 0:
        front = -front
    across = -back
    return {
        "ap": view_along(across / np.linalg.norm(across)),
        "outlet": view_along(front),
        "inlet": view_along(-down if down @ back > 0 else down),
        "lateral": BeamView(view_along(-left).rotation_deg, view_along(-left).tilt_deg),
    }


def iliac_spine(anatomy: Anatomy, side: Side) -> Float | None:
    """(3,) posterior superior iliac spine: the hindmost part of a hip; None without a hip."""
    where = np.argwhere(anatomy.labels == LABELS[f"hip_{side}"])
    if len(where) == 0:
        return None
    points = anatomy.grid.to_patient(where)
    back = points @ body_axes(anatomy.frame)[:, 1]
    return np.asarray(points[back >= np.percentile(back, SPINE_SHARE)].mean(axis=0))


def entry_in_words(anatomy: Anatomy, side: Side, entry: Float) -> str:
    """Say where a (3,) bone entry lies to the nearest posterior foramen of its side."""
    row = [f for f in anatomy.foramina if f.side == side]
    if not row:
        return "no foramen was found on this side"
    local = anatomy.frame.to_sacrum(entry)
    near = min(row, key=lambda f: float(np.linalg.norm(f.dorsal - entry)))
    gap = local - anatomy.frame.to_sacrum(near.dorsal)
    outwards = float(gap[0]) * side_sign(side)
    words = f"{abs(outwards):.0f} mm {'lateral to' if outwards >= 0 else 'medial to'} "
    height = float(gap[2])
    if abs(height) >= LEVEL_MM:
        words += f"and {abs(height):.0f} mm {'above' if height > 0 else 'below'} "
    return f"{words}the middle of the posterior {near.level} foramen, {side}"


def _slice_of(ct: Grid, point: Float) -> int:
    """Number, from 1, of the slice nearest to a point; 0 outside the volume."""
    if not ct.contains(point[None])[0]:
        return 0
    return int(np.clip(round(float(ct.to_ijk(point)[2])), 0, ct.shape[2] - 1)) + 1

"""From anatomy to needle paths: what each technique allows, searched and refined.

`propose` searches every technique and side asked for; `belongs` says which rules of its technique
a needle breaks. Each technique is one file with its windows. Judging and ranking are left to
scoring: proposals come best first by risk, and near misses are among them where nothing fits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.anatomy.body import body_of, way_out
from planner.anatomy.fields import clearance_fields
from planner.anatomy.levels import SideLandmarks, side_landmarks
from planner.anatomy.needles import poses, unit
from planner.candidates import long_axis, s2_entry, s2_s3_entry, short_axis
from planner.candidates.mapping import map_entries
from planner.candidates.search import DECIMALS_MM, Lines, Setting, search
from planner.candidates.windows import (
    Window,
    bone_rules,
    direction_rules,
    entry_rules,
    tip_rules,
)
from planner.geometry.grid import Float, Grid
from planner.model.anatomy import Anatomy, Side
from planner.model.configuration import Configuration
from planner.model.entry_map import EntryMap
from planner.model.trajectory import Needle, Technique, Trajectory
from planner.model.volume import Volume

WINDOWS: dict[Technique, tuple[Window, ...]] = {
    Technique.SHORT_AXIS: short_axis.WINDOWS,
    Technique.LONG_AXIS: long_axis.WINDOWS,
    Technique.S2_ENTRY: s2_entry.WINDOWS,
    Technique.S2_S3_ENTRY: s2_s3_entry.WINDOWS,
}

Target = Float | tuple[NDArray[np.bool_], Grid]
"""What to reach: (T, 3) patient points, mm, or a mask and its grid."""

# A mask is thinned to about this many points; the nearest one is what a tip is measured to.
TARGET_POINTS = 400

__all__ = ["WINDOWS", "Target", "belongs", "entry_map", "propose", "target_points"]


def propose(
    anatomy: Anatomy, volume: Volume, configuration: Configuration, target: Target | None = None
) -> tuple[Trajectory, ...]:
    """Search every technique and side of the configuration; best first within each.

    Raises UntrustedAnatomyError where levels or a structure to keep clear of are missing.
    """
    setting = Setting(
        anatomy,
        clearance_fields(anatomy),
        body_of(volume),
        configuration,
        None if target is None else target_points(target),
    )
    out: list[Trajectory] = []
    for technique in configuration.techniques:
        for side in configuration.sides:
            landmarks = side_landmarks(anatomy, side)
            for window in WINDOWS[technique]:
                lines = search(setting, landmarks, window)
                out.extend(_trajectories(setting, side, window, lines))
    return tuple(out)


def entry_map(anatomy: Anatomy, volume: Volume, configuration: Configuration) -> EntryMap:
    """Map the best achievable clearance per entry point, over the configuration's techniques."""
    return map_entries(anatomy, volume, configuration, WINDOWS)


def _trajectories(setting: Setting, side: Side, window: Window, lines: Lines) -> list[Trajectory]:
    if len(lines.value) == 0:
        return []
    entries, tips = np.round(lines.entries, DECIMALS_MM), np.round(lines.tips, DECIMALS_MM)
    reach = setting.configuration.limits.skin_to_tip_mm
    skin = way_out(setting.body, entries, unit(tips - entries), reach).skin
    needle = Needle(setting.configuration.needle)
    return [
        Trajectory(window.technique, side, window.level_name, skin[n], entry, tip, needle)
        for n, (entry, tip) in enumerate(zip(entries, tips, strict=True))
    ]


def belongs(trajectory: Trajectory, anatomy: Anatomy) -> tuple[str, ...]:
    """Name the rules of its technique (and, for the short axis, level) that a needle breaks."""
    windows = WINDOWS[trajectory.technique]
    named = [w for w in windows if w.level_name == trajectory.level]
    if not named and len(windows) > 1:
        return ("entry_level",)
    landmarks = side_landmarks(anatomy, trajectory.side)
    return _broken(trajectory, anatomy, landmarks, (named or list(windows))[0])


def _broken(
    trajectory: Trajectory, anatomy: Anatomy, landmarks: SideLandmarks, window: Window
) -> tuple[str, ...]:
    entries, tips = trajectory.bone_entry[None, :], trajectory.tip[None, :]
    described = poses(anatomy, landmarks, entries, tips)
    rules = {
        **entry_rules(window, landmarks, described.entries),
        **direction_rules(window, landmarks, described),
        **tip_rules(window, landmarks, described.tips),
        **bone_rules(window, anatomy, clearance_fields(anatomy), entries, tips),
    }
    return tuple(name for name, broken in rules.items() if broken[0])


def target_points(target: Target) -> Float:
    """Return (T, 3) patient points of a target; raises ValueError for an empty one."""
    if isinstance(target, tuple):
        mask, grid = target
        if mask.shape != grid.shape:
            raise ValueError(f"target {mask.shape} does not fit its grid {grid.shape}")
        found = np.argwhere(mask)
        points = grid.to_patient(found[:: max(1, len(found) // TARGET_POINTS)])
    else:
        points = np.asarray(target, float).reshape(-1, 3)
    if len(points) == 0 or not np.isfinite(points).all():
        raise ValueError("a target must have at least one finite point or mask voxel")
    return np.asarray(np.round(points, DECIMALS_MM))

"""The best achievable clearance of every entry point, over all techniques."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from planner.anatomy.body import body_of
from planner.anatomy.fields import clearance_fields
from planner.anatomy.levels import SideLandmarks, side_landmarks, to_side
from planner.candidates.search import (
    Setting,
    allowed,
    entry_points,
    least_limit,
    margins,
    tip_points,
)
from planner.candidates.windows import Window, direction_mask
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.entry_map import EntryMap
from planner.model.trajectory import Technique
from planner.model.volume import Volume

TRIED = 12
"""So many of an entry's roomiest directions are held against the rules at a time, until one is
legal."""
SPREAD_MM = 2.5
"""A vertex takes the value of each window's entry nearest to it, up to here: entries lie 2 mm
apart."""
NOWHERE = 255


def map_entries(
    anatomy: Anatomy,
    volume: Volume,
    configuration: Configuration,
    windows: dict[Technique, tuple[Window, ...]],
) -> EntryMap:
    """Search every entry of every window; directions and tips on the search's lattice.

    The lattice leaves up to half a millimetre that a refined path may win. Paths keep every limit
    on clearances, entry, shaft and tip; their way to the skin is not looked at.
    """
    setting = Setting(anatomy, clearance_fields(anatomy), body_of(volume), configuration, None)
    found = []
    for number, technique in enumerate(Technique):
        if technique not in configuration.techniques:
            continue
        for side in configuration.sides:
            landmarks = side_landmarks(anatomy, side)
            for window in windows[technique]:
                found.append((*_ceiling(setting, landmarks, window), number))
    return _on_surface(anatomy, found)


def _ceiling(setting: Setting, landmarks: SideLandmarks, window: Window) -> tuple[Float, Float]:
    """Entries (E, 3) of one window and the best least clearance of each, -inf for no legal path."""
    entries = entry_points(setting, landmarks, window)
    tips = tip_points(setting, landmarks, window)
    best = np.full(len(entries), -np.inf)
    if len(entries) == 0 or len(tips) == 0:
        return entries, best
    frame = setting.anatomy.frame
    start = to_side(frame.to_sacrum(entries), landmarks.side)
    end = to_side(frame.to_sacrum(tips), landmarks.side)
    e, t = np.nonzero(direction_mask(window, landmarks, start, end))
    floor = least_limit(setting.configuration)
    z, least = margins(setting, entries[e], tips[t], floor)
    good = np.isfinite(z)
    e, t, least = e[good], t[good], least[good]
    order = np.lexsort((-least, e))
    e, t, least = e[order], t[order], least[order]
    turn = np.arange(len(e)) - np.searchsorted(e, e, side="left")
    for first in range(0, int(turn.max(initial=-1)) + 1, TRIED):
        rows = np.flatnonzero((turn >= first) & (turn < first + TRIED) & ~np.isfinite(best[e]))
        if len(rows) == 0:
            break
        legal = rows[allowed(setting, window, entries[e[rows]], tips[t[rows]], 0.0)]
        np.maximum.at(best, e[legal], least[legal])
    return entries, best


def _on_surface(anatomy: Anatomy, found: list[tuple[Float, Float, int]]) -> EntryMap:
    """Give every vertex of the posterior surface the best of what its nearest entries have.

    found: entries, their values, and the technique's number, per window.
    """
    all_vertices, faces = anatomy.surface.part(Region.POSTERIOR)
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices = all_vertices[used]
    clearance = np.full(len(vertices), -np.inf)
    technique = np.full(len(vertices), NOWHERE, np.uint8)
    for entries, best, number in found:
        if len(entries) == 0:
            continue
        distance, nearest = cKDTree(entries).query(vertices, distance_upper_bound=SPREAD_MM)
        there = np.isfinite(distance)
        value = np.where(there, best[np.where(there, nearest, 0)], -np.inf)
        better = value > clearance
        clearance[better], technique[better] = value[better], number
    clearance[technique == NOWHERE] = np.nan
    return EntryMap(vertices, renumbered.reshape(faces.shape), clearance, technique)

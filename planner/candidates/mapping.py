"""The best achievable clearance of every entry point, over all techniques."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from planner.anatomy.body import body_of
from planner.anatomy.fields import clearance_fields
from planner.anatomy.levels import SideLandmarks, side_landmarks, to_side
from planner.candidates.search import (
    Setting,
    allowed,
    entry_points,
    least_limit,
    tip_points,
)
from planner.candidates.windows import Window, direction_mask
from planner.geometry.fields import least_margins
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.entry_map import EntryMap
from planner.model.trajectory import Technique
from planner.model.volume import Volume

TRIED = 12
"""So many of an entry's roomiest directions are tried against the rules of their technique."""
SPREAD_MM = 2.5
"""A vertex takes the value of the entry nearest to it, up to here: entries lie 2 mm apart."""
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
    points, values, kinds = [np.empty((0, 3))], [np.empty(0)], [np.empty(0, np.uint8)]
    for number, technique in enumerate(Technique):
        if technique not in configuration.techniques:
            continue
        for side in configuration.sides:
            landmarks = side_landmarks(anatomy, side)
            for window in windows[technique]:
                entries, best = _ceiling(setting, landmarks, window)
                points.append(entries)
                values.append(best)
                kinds.append(np.full(len(best), number, np.uint8))
    return _on_surface(
        anatomy, np.concatenate(points), np.concatenate(values), np.concatenate(kinds)
    )


def _ceiling(setting: Setting, landmarks: SideLandmarks, window: Window) -> tuple[Float, Float]:
    """Entries (E, 3) of one window with a legal path, and the best least clearance of each."""
    entries = entry_points(setting, landmarks, window)
    tips = tip_points(setting, landmarks, window)
    if len(entries) == 0 or len(tips) == 0:
        return np.empty((0, 3)), np.empty(0)
    frame = setting.anatomy.frame
    start = to_side(frame.to_sacrum(entries), landmarks.side)
    end = to_side(frame.to_sacrum(tips), landmarks.side)
    e, t = np.nonzero(direction_mask(window, landmarks, start, end))
    floor = least_limit(setting.configuration)
    z, least = least_margins(
        setting.fields.guarded, entries[e], tips[t], setting.radius_mm, setting.spread, floor
    )
    least = np.where(np.isfinite(z), least, -np.inf)
    order = np.lexsort((-least, e))
    e, t, least = e[order], t[order], least[order]
    first = np.searchsorted(e, e, side="left")
    tried = (np.arange(len(e)) - first < TRIED) & np.isfinite(least)
    e, t, least = e[tried], t[tried], least[tried]
    legal = allowed(setting, window, entries[e], tips[t], 0.0)
    best = np.full(len(entries), -np.inf)
    np.maximum.at(best, e[legal], least[legal])
    found = np.isfinite(best)
    return entries[found], best[found]


def _on_surface(
    anatomy: Anatomy, points: Float, values: Float, kinds: NDArray[np.uint8]
) -> EntryMap:
    """Spread the values of entries over the vertices of the posterior surface near them."""
    all_vertices, faces = anatomy.surface.part(Region.POSTERIOR)
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices = all_vertices[used]
    clearance = np.full(len(vertices), np.nan)
    technique = np.full(len(vertices), NOWHERE, np.uint8)
    if len(points):
        # best first: of two windows that share an entry, the roomier one is found first
        order = np.argsort(-values, kind="stable")
        reach: Any = cKDTree(points[order]).query_ball_point(
            vertices, SPREAD_MM, return_sorted=True
        )
        for n in range(len(vertices)):
            near = reach[n]
            if near:
                clearance[n] = values[order[near[0]]]
                technique[n] = kinds[order[near[0]]]
    return EntryMap(vertices, renumbered.reshape(faces.shape), clearance, technique)

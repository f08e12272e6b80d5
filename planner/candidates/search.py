"""The search inside one technique's window: a dense grid, then refinement of what stands apart.

Entries on the posterior surface are paired with tips in the ala; every pair inside the window is
walked through the clearance fields. The objective is z, the least clearance over its spread along
the path (the risk of a breach), with a little for the least clearance itself and with the distance
to a target where there is one. Survivors are
thinned so that what remains stands apart, checked for skin, and refined by a pattern search over
the five degrees of freedom of a needle. Everything is deterministic: ties go to the lower index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from planner.anatomy.body import Body, way_out
from planner.anatomy.fields import GUARDED, ClearanceFields
from planner.anatomy.levels import SideLandmarks, to_side
from planner.anatomy.needles import (
    entry_depth_limits,
    hip_distances,
    incidences,
    line_entries,
    poses,
    reenters,
    settled_depths,
    shaft_foramen_distances,
    unit,
)
from planner.candidates.windows import (
    Window,
    any_broken,
    bone_rules,
    direction_mask,
    direction_rules,
    entry_rules,
    tip_rules,
)
from planner.geometry.entering import returns_to
from planner.geometry.fields import Spread, least_margins, path_minimum
from planner.geometry.grid import Float
from planner.model.anatomy import Anatomy, Region
from planner.model.configuration import Configuration
from planner.model.trajectory import Needle, Structure

ENTRY_SPACING_MM = 2.0
TIP_SPACING_MM = 3.0
# The grid's lattice and the field's interpolation may cost a path this much clearance, which the
# refinement can win back; so the search refuses only below the limit less this, and leaves the
# exact limit to scoring.
COARSE_SLACK_MM = 0.5
# So many pairs at a time are held against the rules that are dear to ask, the best first, until so
# many are legal.
SURVIVORS, ENOUGH_LEGAL = 6_000, 200
TARGET_CHUNK = 20_000
THIN_MM, THIN_DEG, THIN_COUNT = 5.0, 10.0, 120
APART_MM, APART_DEG = 8.0, 12.0
STARTS = 8
NEAR_MISSES = 3
# Refinement: steps in mm and degrees, halved when nothing improves.
STEPS = ((2.0, 4.0), (1.0, 2.0), (0.5, 1.0), (0.25, 0.5))
ROUNDS_PER_STEP = 10
LEAST_GAIN = 1e-6
# What is judged is what a plan's file will hold, to a micrometre: it measures the same again.
DECIMALS_MM = 3
# More z than this is no longer bought at the price of a target's distance (a breach below 0.2 %).
ENOUGH_Z = 3.0
TARGET_MM_PER_Z = 5.0
# The optimum of z is flat: it does not feel a near wall early on a path whose tip is far from
# everything. A millimetre of clearance counts as much as this z (assumed), up to a preferred one.
ROOM_Z_PER_MM, ENOUGH_ROOM_MM = 0.1, 8.0


@dataclass(frozen=True, eq=False)
class Setting:
    """What a search is made in. target: (T, 3) patient points to reach, or None."""

    anatomy: Anatomy
    fields: ClearanceFields
    body: Body
    configuration: Configuration
    target: Float | None

    @property
    def radius_mm(self) -> float:
        """The needle's outer radius."""
        return Needle(self.configuration.needle).radius_mm

    @property
    def spread(self) -> Spread:
        """The placement error as a spread."""
        return self.configuration.placement_error.spread()


@dataclass(frozen=True, eq=False)
class Lines:
    """Needles found. entries, tips: (N, 3) patient LPS, mm; value: (N,) objective."""

    entries: Float
    tips: Float
    value: Float

    def take(self, index: NDArray[np.int64]) -> Lines:
        """Return the needles of an index."""
        return Lines(self.entries[index], self.tips[index], self.value[index])


def search(setting: Setting, landmarks: SideLandmarks, window: Window) -> Lines:
    """Find needles of one window that stand apart, best first.

    Where nothing is feasible the nearest misses come back, so that scoring can say what refuses.
    """
    entries, tips = entry_points(setting, landmarks, window), tip_points(setting, landmarks, window)
    if len(entries) == 0 or len(tips) == 0:
        return Lines(np.empty((0, 3)), np.empty((0, 3)), np.empty(0))
    pairs = _pairs(setting, landmarks, window, entries, tips)
    found = _walk(setting, window, pairs)
    if len(found.value) == 0:
        return _near_misses(setting, pairs)
    thin = found.take(_apart(found, THIN_MM, THIN_DEG, THIN_COUNT))
    out = way_out(
        setting.body,
        thin.entries,
        unit(thin.tips - thin.entries),
        setting.configuration.limits.skin_to_tip_mm,
    )
    good = np.flatnonzero(out.crossings == 1)
    if len(good):
        thin = thin.take(good)
    chosen = _apart(thin, APART_MM, APART_DEG, STARTS)
    # Where the field hides the skin of the best, the best of those that show it stay in the race.
    seen = np.flatnonzero(out.reached[good] if len(good) else out.reached)
    shown = seen[_apart(thin.take(seen), APART_MM, APART_DEG, STARTS // 2)]
    starts = thin.take(np.concatenate([chosen, np.setdiff1d(shown, chosen)]))
    refined = _refine(setting, landmarks, window, starts)
    order = np.argsort(-refined.value, kind="stable")
    return refined.take(order)


def entry_points(setting: Setting, landmarks: SideLandmarks, window: Window) -> Float:
    """(E, 3) points of the posterior surface inside the window, thinned."""
    surface, frame = setting.anatomy.surface, setting.anatomy.frame
    vertices, faces = surface.part(Region.POSTERIOR)
    points = vertices[faces].mean(axis=1)
    local = to_side(frame.to_sacrum(points), landmarks.side)
    keep = ~any_broken(entry_rules(window, landmarks, local)) & (local[:, 0] > 0)
    points, local = points[keep], local[keep]
    cells = np.floor(local / ENTRY_SPACING_MM).astype(int)
    _, first = np.unique(cells, axis=0, return_index=True)
    return np.asarray(points[np.sort(first)])


def tip_points(setting: Setting, landmarks: SideLandmarks, window: Window) -> Float:
    """(T, 3) tips inside the window that keep every limit at the tip itself."""
    grid = setting.fields.grid
    stride = max(1, round(TIP_SPACING_MM / setting.fields.solid.step_mm))
    axes = [np.arange(stride // 2, n, stride) for n in grid.shape]
    ijk = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    room = setting.fields.guarded.values[tuple(ijk.T)]
    needed = setting.radius_mm + least_limit(setting.configuration)
    inside = setting.fields.solid.values[tuple(ijk.T)] < -needed
    ijk = ijk[inside & (room >= needed)]
    points = grid.to_patient(ijk)
    local = to_side(setting.anatomy.frame.to_sacrum(points), landmarks.side)
    keep = ~any_broken(tip_rules(window, landmarks, local))
    keep &= setting.fields.anterior.at(points) >= window.tip_to_anterior_mm
    return np.asarray(points[keep])


def margins(setting: Setting, entries: Float, tips: Float, floor_mm: float) -> tuple[Float, Float]:
    """Least margin over its spread, and least margin (mm), (N,), to everything that counts.

    Where the margin to what is never exempt falls below floor_mm, the first is -inf.
    """
    fields, radius, spread = setting.fields, setting.radius_mm, setting.spread
    z, least = least_margins(fields.guarded, entries, tips, radius, spread, floor_mm)
    rows = np.flatnonzero(np.isfinite(z))
    back = returns_to(
        fields.posterior, fields.solid, entries[rows], tips[rows], radius, spread=spread
    )
    z[rows] = np.minimum(z[rows], back.z)
    least[rows] = np.minimum(least[rows], back.least - radius)
    return z, least


def least_limit(configuration: Configuration) -> float:
    """Smallest of the hard limits on clearances, mm."""
    return min(_limit(configuration, structure) for structure in GUARDED)


def _limit(configuration: Configuration, structure: Structure) -> float:
    return float(getattr(configuration.limits, f"{structure.value}_mm"))


def _pairs(
    setting: Setting, landmarks: SideLandmarks, window: Window, entries: Float, tips: Float
) -> Lines:
    """All entry and tip pairs whose direction fits the window."""
    frame = setting.anatomy.frame
    start = to_side(frame.to_sacrum(entries), landmarks.side)
    end = to_side(frame.to_sacrum(tips), landmarks.side)
    fits = direction_mask(window, landmarks, start, end)
    e, t = np.nonzero(fits)
    return Lines(entries[e], tips[t], np.zeros(len(e)))


def _walk(setting: Setting, window: Window, pairs: Lines) -> Lines:
    """Walk the pairs; keep those that pass the fields and every rule, best first."""
    floor = least_limit(setting.configuration) - COARSE_SLACK_MM
    z, least = margins(setting, pairs.entries, pairs.tips, floor)
    good = np.flatnonzero(np.isfinite(z))
    value = _objective(setting, z[good], least[good], pairs.tips[good])
    order = np.argsort(-value, kind="stable")
    ranked = Lines(pairs.entries[good[order]], pairs.tips[good[order]], value[order])
    found: list[NDArray[np.int64]] = []
    for start in range(0, len(order), SURVIVORS):  # the best first, until some are legal
        rows = np.arange(start, min(start + SURVIVORS, len(order)))
        legal = allowed(setting, window, ranked.entries[rows], ranked.tips[rows], COARSE_SLACK_MM)
        found.append(rows[legal])
        if sum(map(len, found)) >= ENOUGH_LEGAL:
            break
    return ranked.take(np.concatenate(found) if found else np.empty(0, np.int64))


def _objective(setting: Setting, z: Float, least: Float, tips: Float) -> Float:
    """z, a little for the least clearance (mm), and the distance to a target where there is one."""
    room = ROOM_Z_PER_MM * np.minimum(least, ENOUGH_ROOM_MM)
    if setting.target is None:
        return np.asarray(z + room)
    gaps = np.concatenate(
        [
            np.linalg.norm(part[:, None, :] - setting.target[None, :, :], axis=2).min(axis=1)
            for part in np.array_split(tips, 1 + len(tips) // TARGET_CHUNK)
        ]
    )
    return np.asarray(np.minimum(z, ENOUGH_Z) + room - gaps / TARGET_MM_PER_Z)


def allowed(
    setting: Setting, window: Window, entries: Float, tips: Float, slack_mm: float
) -> NDArray[np.bool_]:
    """Tell (N,) whether needles keep the rules that need bone, hips and the posterior cortex."""
    fields, limits = setting.fields, setting.configuration.limits
    radius, along = setting.radius_mm, unit(tips - entries)
    ok = fields.anterior.at(tips) >= max(
        limits.tip_to_anterior_cortex_mm, window.tip_to_anterior_mm
    )
    least = least_limit(setting.configuration)
    rows = np.flatnonzero(ok)
    for structure in GUARDED:
        limit = _limit(setting.configuration, structure)
        if limit > least:
            found = path_minimum(fields.of(structure), entries[rows], tips[rows])
            rows = rows[found >= radius + limit - slack_mm]

    def deep(n: NDArray[np.int64]) -> NDArray[np.bool_]:
        return ~any_broken(bone_rules(window, setting.anatomy, fields, entries[n], tips[n]))

    def entered(n: NDArray[np.int64]) -> NDArray[np.bool_]:
        incidence = incidences(fields, entries[n], tips[n])
        most = entry_depth_limits(radius, limits.posterior_cortex_mm, incidence)
        limit = limits.posterior_cortex_mm
        settled = settled_depths(fields, entries[n], tips[n], radius, limit)
        return np.asarray((incidence <= limits.entry_incidence_deg) & (settled <= most))

    def outside(n: NDArray[np.int64]) -> NDArray[np.bool_]:
        foramina = shaft_foramen_distances(fields, entries[n], along[n], radius)
        free = (foramina >= limits.foramina_mm) & ~reenters(fields, entries[n], along[n])
        return np.asarray(free)

    def hips(n: NDArray[np.int64]) -> NDArray[np.bool_]:
        found = hip_distances(fields, entries[n], along[n], radius)
        return np.asarray(found >= limits.hip_outside_bone_mm)

    for keeps in (deep, entered, outside, hips):
        rows = rows[keeps(rows)]
    out = np.zeros(len(tips), bool)
    out[rows] = True
    return out


def _near_misses(setting: Setting, pairs: Lines) -> Lines:
    """Return the pairs with most room, however little; nothing of the rest was feasible."""
    if len(pairs.value) == 0:
        return pairs
    _, least = margins(setting, pairs.entries, pairs.tips, -np.inf)
    order = np.argsort(-least, kind="stable")[:SURVIVORS]
    best = Lines(pairs.entries[order], pairs.tips[order], least[order])
    return best.take(_apart(best, APART_MM, APART_DEG, NEAR_MISSES))


def _apart(lines: Lines, gap_mm: float, gap_deg: float, count: int) -> NDArray[np.int64]:
    """Index of the best lines none of which is near another in entry, tip and direction."""
    along = unit(lines.tips - lines.entries)
    out = np.empty(count, np.int64)
    found = _greedy(lines.entries, lines.tips, along, gap_mm, np.cos(np.radians(gap_deg)), out)
    return out[:found]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _greedy(
    entries: Float, tips: Float, along: Float, gap: float, cosine: float, out: NDArray[np.int64]
) -> int:
    """Take, in order, every line that is not near one taken before; the number taken."""
    count = 0
    for n in range(len(entries)):
        near = False
        for m in out[:count]:
            entry, tip, turn = 0.0, 0.0, 0.0
            for a in range(3):
                entry += (entries[n, a] - entries[m, a]) ** 2
                tip += (tips[n, a] - tips[m, a]) ** 2
                turn += along[n, a] * along[m, a]
            if entry < gap * gap and tip < gap * gap and turn > cosine:
                near = True
                break
        if not near:
            out[count] = n
            count += 1
            if count == len(out):
                break
    return count


def _refine(setting: Setting, landmarks: SideLandmarks, window: Window, starts: Lines) -> Lines:
    """Pattern search: move tips along three axes and turn directions about two."""
    tips, along = np.round(starts.tips, DECIMALS_MM), unit(starts.tips - starts.entries)
    value, entries = _evaluate(setting, landmarks, window, tips, along)
    fallback = ~np.isfinite(value)
    entries[fallback] = starts.entries[fallback]
    for step_mm, step_deg in STEPS:
        for _ in range(ROUNDS_PER_STEP):
            lengths = np.linalg.norm(tips - entries, axis=1)
            moved_tips, moved_along = _moves(setting, tips, along, lengths, step_mm, step_deg)
            count = moved_tips.shape[1]
            found, found_entries = _evaluate(
                setting,
                landmarks,
                window,
                moved_tips.reshape(-1, 3),
                moved_along.reshape(-1, 3),
                np.repeat(value + LEAST_GAIN, count),
            )
            found = found.reshape(-1, count)
            best = found.argmax(axis=1)
            rows = np.arange(len(tips))
            better = found[rows, best] > value + LEAST_GAIN
            if not better.any():
                break
            pick = rows[better], best[better]
            tips[better], along[better] = moved_tips[pick], moved_along[pick]
            value[better] = found[pick]
            entries[better] = found_entries.reshape(-1, count, 3)[pick]
    value = np.where(np.isfinite(value), value, starts.value - 1e3)
    return Lines(entries, tips, value)


def _moves(
    setting: Setting, tips: Float, along: Float, lengths: Float, step_mm: float, step_deg: float
) -> tuple[Float, Float]:
    """(N, 22, 3) tips and directions around each needle.

    Tips are shifted, the needle is turned about its tip, its middle and its entry, and slid.
    """
    axes = setting.anatomy.frame.axes.T
    shifts = np.vstack([axes, -axes]) * step_mm
    across = np.cross(along, axes[0])
    across = unit(np.where(np.linalg.norm(across, axis=1, keepdims=True) > 0.1, across, axes[2]))
    other = np.cross(along, across)
    slope = np.tan(np.radians(step_deg))
    turns = [unit(along + s * slope * v) for v in (across, other) for s in (1, -1)]
    slides = [along * step_mm, -along * step_mm]
    moved_tips = [tips + s for s in shifts] + [tips + s for s in slides]
    moved_along = [along] * 8
    for pivot in (0.0, 0.5, 1.0):  # part of the way from tip to entry
        moved_tips += [tips + pivot * lengths[:, None] * (turn - along) for turn in turns]
        moved_along += turns
    return np.round(np.stack(moved_tips, axis=1), DECIMALS_MM), np.stack(moved_along, axis=1)


def _evaluate(
    setting: Setting,
    landmarks: SideLandmarks,
    window: Window,
    tips: Float,
    along: Float,
    least_value: Float | None = None,
) -> tuple[Float, Float]:
    """Objective (N,) and entries (N, 3); -inf for what breaks a rule, or a limit by the slack.

    least_value: (N,) what is of no use at or below this is -inf too, and costs less.
    """
    entries, plain = line_entries(setting.fields, tips, along)
    entries = np.round(entries, DECIMALS_MM)
    value = np.full(len(tips), -np.inf)
    rows = np.flatnonzero(plain & (np.linalg.norm(tips - entries, axis=1) > 1.0))
    if len(rows) == 0:
        return value, entries
    start, end = entries[rows], tips[rows]
    described = poses(setting.anatomy, landmarks, start, end)
    ok = ~any_broken(
        {
            **entry_rules(window, landmarks, described.entries),
            **direction_rules(window, landmarks, described),
            **tip_rules(window, landmarks, described.tips),
        }
    )
    rows, start, end = rows[ok], start[ok], end[ok]
    z, least = margins(setting, start, end, least_limit(setting.configuration) - COARSE_SLACK_MM)
    found = np.full(len(rows), -np.inf)
    finite = np.isfinite(z)
    found[finite] = _objective(setting, z[finite], least[finite], end[finite])
    useful = finite if least_value is None else finite & (found > least_value[rows])
    rows, found, start, end = rows[useful], found[useful], start[useful], end[useful]
    ok = allowed(setting, window, start, end, COARSE_SLACK_MM)
    value[rows[ok]] = found[ok]
    return value, entries

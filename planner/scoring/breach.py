"""The probability that a needle placed with error touches what it must keep clear of.

Assumed, and nothing more: the needle is straight. One draw moves it as a whole: its bone entry by
two independent normal offsets across the needle (sd_entry each), its direction about that entry by
two independent normal slopes (sd tan(sd_angle) each), and its tip along the needle by a normal
shift (sd_depth). Entry, angle and depth are independent of one another. The border of every
structure is off by a normal shift (sd_segmentation), the same all along one structure; a stated
part of its variance is common to all structures, for blur moves every border alike, and the rest is
each structure's own. A breach is the needle's surface touching the structure anywhere between bone
entry and tip; the posterior cortex is crossed on purpose and counts where the needle comes back to
it, at its tip, and where it misses the bone.

With checks on the way in, every stretch between two checks is drawn anew: it begins with the offset
that a check leaves, and runs with slopes of its own. No bending within a stretch, no correlation
with the patient's motion.

The draws are fixed quasi-random ones (Sobol), placed where they tell most and weighed by how likely
they are there: a half spread evenly over all lengths that matter, so that large errors are tried as
often as common ones; the others around the likeliest way to touch each structure that is within
NEAR_Z deviations, as first-order reliability has it. The weights are those of the mixture (balance
heuristic: Veach and Guibas 1995), so that no draw counts more than twice its own share. Each
structure's own border shift is integrated exactly (a normal distribution function per draw and
structure), which smooths the integrand. The fields are the working grid's, to about 0.1 mm.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import chi, qmc

from planner.anatomy.fields import COUNTED, GUARDED, ClearanceFields
from planner.geometry.entering import returns_to
from planner.geometry.fields import Field, Spread
from planner.geometry.grid import Float
from planner.geometry.segments import perpendicular_axes
from planner.geometry.stacks import displaced_paths, stack_minima
from planner.model.trajectory import Trajectory

DRAWS_LOG2 = 12
SEED = 20_070_601
RAREST = 1e-7
STEP_MM = 1.0
NEAR_Z, WIDE = 5.5, 0.5
SURE_OF_BORDER = 6.0
"""A border is never off by so many deviations: what stays further away is not touched."""
LEAD_MM = 8.0
"""A needle that is off may meet the bone this much before its planned entry."""
# A zero segmentation error would divide by zero; this is a sharp edge for all purposes.
LEAST_BOUNDARY_MM = 1e-3
FIRST_DIMENSIONS, LATER_DIMENSIONS = 6, 4
"""Offsets, slopes, depth and shared border shift; offsets and slopes of each later stretch."""
LEAST_STRETCH_MM = 1e-6


@lru_cache(maxsize=8)
def sobol_draws(log2: int, dimensions: int) -> tuple[Float, Float]:
    """2^log2 quasi-random (N, D) standard normals and (N, 2) from 0 to 1, always the same."""
    points = qmc.Sobol(dimensions + 2, scramble=True, seed=SEED).random_base2(log2)
    points = np.clip(points, 1e-12, 1 - 1e-12)
    normal, free = ndtri(points[:, :-2]), np.ascontiguousarray(points[:, -2:])
    for array in (normal, free):
        array.setflags(write=False)
    return normal, free


def weighted_draws(aims: Float, log2: int = DRAWS_LOG2) -> tuple[Float, Float]:
    """(N, D) draws of independent standard normals around (K, D) aims, and their (N,) weights.

    The mean of a function times the weights is its expectation.
    """
    dimensions = aims.shape[1]
    normal, free = sobol_draws(log2, dimensions)
    wide_share = WIDE if len(aims) else 1.0
    low, high = chi.ppf(RAREST, dimensions), chi.isf(RAREST, dimensions)
    length = (low + free[:, :1] * (high - low)) / np.linalg.norm(normal, axis=1, keepdims=True)
    which = np.full(len(normal), -1)
    if len(aims):
        which = np.floor((free[:, 1] - WIDE) / (1.0 - WIDE) * len(aims)).astype(int)
    out = normal * length
    near = which >= 0
    out[near] = normal[near] + aims[which[near]]
    # The density of the mixture over that of the normals themselves.
    length = np.linalg.norm(out, axis=1)
    inside = (length >= low) & (length <= high)
    density = wide_share * inside / ((high - low) * np.maximum(chi.pdf(length, dimensions), 1e-300))
    for aim in aims:
        density += (1.0 - wide_share) / len(aims) * np.exp(out @ aim - aim @ aim / 2.0)
    return out, 1.0 / density


def likeliest_touches(
    trajectory: Trajectory, fields: ClearanceFields, spread: Spread, dimensions: int
) -> Float:
    """(K, D) draws at which each structure within NEAR_Z is touched most likely, to first order.

    The last is the likeliest way to miss the bone.
    """
    length, radius = trajectory.intraosseous_length_mm, trajectory.needle.radius_mm
    axes = perpendicular_axes(trajectory.tip - trajectory.bone_entry)
    depths = np.linspace(0.0, length, max(2, int(np.ceil(length / STEP_MM)) + 1))
    points = trajectory.bone_entry + depths[:, None] * axes[0]
    levers = _levers(depths, spread, dimensions)
    border = np.zeros(dimensions)
    border[5] = -np.sqrt(spread.shared) * spread.boundary_mm
    own = (1.0 - spread.shared) * spread.boundary_mm**2 + LEAST_BOUNDARY_MM**2
    inside = Field(fields.grid, -fields.solid.values, fields.solid.outside)
    first = depths <= stretches(length, spread)[0][1]
    everywhere = np.arange(len(depths))
    settled = np.flatnonzero(
        depths >= length / 2.0
    )  # before that the posterior cortex is left behind
    out = []
    for field, rows, taken, shift, extra in (
        *((fields.of(s), everywhere, radius, border, own) for s in GUARDED),
        (fields.posterior, settled, radius, border, own),
        (inside, np.flatnonzero(first)[-1:], 0.0, 0.0 * border, LEAST_BOUNDARY_MM**2),
    ):
        margins = field.at(points[rows]) - taken
        slope = -field.gradient_at(points[rows], STEP_MM) @ axes.T
        ways = np.asarray((levers[rows] @ slope[:, :, None])[..., 0] + shift)
        variance = (ways**2).sum(axis=1) + extra
        z = margins / np.sqrt(variance)
        worst = int(np.argmin(z))
        if 0.0 < z[worst] < NEAR_Z:
            out.append(ways[worst] * margins[worst] / variance[worst])
    return np.array(out).reshape(-1, dimensions)


def _levers(depths: Float, spread: Spread, dimensions: int) -> Float:
    """(S, D, 3) by how much, mm, each draw moves the needle at a depth: along it, and across."""
    out = np.zeros((len(depths), dimensions, 3))
    for number, (start, end) in enumerate(stretches(float(depths[-1]), spread)):
        rows = (depths >= start) & (depths <= end)
        out[rows] = 0.0
        first = 0 if number == 0 else FIRST_DIMENSIONS + LATER_DIMENSIONS * (number - 1)
        for axis in (1, 2):
            out[rows, first + axis - 1, axis] = spread.residual_mm if number else spread.entry_mm
            out[rows, first + axis + 1, axis] = (depths[rows] - start) * spread.tan_angle
    out[-1, 4, 0] = spread.depth_mm
    return out


def stretches(length_mm: float, spread: Spread) -> list[tuple[float, float]]:
    """Depths, mm, from and to which a needle goes without a check."""
    if not np.isfinite(spread.recheck_mm):
        return [(0.0, length_mm)]
    count = max(1, int(np.ceil(length_mm / spread.recheck_mm - LEAST_STRETCH_MM)))
    edges = [*(spread.recheck_mm * np.arange(count)), length_mm]
    return [(float(a), float(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def least_fields(
    trajectory: Trajectory, fields: ClearanceFields, spread: Spread, draws: Float
) -> Float:
    """(N, F) least field value, mm, of each counted structure for each draw of the placement."""
    parts = stretches(trajectory.intraosseous_length_mm, spread)
    radius = trajectory.needle.radius_mm
    least = np.full((len(draws), len(COUNTED)), np.inf)
    for number, (start, end) in enumerate(parts):
        moves = np.zeros((len(draws), 5))
        first = 0 if number == 0 else FIRST_DIMENSIONS + LATER_DIMENSIONS * (number - 1)
        offset = spread.entry_mm if number == 0 else spread.residual_mm
        moves[:, :2] = draws[:, first : first + 2] * offset
        moves[:, 2:4] = draws[:, first + 2 : first + 4] * spread.tan_angle
        last = end == parts[-1][1]
        if last:
            moves[:, 4] = draws[:, 4] * spread.depth_mm
        starts, ends = displaced_paths(
            trajectory.bone_entry + start * trajectory.direction,
            trajectory.bone_entry + end * trajectory.direction,
            moves,
        )
        guarded = stack_minima(fields.guarded_stack, fields.grid, starts, ends, STEP_MM)
        back = returns_to(
            fields.posterior,
            fields.solid,
            starts,
            ends,
            radius,
            lead_mm=LEAD_MM if number == 0 else 0.0,
            care_mm=SURE_OF_BORDER * spread.boundary_mm,
            to_end=last,
        )
        least = np.minimum(least, np.column_stack([guarded, back.least]))
    return least


def breach_probabilities(
    trajectory: Trajectory, fields: ClearanceFields, spread: Spread
) -> dict[str, float]:
    """Probability of a breach per counted structure, and of `any`."""
    count = len(stretches(trajectory.intraosseous_length_mm, spread))
    dimensions = FIRST_DIMENSIONS + LATER_DIMENSIONS * (count - 1)
    aims = likeliest_touches(trajectory, fields, spread, dimensions)
    draws, weights = weighted_draws(aims)
    least = least_fields(trajectory, fields, spread, draws)
    boundary = max(spread.boundary_mm, LEAST_BOUNDARY_MM)
    common = np.sqrt(spread.shared) * boundary * draws[:, 5:6]
    own = max(np.sqrt(1.0 - spread.shared) * boundary, LEAST_BOUNDARY_MM)
    touched = ndtr(-(least - trajectory.needle.radius_mm + common) / own)
    struck = np.column_stack([1.0 - np.prod(1.0 - touched, axis=1), touched])
    chances = np.clip((weights @ struck) / weights.sum(), 0.0, 1.0)
    return dict(zip(("any", *(s.value for s in COUNTED)), map(float, chances), strict=True))

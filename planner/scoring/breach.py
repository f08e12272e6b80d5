"""The probability that a needle placed with error touches what it must keep clear of.

Assumed, and nothing more: the needle is straight. One draw moves it as a whole: its bone entry by
two independent normal offsets across the needle (sd_entry each), its direction about that entry by
two independent normal slopes (sd tan(sd_angle) each), and its tip along the needle by a normal
shift (sd_depth). Entry, angle and depth are independent of one another. The border of every
structure is off by a normal shift (sd_segmentation), the same all along one structure; a stated
part of its variance is common to all structures, for blur moves every border alike, and the rest is
each structure's own. A breach is the needle's surface touching the structure anywhere between bone
entry and tip. The posterior cortex is crossed on purpose and does not count.

With checks on the way in, every stretch between two checks is drawn anew: it begins with the offset
that a check leaves, and runs with slopes of its own. No bending within a stretch, no correlation
with the patient's motion.

The normal draws are 2^10 points of a scrambled Sobol sequence with a fixed seed; each structure's
own border shift is integrated exactly (a normal distribution function per draw and structure),
which smooths the integrand. The fields are the working grid's, to about 0.1 mm.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from planner.anatomy.fields import GUARDED, ClearanceFields
from planner.geometry.fields import Spread
from planner.geometry.grid import Float
from planner.geometry.stacks import displaced_minima
from planner.model.trajectory import Trajectory

DRAWS_LOG2 = 10
SEED = 20_070_601
STEP_MM = 1.0
# A zero segmentation error would divide by zero; this is a sharp edge for all purposes.
LEAST_BOUNDARY_MM = 1e-3
FIRST_DIMENSIONS, LATER_DIMENSIONS = 6, 4
"""Offsets, slopes, depth and shared border shift; offsets and slopes of each later stretch."""
LEAST_STRETCH_MM = 1e-6


@lru_cache(maxsize=8)
def normal_draws(log2: int = DRAWS_LOG2, dimensions: int = FIRST_DIMENSIONS) -> Float:
    """(2^log2, dimensions) standard normal quasi-random draws, the same at every call."""
    sobol = qmc.Sobol(dimensions, scramble=True, seed=SEED)
    out = ndtri(np.clip(sobol.random_base2(log2), 1e-12, 1 - 1e-12))
    out.setflags(write=False)
    return np.asarray(out)


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
    """(N, F) least field value, mm, of each guarded structure for each draw of the placement."""
    parts = stretches(trajectory.intraosseous_length_mm, spread)
    least = np.full((len(draws), len(GUARDED)), np.inf)
    for number, (start, end) in enumerate(parts):
        moves = np.zeros((len(draws), 5))
        first = 0 if number == 0 else FIRST_DIMENSIONS + LATER_DIMENSIONS * (number - 1)
        offset = spread.entry_mm if number == 0 else spread.residual_mm
        moves[:, :2] = draws[:, first : first + 2] * offset
        moves[:, 2:4] = draws[:, first + 2 : first + 4] * spread.tan_angle
        if end == parts[-1][1]:
            moves[:, 4] = draws[:, 4] * spread.depth_mm
        found = displaced_minima(
            fields.guarded_stack,
            fields.grid,
            trajectory.bone_entry + start * trajectory.direction,
            trajectory.bone_entry + end * trajectory.direction,
            moves,
            STEP_MM,
        )
        least = np.minimum(least, found)
    return least


def breach_probabilities(
    trajectory: Trajectory, fields: ClearanceFields, spread: Spread
) -> dict[str, float]:
    """Probability of a breach per guarded structure, and of `any`."""
    count = len(stretches(trajectory.intraosseous_length_mm, spread))
    draws = normal_draws(dimensions=FIRST_DIMENSIONS + LATER_DIMENSIONS * (count - 1))
    least = least_fields(trajectory, fields, spread, draws)
    boundary = max(spread.boundary_mm, LEAST_BOUNDARY_MM)
    common = np.sqrt(spread.shared) * boundary * draws[:, 5:6]
    own = max(np.sqrt(1.0 - spread.shared) * boundary, LEAST_BOUNDARY_MM)
    touched = ndtr(-(least - trajectory.needle.radius_mm + common) / own)
    out = {"any": float(np.mean(1.0 - np.prod(1.0 - touched, axis=1)))}
    out.update({s.value: float(touched[:, n].mean()) for n, s in enumerate(GUARDED)})
    return out

"""The probability that a needle placed with error touches what it must keep clear of.

Assumed, and nothing more: the needle is straight. One draw moves it as a whole: its bone entry by
two independent normal offsets across the needle (sd_entry each), its direction about that entry by
two independent normal slopes (sd tan(sd_angle) each), and its tip along the needle by a normal
shift (sd_depth). Entry, angle and depth are independent of one another. The border of every
structure is off by a normal shift (sd_segmentation), the same all along one structure, independent
between structures. A breach is the needle's surface touching the structure anywhere between bone
entry and tip. The posterior cortex is crossed on purpose and does not count. No bending, no
re-check on the way in, no correlation with the patient's motion.

The normal draws are 2^10 points of a scrambled Sobol sequence with a fixed seed; the segmentation
shift is integrated exactly (a normal distribution function per draw and structure), which smooths
the integrand. The fields are the working grid's, to about 0.1 mm.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from planner.anatomy.fields import GUARDED, ClearanceFields
from planner.geometry.fields import Spread, displaced_minima
from planner.geometry.grid import Float
from planner.model.trajectory import Trajectory

DRAWS_LOG2 = 10
SEED = 20_070_601
STEP_MM = 1.0
# A zero segmentation error would divide by zero; this is a sharp edge for all purposes.
LEAST_BOUNDARY_MM = 1e-3


@lru_cache(maxsize=4)
def normal_draws(log2: int = DRAWS_LOG2) -> Float:
    """(2^log2, 5) standard normal quasi-random draws, the same at every call."""
    sobol = qmc.Sobol(5, scramble=True, seed=SEED)
    out = ndtri(np.clip(sobol.random_base2(log2), 1e-12, 1 - 1e-12))
    out.setflags(write=False)
    return np.asarray(out)


def displacements(draws: Float, spread: Spread) -> Float:
    """(N, 5) moves of a needle from standard normal draws: mm, mm per mm, mm along."""
    scale = (
        spread.entry_mm,
        spread.entry_mm,
        spread.tan_angle,
        spread.tan_angle,
        spread.depth_mm,
    )
    return np.asarray(draws * scale)


def breach_probabilities(
    trajectory: Trajectory, fields: ClearanceFields, spread: Spread
) -> dict[str, float]:
    """Probability of a breach per guarded structure, and of `any`."""
    least = displaced_minima(
        fields.guarded_stack,
        fields.grid,
        trajectory.bone_entry,
        trajectory.tip,
        displacements(normal_draws(), spread),
        STEP_MM,
    )
    boundary = max(spread.boundary_mm, LEAST_BOUNDARY_MM)
    touched = ndtr(-(least - trajectory.needle.radius_mm) / boundary)
    out = {"any": float(np.mean(1.0 - np.prod(1.0 - touched, axis=1)))}
    out.update({s.value: float(touched[:, n].mean()) for n, s in enumerate(GUARDED)})
    return out

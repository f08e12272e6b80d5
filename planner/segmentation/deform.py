"""Bend the posed template until its surfaces lie on the bone's border in the image.

Every vertex looks along its normal for the place where bright turns to dark on the way out. The
wishes of neighbouring vertices are reconciled in a smooth displacement: at each place the
translation that best satisfies, in least squares, the wishes within a Gaussian window, so that a
wall that says nothing about sliding along itself does not hold back one that does. The window
shrinks from a bend of the whole sacrum to single foramina.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample

CELL_MM = 2.0
"""Smallest cells in which the wishes are gathered; wider windows use a third of their sigma."""
STEP_MM = 0.5
HALF_GAP_MM = 1.2
"""Half the sacroiliac gap; medians of CT series run from 2.4 to 3.8 mm for the whole."""
JOINT_DEPTH_HU = 120.0
"""A valley this deep is a gap; deeper ones do not win over nearer ones, because the marrow between
the two cortices of a thin ilium is a deeper valley than the joint."""
RIDGE = 0.6
"""Share of the window's vertices added on the diagonal as wishes to stay. It decides how far faint
bone follows its posed shape instead of the nearest edge: on osteoporotic and thick-sliced
simulations 0.08 lost the lower sacrum, 0.25 kept it, 0.6 is best (Dice 0.866, 0.880, 0.900)."""
HU_RANGE = (-150.0, 700.0)
"""Outside it grey values carry nothing about where the border lies (air, metal)."""


@dataclass(frozen=True)
class Stage:
    """One window width: sigma of the window, reach of the search, repetitions.

    every: take every n-th vertex; a wide window needs few.
    """

    sigma_mm: float
    reach_mm: float
    repetitions: int
    every: int


STAGES = (
    Stage(30.0, 10.0, 5, 6),
    Stage(20.0, 8.0, 5, 5),
    Stage(14.0, 7.0, 4, 4),
    Stage(10.0, 6.0, 3, 3),
    Stage(7.0, 5.0, 3, 2),
    Stage(5.0, 4.0, 3, 1),
    Stage(3.5, 3.0, 3, 1),
)


def border_wishes(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """Find for each of (V, 3) points how far along its normal the bone's border lies.

    Returns (V,) signed shifts, mm, and (V,) weights, 0 to 1, by how strong the border is.
    """
    offsets = np.arange(-reach_mm - 3.0, reach_mm + 3.5, STEP_MM)
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    profile = np.clip(sample(image, grid, where, -100.0), *HU_RANGE).astype(np.float32)
    per_mm = round(1.0 / STEP_MM)
    inside = ndimage.maximum_filter1d(profile, 2 * per_mm + 1, axis=1, origin=per_mm)
    around = ndimage.uniform_filter1d(profile, 2 * per_mm + 1, axis=1)
    outside = np.roll(around, -2 * per_mm, axis=1)  # mean from 1 to 3 mm further out
    edge = np.zeros_like(profile)
    edge[:, per_mm:-per_mm] = profile[:, : -2 * per_mm] - profile[:, 2 * per_mm :]
    strength = np.clip(edge, 0, 350) + 0.5 * np.clip(inside - outside, 0, 350)
    usable = np.abs(offsets) <= reach_mm
    value = strength[:, usable] - 60.0 * (offsets[usable] / reach_mm) ** 2
    best = np.argmax(value, axis=1)
    rows = np.arange(len(points))
    weight = np.clip((strength[:, usable][rows, best] - 60.0) / 240.0, 0.0, 1.0)
    return offsets[usable][best].astype(float), weight.astype(float)


def smooth_displacement(
    points: Float, normals: Float, shifts: Float, weights: Float, sigma_mm: float, at: Float
) -> Float:
    """Reconcile wishes along normals into one smooth displacement, (M, 3) mm, at (M, 3) points."""
    cell = max(CELL_MM, sigma_mm / 3.0)
    low = np.minimum(points.min(axis=0), at.min(axis=0)) - 2 * cell
    high = np.maximum(points.max(axis=0), at.max(axis=0)) + 2 * cell
    grid = Grid.around(np.stack([low, high]), cell)
    flat = np.ravel_multi_index(tuple(np.rint(grid.to_ijk(points)).astype(int).T), grid.shape)

    def gather(values: Float) -> Float:
        total = np.bincount(flat, weights=values, minlength=int(np.prod(grid.shape)))
        field = total.reshape(grid.shape).astype(np.float32)
        smooth = ndimage.gaussian_filter(field, sigma_mm / cell, truncate=2.5)
        return np.asarray(smooth, np.float64).ravel()

    matrix = np.empty((int(np.prod(grid.shape)), 3, 3), np.float32)
    right = np.empty((len(matrix), 3, 1), np.float32)
    for a in range(3):
        right[:, a, 0] = gather(weights * shifts * normals[:, a])
        for b in range(a, 3):
            matrix[:, a, b] = matrix[:, b, a] = gather(weights * normals[:, a] * normals[:, b])
    ridge = RIDGE * gather(np.ones(len(points))) + 1e-6
    matrix[:, range(3), range(3)] += ridge[:, None]
    field = np.linalg.solve(matrix, right)[:, :, 0].reshape(*grid.shape, 3)
    parts = [sample(np.ascontiguousarray(field[..., a]), grid, at, 0.0) for a in range(3)]
    return np.stack(parts, axis=1).astype(float)


def joint_wishes(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """Find the dark gap between two cortices where another bone faces this one.

    At a joint the strongest drop lies behind the neighbour's cortex, so the border is taken from
    the valley between the two ridges: half a gap short of its bottom.
    """
    offsets = np.arange(-reach_mm - 5.0, reach_mm + 5.5, STEP_MM)
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    profile = np.clip(sample(image, grid, where, -100.0), *HU_RANGE).astype(np.float32)
    profile = ndimage.gaussian_filter1d(profile, 0.5 / STEP_MM, axis=1)
    half = round(2.5 / STEP_MM)
    before = ndimage.maximum_filter1d(profile, 2 * half + 1, axis=1, origin=half)
    after = ndimage.maximum_filter1d(profile, 2 * half + 1, axis=1, origin=-half)
    depth = np.minimum(before, after) - profile
    usable = np.abs(offsets) <= reach_mm
    enough = np.minimum(depth[:, usable], JOINT_DEPTH_HU)
    value = enough - 80.0 * (offsets[usable] / reach_mm) ** 2
    best = np.argmax(value, axis=1)
    found = depth[:, usable][np.arange(len(points)), best]
    weight = np.clip((found - 40.0) / 160.0, 0.0, 1.0)
    return offsets[usable][best] - HALF_GAP_MM, weight.astype(float)


def endplate_wishes(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """Find the S1 endplate: marrow below, disc above.

    The lower endplate of L5 is as sharp and lies a disc's height (8 to 10 mm) further on, but has
    the disc below and marrow above; broad means on both sides tell the two apart.
    """
    offsets = np.arange(-reach_mm - 9.0, reach_mm + 9.5, STEP_MM)
    where = points[:, None, :] + offsets[None, :, None] * normals[:, None, :]
    profile = np.clip(sample(image, grid, where, -100.0), *HU_RANGE).astype(np.float32)
    per_mm = round(1.0 / STEP_MM)
    broad = ndimage.uniform_filter1d(profile, 6 * per_mm + 1, axis=1)
    usable = np.flatnonzero(np.abs(offsets) <= reach_mm)
    step = broad[:, usable - 5 * per_mm] - broad[:, usable + 5 * per_mm]
    edge = np.clip(profile[:, usable - per_mm] - profile[:, usable + per_mm], 0, 350)
    value = 0.5 * edge + 1.5 * np.clip(step, -150, 150) - 40.0 * (offsets[usable] / reach_mm) ** 2
    best = np.argmax(value, axis=1)
    weight = np.clip(step[np.arange(len(points)), best] / 60.0, 0.0, 1.0)
    return offsets[usable][best].astype(float), weight.astype(float)

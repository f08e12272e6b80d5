"""Bend the posed template until its surfaces lie on the bone's border in the image.

Every vertex looks along its normal for the place where bright turns to dark on the way out. The
wishes of neighbouring vertices are reconciled in a smooth displacement: at each place the
translation that best satisfies, in least squares, the wishes within a Gaussian window, so that a
wall that says nothing about sliding along itself does not hold back one that does. The window
shrinks from a bend of the whole sacrum to single foramina.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from planner.geometry.grid import Float, Grid
from planner.geometry.sampling import sample, sample_rays
from planner.geometry.smoothing import gaussian
from planner.geometry.threads import in_parts

Array = NDArray[Any]

CELL_MM = 2.0
"""Smallest cells in which the wishes are gathered; wider windows use a third of their sigma."""
STEP_MM = 0.5
PER_MM = 2
"""Steps per mm."""
HALF_GAP_MM = 1.2
"""Half the sacroiliac gap; medians of CT series run from 2.4 to 3.8 mm for the whole."""
JOINT_DEPTH_HU = 120.0
"""A valley this deep is a gap; deeper ones do not win over nearer ones, because the marrow between
the two cortices of a thin ilium is a deeper valley than the joint."""
RIDGE = 0.6
"""Share of the window's vertices added on the diagonal as wishes to stay. It decides how far faint
bone follows its posed shape instead of the nearest edge: on osteoporotic and thick-sliced
simulations 0.08 lost the lower sacrum, 0.25 kept it, 0.6 is best (Dice 0.866, 0.880, 0.900)."""
MOST_DROP_HU = 350.0
"""A drop counts up to here: the brightest cortex does not win over nearer ones."""
NOT_IMAGED_HU, AIR_HU = -3000.0, -1000.0
"""Value in images where the CT does not reach, below what any scanner measures; and what counts
there for what looks for bone."""
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


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _strongest_borders(
    profiles: Array,
    offsets: Array,
    first: int,
    shifts: Array,
    weights: Array,
    start: int,
    stop: int,
) -> None:
    """Find the strongest border of (N, M) profiles at the offsets from place `first` on.

    A border is a drop from 1 mm further in to 1 mm further out, and from the brightest of the 2 mm
    inside to the mean of 1 to 3 mm further out. Distance from the start counts against it.
    """
    one = PER_MM
    for n in range(start, stop):
        profile, best = profiles[n], -np.inf
        for m in range(offsets.shape[0]):
            here = first + m
            edge = profile[here - one] - profile[here + one]
            inside, outside = profile[here], 0.0
            for d in range(2 * one + 1):
                inside = max(inside, profile[here - d])
                outside += profile[here + one + d]
            flank = inside - np.float32(outside / (2 * one + 1))
            strength = min(max(edge, 0.0), MOST_DROP_HU) + 0.5 * min(max(flank, 0.0), MOST_DROP_HU)
            value = strength - 60.0 * (offsets[m] / offsets[-1]) ** 2
            if value > best:
                best, shifts[n] = value, offsets[m]
                weights[n] = min(max((strength - 60.0) / 240.0, 0.0), 1.0)


def imaged(image: NDArray[np.float32], grid: Grid, points: Float) -> NDArray[np.bool_]:
    """(N,) whether the CT covers (N, 3) points, from an image that marks where it does not."""
    return sample(image, grid, points, NOT_IMAGED_HU) > NOT_IMAGED_HU / 2


def _profiles(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, offsets: Float
) -> NDArray[np.float32]:
    """(V, M) grey values along the normals, within HU_RANGE."""
    profiles = sample_rays(image, grid, points, normals, offsets, -100.0)
    return np.clip(profiles, *map(np.float32, HU_RANGE), out=profiles)


def border_wishes(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """Find for each of (V, 3) points how far along its normal the bone's border lies.

    Returns (V,) signed shifts, mm, and (V,) weights, 0 to 1, by how strong the border is.
    """
    offsets = np.arange(-reach_mm - 3.0, reach_mm + 3.5, STEP_MM)
    profiles = _profiles(image, grid, points, normals, offsets)
    usable = np.abs(offsets) <= reach_mm
    first = int(np.argmax(usable))
    shifts, weights = np.zeros(len(points)), np.zeros(len(points))
    in_parts(_strongest_borders, len(points), profiles, offsets[usable], first, shifts, weights)
    return shifts, weights


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _solve(sums: Array, ridge: Array, out: Array, start: int, stop: int) -> None:
    """Solve a symmetric system of three unknowns per cell.

    sums: (9, N), the rows xx, xy, xz, yy, yz, zz of the matrix and x, y, z of the right side.
    ridge: (N,) to be added on the diagonal, positive. out: (3, N).
    """
    for n in range(start, stop):
        xy, xz, yz = np.float64(sums[1, n]), np.float64(sums[2, n]), np.float64(sums[4, n])
        xx, yy, zz = sums[0, n] + ridge[n], sums[3, n] + ridge[n], sums[5, n] + ridge[n]
        x, y, z = sums[6, n], sums[7, n], sums[8, n]
        a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        d, e, f = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        determinant = xx * a + xy * b + xz * c
        out[0, n] = (a * x + b * y + c * z) / determinant
        out[1, n] = (b * x + d * y + e * z) / determinant
        out[2, n] = (c * x + e * y + f * z) / determinant


def smooth_displacement(
    points: Float, normals: Float, shifts: Float, weights: Float, sigma_mm: float, at: Float
) -> Float:
    """Reconcile wishes along normals into one smooth displacement, (M, 3) mm, at (M, 3) points."""
    cell = max(CELL_MM, sigma_mm / 3.0)
    low = np.minimum(points.min(axis=0), at.min(axis=0)) - 2 * cell
    high = np.maximum(points.max(axis=0), at.max(axis=0)) + 2 * cell
    grid = Grid.around(np.stack([low, high]), cell)
    flat = np.ravel_multi_index(tuple(np.rint(grid.to_ijk(points)).astype(int).T), grid.shape)
    size = int(np.prod(grid.shape))

    def gather(values: Float) -> NDArray[np.float32]:
        total = np.bincount(flat, weights=values, minlength=size)
        return gaussian(total.reshape(grid.shape), sigma_mm / cell, truncate=2.5).ravel()

    sums = np.empty((9, size), np.float32)
    for row, (a, b) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
        sums[row] = gather(weights * normals[:, a] * normals[:, b])
    for a in range(3):
        sums[6 + a] = gather(weights * shifts * normals[:, a])
    ridge = RIDGE * gather(np.ones(len(points))).astype(float) + 1e-6
    field = np.empty((3, *grid.shape), np.float32)
    in_parts(_solve, size, sums, ridge, field.reshape(3, size))
    return np.stack([sample(part, grid, at, 0.0) for part in field], axis=1).astype(float)


def joint_wishes(
    image: NDArray[np.float32], grid: Grid, points: Float, normals: Float, reach_mm: float
) -> tuple[Float, Float]:
    """Find the dark gap between two cortices where another bone faces this one.

    At a joint the strongest drop lies behind the neighbour's cortex, so the border is taken from
    the valley between the two ridges: half a gap short of its bottom.
    """
    offsets = np.arange(-reach_mm - 5.0, reach_mm + 5.5, STEP_MM)
    profile = _profiles(image, grid, points, normals, offsets)
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
    profile = _profiles(image, grid, points, normals, offsets)
    broad = ndimage.uniform_filter1d(profile, 6 * PER_MM + 1, axis=1)
    usable = np.flatnonzero(np.abs(offsets) <= reach_mm)
    step = broad[:, usable - 5 * PER_MM] - broad[:, usable + 5 * PER_MM]
    edge = np.clip(profile[:, usable - PER_MM] - profile[:, usable + PER_MM], 0, MOST_DROP_HU)
    value = 0.5 * edge + 1.5 * np.clip(step, -150, 150) - 40.0 * (offsets[usable] / reach_mm) ** 2
    best = np.argmax(value, axis=1)
    weight = np.clip(step[np.arange(len(points)), best] / 60.0, 0.0, 1.0)
    return offsets[usable][best].astype(float), weight.astype(float)
